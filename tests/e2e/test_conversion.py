"""The main line: a live host with its whole workload goes through the playbooks to user namespaces and back."""

import re

import pytest

from hosts import every_engine
from machine import CONFIG, DATA_ROOT
from playbooks import play
from testbed import manifest, workload

pytestmark = every_engine

# What running containers keep writing, by volume: there only the content may differ.
WRITTEN = {"dbdata": ".", "dnsdata": "log"}
IDS = (0, 5, 33, 999, 65534)


class Before:
    """A host and what was on it before it was changed."""

    def __init__(self, machine):
        self.machine = machine
        self.inventory = machine.inventory()
        self.volumes = volumes(machine)
        self.layer = machine.manifest(machine.layer("dns"))
        self.content = content(machine)
        self.view = view(machine)


@pytest.fixture(scope="module")
def before(machine):
    """The host as it was; by the time a test gets it, it is what the tests above have made of it."""
    machine.set_up_busy()
    return Before(machine)


def volumes(machine):
    """The manifest of every volume's data."""
    root = machine.engine_root
    return {name: settled(machine.manifest(f"{root}/volumes/{name}/_data"), WRITTEN.get(name, "log"))
            for name in machine.docker("volume", "ls", "-q").split()}


def settled(entries, written):
    """A manifest without the content of what its containers keep writing."""
    hollow = {"size": None, "mtime_ns": None, "sha256": None}
    at = {path for path in entries if written == "." or path == written or path.startswith(f"{written}/")}
    return {path: {**entry, **hollow} if path in at else entry for path, entry in entries.items()}


def content(machine):
    """The inodes of images and layers: whatever is pulled, loaded or made anew has others."""
    listed = machine.sh(f"cd {machine.engine_root}; stat -c '%n %i' overlay2/*/diff image/overlay2/imagedb/content/sha256/*")
    return set(listed.splitlines())


def view(machine):
    """The owners that the containers themselves see."""
    return machine.docker("exec", "dns", "sh", "-c", r"find /data/owners /layer -printf '%p %U:%G %m\n' | sort").splitlines()


def test_the_check_shows_the_change_and_changes_nothing(before):
    machine = before.machine
    traces = machine.traces()
    state = tree(machine)
    done = play(machine, "userns_enable", "--check", "--diff")
    assert (done.code, done.changed) == (0, 1), done.output
    assert re.search(rf"^\+\+\+ after: {CONFIG}$", done.output, re.MULTILINE), done.output
    assert '+    "userns-remap": "default"' in done.output
    for step in ("make account dockremap with ", f"move {DATA_ROOT} to {DATA_ROOT}/", "stop containers: ", "shift the owners"):
        assert step in done.output
    assert machine.traces()["containers"] == traces["containers"]
    assert machine.traces()["dockerd"] == traces["dockerd"]
    assert manifest.differences(state, tree(machine)) == []


def tree(machine):
    """/etc and the state directories, but for what the running containers write."""
    entries = {}
    for top in ("/etc", DATA_ROOT, "/var/lib/bulkhead"):
        if machine.exists(top):
            entries |= {f"{top}/{path}": entry for path, entry in machine.manifest(top).items()}
    noise = re.compile(r"/merged(/|$)|/volumes/(dbdata/_data|dnsdata/_data/log|[0-9a-f]{64}/_data/log)|-json\.log$")
    return {path: entry for path, entry in entries.items() if not noise.search(path)}


def test_the_playbook_converts_the_running_host(before):
    machine = before.machine
    done = play(machine, "userns_enable", "-e", "bulkhead_progress_seconds=1")
    assert (done.code, done.failed, done.changed) == (0, 0, 1), done.output
    assert machine.is_remapped
    # Stopping and starting takes seconds; the rest is over too soon to be seen for certain.
    assert re.search(rf"^{machine.name} \| userns_remap: (stop|start)_", done.output, re.MULTILINE), done.output


def test_nothing_was_made_anew(before):
    assert before.machine.inventory() == before.inventory
    assert content(before.machine) == before.content


def test_no_image_was_pulled_or_loaded(before):
    # An end in the past would leave out what has just happened.
    events = before.machine.sh('docker events --since 1h --until "$(($(date +%s) + 1))" --filter type=image')
    assert events == ""


def test_every_volume_is_the_old_one_translated(before):
    machine = before.machine
    found = volumes(machine)
    assert found.keys() == before.volumes.keys() != set()
    for name, entries in before.volumes.items():
        expected = manifest.translate(entries, *machine.subordinate_range)
        assert manifest.differences(expected, found[name]) == [], name


def test_a_containers_layer_is_the_old_one_translated(before):
    machine = before.machine
    expected = manifest.translate(before.layer, *machine.subordinate_range)
    found = machine.manifest(machine.layer("dns"))
    assert manifest.differences(expected, found, ignore=STARTED) == []
    assert {f"layer/{number}" for number in IDS} <= expected.keys()


# What a container's start itself writes in its layer.
STARTED = ("run", "etc", "dev", "tmp", "var/run")


def test_services_answer_as_before(before):
    found = workload.check(before.machine.name)
    assert found["rows"] == workload.ROWS
    assert found["dns"] == workload.ADDRESS
    assert "bulkhead dns" in found["web"]


def test_containers_run_in_the_range_and_see_their_own_ids(before):
    machine = before.machine
    start, count = machine.subordinate_range
    for name in sorted(before.inventory["running"]):
        assert machine.docker("exec", name, "cat", "/proc/self/uid_map").split() == ["0", str(start), str(count)], name
        assert machine.docker("exec", name, "cat", "/proc/self/gid_map").split() == ["0", str(start), str(count)], name
    assert view(machine) == before.view


@pytest.mark.parametrize("number", IDS)
def test_a_file_of_container_id_n_is_start_plus_n_on_disk(before, number):
    machine = before.machine
    owner = machine.subordinate_range[0] + number
    for path in (f"{machine.engine_root}/volumes/dnsdata/_data/owners/dir-{number}", f"{machine.layer('dns')}/layer/{number}"):
        assert machine.said("stat", "-c", "%u:%g", path) == f"{owner}:{owner}"


def test_a_second_run_changes_nothing(before):
    traces = before.machine.traces()
    done = play(before.machine, "userns_enable")
    assert (done.code, done.changed) == (0, 0), done.output
    assert_same_containers_and_engine(before.machine, traces)


def assert_same_containers_and_engine(machine, traces):
    found = machine.traces()
    assert (found["dockerd"], found["containers"]) == (traces["dockerd"], traces["containers"])


# Runs in a container: files with owners of their own, as an application would write them.
WRITE = """
cd "$1"; mkdir new; cd new
for id in 0 5 33 999 65534; do echo "new of $id" >"$id"; chown "$id:$id" "$id"; done
cp /bin/busybox setuid; chown 33:5 setuid; chmod 6755 setuid
"""


def test_what_was_written_meanwhile_is_there_after_the_way_back(before):
    machine = before.machine
    write_meanwhile(machine)
    written = {path: machine.manifest(path.replace("ROOT", machine.engine_root)) for path in NEW}
    start, count = machine.subordinate_range
    inventory = machine.inventory()
    assert len(inventory["images"]) > len(before.inventory["images"])
    unchanged = volumes(machine)

    done = play(machine, "userns_rollback")
    assert (done.code, done.failed, done.changed) == (0, 0, 1), done.output

    assert machine.inventory() == inventory
    assert not machine.is_remapped
    for path, entries in written.items():
        found = machine.manifest(path.replace("ROOT", machine.engine_root))
        assert manifest.differences(entries, manifest.translate(found, start, count)) == [], path
    for name, entries in volumes(machine).items():
        assert manifest.differences(unchanged[name], manifest.translate(entries, start, count)) == [], name
    acl = machine.said("getfacl", "-nc", f"{machine.engine_root}/volumes/dnsdata/_data/new/999")
    assert "user:5:rw-" in acl
    assert workload.database(machine.name, "SELECT COUNT(*) FROM item") == str(workload.ROWS + 2)
    assert workload.database(machine.name, "SELECT name FROM item WHERE id = 5001") == "written meanwhile"
    assert machine.docker("exec", "newcomer", "sh", "-c", "cat /new/33; stat -c %u:%g /new/33; "
                          "cat /proc/self/uid_map").split() == ["new", "of", "33", "33:33", "0", "0", "4294967295"]
    assert machine.docker("run", "--rm", "newimage", "stat", "-c", "%u:%g %a", "/new/setuid") == "33:5 6755"
    assert view(machine) == before.view


NEW = ["ROOT/volumes/dnsdata/_data/new", "ROOT/volumes/newvolume/_data/new"]


def write_meanwhile(machine):
    """New rows, files, a container, a volume, a network and an image."""
    workload.database(machine.name, "INSERT INTO item VALUES (5001, 'written meanwhile'), (5002, 'and this')")
    machine.docker("network", "create", "newnet")
    machine.docker("run", "-d", "--name", "newcomer", "--network", "newnet", "-v", "newvolume:/data", "bulkhead/busybox",
                   "sh", "-c", "trap exit TERM; while :; do sleep 0.2; done")
    for container, directory in (("dns", "/data"), ("newcomer", "/data"), ("newcomer", "/")):
        machine.run("docker", "exec", "-i", container, "sh", "-eu", "-s", directory,
                    input=WRITE if container == "newcomer" else WRITE.replace("/bin/busybox", "/usr/bin/busybox"))
    start, _ = machine.subordinate_range
    machine.said("setfacl", "-m", f"u:{start + 5}:rw", f"{machine.engine_root}/volumes/dnsdata/_data/new/999")
    machine.docker("commit", "newcomer", "newimage")


def test_nothing_of_the_remapped_world_is_left(before):
    machine = before.machine
    assert not machine.exists(CONFIG)
    assert machine.leftovers() == []
    assert re.findall(r"\d+\.\d+", machine.said("ls", DATA_ROOT)) == []
    assert machine.said("find", "/etc/systemd/system", "-name", "docker.*.d").split() == []


def test_a_second_way_back_changes_nothing(before):
    traces = before.machine.traces()
    done = play(before.machine, "userns_rollback")
    assert (done.code, done.changed) == (0, 0), done.output
    assert_same_containers_and_engine(before.machine, traces)
