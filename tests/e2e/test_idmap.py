"""A tree shown by an idmapped mount to the containers of a remapped engine: they see and write their own ids, the
disk keeps them. What Docker makes of such a mount, its failures too, is what docs/idmapped-mounts.md tells."""

import json

import pytest

import small
from machine import EXECUTABLE
from testbed import host

TREE = "/var/private/www"
IDS = (0, 5, 999)
FOREVER = "trap exit TERM; while :; do sleep 0.2; done"
TOO_LARGE = "value too large for defined data type"


@pytest.fixture
def idmap_host(machine):
    """A remapped host with a tree that has the containers' ids on disk. It stays remapped from test to test."""
    if machine.holds != "small":
        machine.before = small.set_up(machine)
        machine.holds = "small"
    small.bring(machine, "remapped")
    host.put(machine.name, EXECUTABLE.with_name("volume_rechown"), "/usr/local/bin/volume_rechown")
    machine.sh(f"mkdir -p -m 0700 {TREE.rpartition('/')[0]}; mkdir {TREE}; cd {TREE}; "
               f"for id in {' '.join(map(str, IDS))}; do echo $id >$id; chown $id:$id $id; done")
    yield machine
    machine.sh("docker rm -f user >/dev/null 2>&1 || true")
    rechown(machine, state="restored")
    machine.sh(f"rm -r {TREE}")
    # What has no restart policy stays down after a restart of the engine.
    machine.docker("start", *small.RUNNING)
    if machine.inventory() != machine.before:
        machine.holds = None


@pytest.fixture
def tree(idmap_host):
    """The same, with the tree mounted."""
    assert rechown(idmap_host)["changed"]
    return idmap_host


@pytest.fixture
def volume(idmap_host):
    """The place of a named volume, mounted over itself."""
    machine = idmap_host
    machine.docker("volume", "create", "mail")
    path = f"{machine.engine_root}/volumes/mail/_data"
    machine.sh(f"chown 0:0 {path}")
    assert rechown(machine, path=path)["changed"]
    yield path
    if machine.exists(path):
        rechown(machine, path=path, state="restored")
    machine.sh("docker volume rm -f mail; docker image rm -f seeded")


def ask(machine, **options):
    """Run the module by hand; its result."""
    options = {"path": TREE, "strategy": "idmap", "_ansible_diff": True} | options
    if options.get("state") != "restored":
        options |= {"from": {"engine": "host"}, "to": {"engine": "docker"}}
    return json.loads(machine.run("volume_rechown", input=json.dumps(options), check=False).stdout)


def rechown(machine, **options):
    result = ask(machine, **options)
    assert not result.get("failed"), result["msg"]
    return result


def start(machine, *arguments):
    """A container that uses what is to be used, and stays."""
    machine.docker("run", "-d", "--name", "user", *arguments, "bulkhead/busybox", "sh", "-c", FOREVER)


def inside(machine, script):
    return machine.docker("exec", "user", "sh", "-euc", script)


def fails(machine, script):
    """What a script that must fail says."""
    done = machine.run("sh", "-euc", script, check=False)
    assert done.returncode, done.stdout
    return done.stderr.lower()


def on_disk(machine, path):
    """Name and owner of every entry below, as it is on disk: a bind mount of the parent has no mounts in it."""
    parent, _, name = path.rpartition("/")
    listing = f"find /mnt/{name} -mindepth 1 -printf '%f %U:%G\\n' | sort"
    return machine.sh(f"mount --bind {parent} /mnt; {listing}; umount /mnt").splitlines()


def owners(*ids):
    return sorted(f"{number} {number}:{number}" for number in ids)


def assert_used_right(machine):
    """Containers see their own ids, and the disk keeps what they write."""
    seen = inside(machine, "cd /data; stat -c '%n %u:%g' *").splitlines()
    assert sorted(seen) == owners(*IDS)
    inside(machine, "cd /data; for id in 7 33; do echo $id >$id; chown $id:$id $id; done")
    assert on_disk(machine, TREE) == owners(*IDS, 7, 33)
    inside(machine, "cd /data; rm 7 33")


def test_containers_use_a_bind_source_as_their_own_and_it_comes_back(tree):
    machine = tree
    start(machine, "-v", f"{TREE}:/data")
    assert_used_right(machine)
    assert not rechown(machine)["changed"]
    assert not rechown(machine, state="verified")["changed"]
    refused = ask(machine, state="restored")
    container = machine.docker("inspect", "-f", "{{.Id}}", "user")
    assert f"{TREE} is in use, mounted on /data in process" in refused["msg"] and container in refused["msg"]
    machine.docker("rm", "-f", "user")
    assert rechown(machine, state="restored")["changed"]
    assert sorted(machine.sh(f"cd {TREE}; stat -c '%n %u:%g' *").splitlines()) == owners(*IDS)
    assert machine.leftovers() == []
    assert not machine.exists("/var/lib/bulkhead/volume_rechown")
    assert not rechown(machine, state="restored")["changed"]


def test_the_engine_and_its_containers_may_be_restarted_and_made_anew(tree):
    machine = tree
    start(machine, "--restart", "always", "-v", f"{TREE}:/data")
    for command in ("docker restart -t 1 user", "systemctl restart docker", "docker rm -f user"):
        machine.sh(command)
        if "rm" in command:
            start(machine, "-v", f"{TREE}:/data")
        assert_used_right(machine)


def test_it_is_mounted_before_docker_at_every_boot(tree):
    machine = tree
    start(machine, "--restart", "always", "-v", f"{TREE}:/data")
    for boot in (host.reboot, host.crash):
        boot(machine.name)
        times = [int(machine.said("systemctl", "show", "-p", f"{which}TimestampMonotonic", "--value", unit))
                 for unit, which in ((rechown(machine)["unit"], "ActiveEnter"), ("docker", "ExecMainStart"))]
        assert 0 < times[0] < times[1]
        assert_used_right(machine)
    assert not rechown(machine)["changed"]


def test_docker_is_held_where_the_mount_cannot_be_made(tree):
    machine = tree
    unit = rechown(machine)["unit"]
    machine.sh(f"umount {TREE}; mv {TREE} {TREE}.away")
    host.reboot(machine.name)
    for _ in range(6):
        said = fails(machine, "systemctl start docker")
        assert "dependency" in said
    assert f"cannot open {TREE}: No such file or directory" in machine.said("journalctl", "-b", "-u", unit)
    machine.sh(f"mv {TREE}.away {TREE}; systemctl start docker")
    start(machine, "-v", f"{TREE}:/data")
    assert_used_right(machine)


def test_a_place_apart_leaves_the_tree_to_the_hosts_root(idmap_host):
    """As mailcow's data, which its updates write to as root."""
    machine = idmap_host
    machine.sh("mkdir /var/view")
    assert rechown(machine, mount_at="/var/view")["changed"]
    start(machine, "-v", "/var/view:/data")
    machine.sh(f"cd {TREE}; echo new >new; chown 999:999 new; mv new 42")
    assert inside(machine, "stat -c %u:%g /data/42; cat /data/42") == "999:999\nnew"
    inside(machine, "touch /data/43")
    assert machine.sh(f"stat -c %u:%g {TREE}/43") == "0:0"
    machine.docker("rm", "-f", "user")
    assert rechown(machine, state="restored")["changed"]
    machine.sh("rmdir /var/view")


def test_docker_cp_into_it_fails_and_loses_what_it_would_replace(tree):
    machine = tree
    start(machine, "-v", f"{TREE}:/data")
    machine.sh("echo new >/tmp/new")
    assert TOO_LARGE in fails(machine, "docker cp /tmp/new user:/data/new")
    assert TOO_LARGE in fails(machine, "docker cp -a /tmp/new user:/data/new")
    # Docker unlinks it first.
    assert TOO_LARGE in fails(machine, "docker cp /tmp/new user:/data/5")
    assert on_disk(machine, TREE) == owners(0, 999)
    # Out of it works, and so does the way round.
    assert machine.sh("docker cp user:/data/999 /tmp/999; cat /tmp/999") == "999"
    machine.sh("tar -C /tmp --owner=0 --group=0 -c new | docker exec -i user tar -x -C /data")
    assert "new 0:0" in on_disk(machine, TREE)


def test_the_hosts_root_reads_and_writes_files_but_makes_none(tree):
    machine = tree
    start = machine.subordinate_range[0]
    for command in ("touch new", "mkdir new", "mv 5 6", "ln 5 6", "chown 0:0 5"):
        assert TOO_LARGE in fails(machine, f"cd {TREE}; {command}")
    machine.sh(f"cd {TREE}; cat 5; echo more >>5; chown {start + 33}:{start + 33} 5; rm 999; "
               f"setpriv --reuid {start} --regid {start} --clear-groups touch as-root")
    assert on_disk(machine, TREE) == ["0 0:0", "5 33:33", "as-root 0:0"]


def test_a_named_volume_is_used_and_removed_in_two_steps(idmap_host, volume):
    machine = idmap_host
    start(machine, "-v", "mail:/data")
    inside(machine, "cd /data; for id in 0 5 999; do echo $id >$id; chown $id:$id $id; done")
    assert on_disk(machine, volume) == owners(*IDS)
    machine.docker("rm", "-f", "user")
    refused = machine.remap(state="disabled")
    assert refused["failed"] and "is a mount of its own" in refused["msg"]
    # Docker empties it before it finds that it cannot remove it.
    assert "device or resource busy" in fails(machine, "docker volume rm mail")
    assert on_disk(machine, volume) == []
    assert rechown(machine, path=volume, state="restored")["changed"]
    machine.docker("volume", "rm", "mail")
    assert not machine.exists(volume)


def test_a_volume_that_is_shifted_already_is_refused(idmap_host):
    machine = idmap_host
    path = f"{machine.engine_root}/volumes/dnsdata/_data"
    refused = ask(machine, path=path)
    assert "which the map yields" in refused["msg"]


def test_copy_up_into_an_empty_volume_keeps_the_container_from_starting(idmap_host, volume):
    machine = idmap_host
    machine.sh("docker run --name seed bulkhead/busybox sh -c 'mkdir -p /data; echo a >/data/a; chown 5:5 /data/a'; "
               "docker commit seed seeded; docker rm seed")
    said = fails(machine, "docker run --rm -v mail:/data seeded ls /data")
    assert "failed to copy files" in said and TOO_LARGE in said
    assert on_disk(machine, volume) == []
    # Filled by a container, or not to be filled, it is used as any other.
    machine.docker("run", "--rm", "-v", "mail:/new", "seeded", "cp", "-a", "/data/.", "/new")
    assert on_disk(machine, volume) == ["a 5:5"]
    assert machine.docker("run", "--rm", "-v", "mail:/data", "seeded", "stat", "-c", "%u", "/data/a") == "5"
    machine.docker("run", "--rm", "-v", "mail:/data", "bulkhead/busybox", "rm", "/data/a")
    machine.docker("run", "--rm", "-v", "mail:/data:nocopy", "seeded", "touch", "/data/b")
    assert on_disk(machine, volume) == ["b 0:0"]


def test_a_volume_with_a_device_is_removed_as_any_other(tree):
    machine = tree
    machine.docker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={TREE}", "bound")
    start(machine, "-v", "bound:/data")
    assert_used_right(machine)
    refused = ask(machine, state="restored")
    assert f"{machine.engine_root}/volumes/bound/_data" in refused["msg"]
    machine.docker("rm", "-f", "user")
    machine.docker("volume", "rm", "bound")
    assert on_disk(machine, TREE) == owners(*IDS)


def test_set_user_id_programs_are_without_effect_on_it(tree):
    machine = tree
    start(machine, "-v", f"{TREE}:/data")
    inside(machine, "cp /bin/busybox /data/id; chmod 4755 /data/id")
    as_nobody = f"chmod 0711 {TREE.rpartition('/')[0]}; setpriv --reuid 65534 --regid 65534 --clear-groups {TREE}/id -u"
    assert machine.sh(as_nobody) == "65534"
    refused = ask(machine)
    assert "local users can reach" in refused["msg"]
    machine.sh(f"chmod 0700 {TREE.rpartition('/')[0]}")
