"""Bind mounts are prepared with the engine and given back with it: shifted, shown by an idmapped mount, or left."""

import pytest

import small
from testbed import host

# Out of everybody's reach, as what is shown with other owners has to be.
APP = "/var/app"
SHIFTED, SHOWN, DEVICE, FILE = (f"{APP}/{name}" for name in ("shifted", "shown", "device", "secret"))
BINDS = {SHIFTED: "shift", SHOWN: "idmap", DEVICE: {"strategy": "auto"}, FILE: "auto"}
RUN = (f"docker run -d --name app --restart unless-stopped --stop-timeout 1 -v {SHIFTED}:/shifted -v {SHOWN}:/shown "
       f"-v {FILE}:/secret:ro -v appdevice:/device bulkhead/busybox "
       "sh -c 'trap exit TERM; while :; do sleep 0.2; done'")
TREES = (SHIFTED, SHOWN, DEVICE)
IDS = (0, 5, 999)


@pytest.fixture
def app(small_host):
    """A plain engine with a container that has two binds, a single file and a volume with a device."""
    machine = small_host
    before = machine.before
    machine.sh(f"mkdir -m 0700 {APP}; umask 077; echo word >{FILE}; mkdir {' '.join(TREES)}")
    machine.sh("".join(f"cd {tree}; for id in {' '.join(map(str, IDS))}; do touch $id; chown $id:$id $id; done; "
                       for tree in TREES))
    machine.sh(f"docker volume create -o type=none -o o=bind -o device={DEVICE} appdevice; {RUN}")
    machine.before = machine.inventory()
    yield machine
    machine.before = before
    machine.sh(f"docker rm -f app; docker volume rm appdevice; rm -r {APP} || true")


def inside(machine, script):
    return machine.docker("exec", "app", "sh", "-euc", script)


def seen(machine):
    """Names and owners as the container has them."""
    return sorted(inside(machine, "stat -c '%n %u:%g' /shifted/* /shown/* /device/* /secret; cat /secret").splitlines())


def on_disk(machine, tree):
    """The same on disk: a bind mount of what holds the tree has no mounts in it."""
    listing = f"find /mnt/{tree.removeprefix(APP)} -printf '/%P %U:%G\\n' | sort"
    return machine.sh(f"mount --bind {APP} /mnt; {listing}; umount /mnt").splitlines()


def owners(start, *names):
    """What a directory of root's with files named after their owners looks like."""
    return sorted([f"/ {start}:{start}", *(f"/{name} {start + name}:{start + name}" for name in names)])


def assert_is_as_it_was(machine):
    for tree in TREES:
        assert on_disk(machine, tree) == owners(0, *IDS)
    assert on_disk(machine, FILE) == ["/ 0:0"]
    assert machine.said("findmnt", "-rno", "TARGET").split().count(SHOWN) == 0
    assert machine.leftovers() == []
    assert not machine.exists("/var/lib/bulkhead/userns_remap.mount")
    assert machine.inventory() == machine.before
    assert not machine.is_remapped


def succeed(result):
    assert not result.get("failed"), result["msg"]
    return result


def test_they_are_prepared_with_the_engine_and_given_back_with_what_was_written(app):
    machine = app
    before = seen(machine)
    result = succeed(machine.remap(state="enabled", bind_mounts=BINDS))
    assert {mount["path"]: mount["strategy"] for mount in result["bind_mounts"]} == {
        SHIFTED: "shift", SHOWN: "idmap", DEVICE: "shift", FILE: "idmap"}
    assert machine.inventory() == machine.before
    assert seen(machine) == before
    start = machine.subordinate_range[0]
    for tree, first in ((SHIFTED, start), (SHOWN, 0), (DEVICE, start)):
        assert on_disk(machine, tree) == owners(first, *IDS)
    assert machine.remap(state="enabled", bind_mounts=BINDS)["changed"] is False
    refused = machine.remap(state="enabled", bind_mounts={SHOWN: "shift", "/srv": "shift"})["msg"]
    assert f"{SHOWN} was prepared with idmap" in refused and "stop the containers" in refused

    host.crash(machine.name)
    assert seen(machine) == before
    # What has no restart policy stays down.
    machine.docker("start", *small.RUNNING)
    inside(machine, "for tree in shifted shown device; do touch /$tree/33; chown 33:33 /$tree/33; done")
    machine.sh(f"touch {SHIFTED}/7; chown 7:7 {SHIFTED}/7")
    result = succeed(machine.remap(state="disabled"))
    assert any(f"{SHIFTED} keep their owners" in warning for warning in result["warnings"])
    assert on_disk(machine, SHIFTED) == owners(0, *IDS, 7, 33)
    for tree in (SHOWN, DEVICE):
        assert on_disk(machine, tree) == owners(0, *IDS, 33)
    inside(machine, "rm /shifted/7 /*/33")
    assert_is_as_it_was(machine)
    assert seen(machine) == before


@pytest.mark.parametrize("point", ["applied:shift_bind_mount", "applied:show_bind_mount"],
                         ids=lambda point: f"both-{point}")
def test_a_kill_is_undone_there_and_back(app, point):
    machine = app
    before = seen(machine)
    assert machine.remap(state="enabled", bind_mounts=BINDS, fault=f"kill@{point}") is None
    assert "undone" in machine.recover()
    assert_is_as_it_was(machine)
    assert seen(machine) == before
    succeed(machine.remap(state="enabled", bind_mounts=BINDS))
    assert machine.remap(state="disabled", fault=f"kill@{point}") is None
    host.crash(machine.name)
    start = machine.subordinate_range[0]
    assert [on_disk(machine, tree) for tree in TREES] == [owners(first, *IDS) for first in (start, 0, start)]
    assert machine.is_remapped and machine.inventory() == machine.before
    assert seen(machine) == before
    succeed(machine.remap(state="disabled"))
    assert_is_as_it_was(machine)


def test_a_kill_and_a_crash_on_the_way_there_are_undone_at_boot(app):
    machine = app
    before = seen(machine)
    assert machine.remap(state="enabled", bind_mounts=BINDS, fault="kill@done:configure") is None
    host.crash(machine.name)
    assert_is_as_it_was(machine)
    assert seen(machine) == before


def test_a_change_that_fails_gives_them_back(app):
    machine = app
    before = seen(machine)
    result = machine.remap(state="enabled", bind_mounts=BINDS, fault="fail@done:start_containers")
    assert result["failed"], result
    assert_is_as_it_was(machine)
    assert seen(machine) == before


def test_what_cannot_be_prepared_is_refused_before_anything_stops(app):
    machine = app
    traces = machine.traces()
    cases = [
        ({}, f"volume appdevice is mounted from {DEVICE}, outside the data root; name that in bind_mounts"),
        ({"/no/such": "shift"}, "/no/such does not exist"),
        ({"/srv": "shift"}, "/srv belongs to the system; name the directory that the containers use"),
        ({FILE: "shift"}, "is a single file"),
        ({APP: "shift", SHOWN: "idmap"}, f"{SHOWN} lies in {APP}"),
        ({"/var/backups/x": "shift"}, "no container mounts it"),
        ({SHIFTED: "chown"}, f"{SHIFTED}: unknown variant `chown`"),
    ]
    machine.sh("mkdir -p /var/backups/x")
    for binds, words in cases:
        refused = machine.remap(state="enabled", bind_mounts=binds)
        assert refused["failed"] and words in refused["msg"], refused["msg"]
    machine.sh(f"chown 70000 {SHIFTED}/5")
    # What only a look at every file, or a trial, can tell.
    assert f"{SHIFTED}/5 (uid 70000)" in machine.remap(state="enabled", bind_mounts=BINDS)["msg"]
    machine.sh(f"chown 5 {SHIFTED}/5; mount -t tmpfs tmpfs {SHIFTED}/; chmod 0755 {APP}; mkdir {SHIFTED}/in; "
               f"mount -t tmpfs tmpfs {SHIFTED}/in")
    said = machine.remap(state="enabled", bind_mounts=BINDS)["msg"]
    assert f"{SHIFTED} has mounts in it" in said and f"local users can reach {SHOWN}" in said
    machine.sh(f"umount {SHIFTED}/in {SHIFTED}; chmod 0700 {APP}")
    assert machine.traces() == traces


def test_what_is_not_named_is_warned_of_refused_or_prepared(app):
    machine = app
    named = {DEVICE: "leave"}
    planned = succeed(machine.remap(state="enabled", bind_mounts=named, check_mode=True))
    assert sum(APP in warning for warning in planned["warnings"]) == 3
    refused = machine.remap(state="enabled", bind_mounts=named, other_bind_mounts="refuse", check_mode=True)
    assert all(path in refused["msg"] for path in (SHIFTED, SHOWN, FILE)) and DEVICE not in refused["msg"]
    planned = succeed(machine.remap(state="enabled", bind_mounts=named, other_bind_mounts="auto", check_mode=True))
    assert {mount["path"]: mount["strategy"] for mount in planned["bind_mounts"]} == {
        SHIFTED: "shift", SHOWN: "shift", DEVICE: "leave", FILE: "idmap"}
