"""The data root is copied: the plain one stays untouched behind the remapped engine, as the way back."""

import io
import json
import re
import tarfile

import pytest

import small
from hosts import on_both
from machine import CONFIG, DATA_ROOT, STATE
from testbed import host, manifest
from testbed.base import wait_for

COPY = {"state": "enabled", "carry_over": "copy"}
BACK = {"state": "disabled"}
DISCARD = {"state": "disabled", "discard_new_data": True}
ASIDE = f"{DATA_ROOT}/bulkhead-aside"
# What a copy may miss beside what owners.sh makes: a whiteout, an opaque directory, a socket.
ODD = """
mkdir /root/odd; cd /root/odd; touch file
printf 'FROM bulkhead/busybox\nCOPY file /directory/file\nCOPY file /file\n' >Dockerfile
docker build -qt odd .
docker run --name odd odd sh -c 'rm -r /directory /file; mkdir /directory'
cd /var/lib/docker/volumes/workdata/_data
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
"""


@pytest.fixture
def copied(small_host):
    """The small workload on a remapped engine, with a kept root."""
    succeeds(small_host, COPY)
    small.forget_states(small_host)
    return small_host


def succeeds(machine, options):
    result = machine.remap(**options)
    assert not result.get("failed") and result["changed"], result
    return result


def pause(machine, point):
    machine.remap_until_paused(point, COPY)


def go_on(machine):
    """What the paused run says in the end."""
    machine.sh("rm /run/bulkhead-paused")
    return json.loads(wait_for("the end of the run", lambda: machine.read("/run/said"), 120))


def copy_of(machine):
    return f"{DATA_ROOT}/{machine.subordinate_range[0]}.{machine.subordinate_range[0]}"


def plain_root(machine):
    """The manifest of all that is plain in the data root, but for that directory itself."""
    found = machine.manifest(DATA_ROOT)
    beside = copy_of(machine).removeprefix(f"{DATA_ROOT}/")
    return {path: entry for path, entry in found.items()
            if path not in (".", beside) and not path.startswith(f"{beside}/")}


def shifted(entries):
    """What of a root's manifest belongs to containers."""
    def is_shifted(path):
        top, _, rest = path.partition("/")
        inside = rest.split("/")[1:2]
        return inside in (["diff"], ["work"]) if top == "overlay2" else top == "volumes" and inside == ["_data"]
    return {path: entry for path, entry in entries.items() if is_shifted(path)}


def test_layers_are_copied_while_all_runs_and_what_changes_meanwhile_is_carried(small_host):
    machine = small_host
    machine.holds = None
    machine.sh("mkdir /root/context; cd /root/context; for name in early late; do echo $name >$name; "
               "printf 'FROM bulkhead/busybox\nCOPY %s /\n' $name >$name.df; done; "
               "docker build -qt early -f early.df .")
    before = machine.inventory()
    pid = machine.dockerd_pid
    pause(machine, "applied:copy_layers")
    assert machine.inventory() == before and machine.dockerd_pid == pid
    owners = set(machine.said("find", copy_of(machine), "-path", "*/diff/*", "-printf", "%U\n").split())
    assert owners and min(map(int, owners)) >= machine.subordinate_range[0]
    machine.sh("cd /root/context; docker build -qt late -f late.df .; docker rmi early")
    images = machine.inventory()["images"]
    result = go_on(machine)
    assert not result.get("failed"), result
    assert machine.inventory() == before | {"images": images}
    assert machine.docker("run", "--rm", "late", "cat", "/late") == "late"
    # What was removed between the passes was copied in the first, and is gone.
    layers = [set(machine.said("ls", f"{root}/overlay2").split()) for root in (DATA_ROOT, copy_of(machine))]
    assert layers[0] == layers[1]
    small.assert_engine_ran_on_clean_states_only(machine)
    assert machine.remap(**COPY)["changed"] is False


def test_the_copy_has_all_that_the_plain_root_has_and_leaves_that_untouched(small_host):
    machine = small_host
    machine.holds = None
    machine.sh(ODD)
    before = machine.inventory()
    pause(machine, "done:copy_rest")
    plain = plain_root(machine)
    kinds = {entry["type"] for entry in shifted(plain).values()}
    assert kinds >= {"file", "directory", "symlink", "socket", "fifo", "character"}
    assert any("trusted.overlay.opaque" in entry["xattrs"] for entry in plain.values())
    copy = shifted(machine.manifest(copy_of(machine)))
    assert manifest.differences(manifest.translate(shifted(plain), *machine.subordinate_range), copy) == []
    result = go_on(machine)
    assert not result.get("failed"), result
    small.assert_whole(machine, before, "remapped")
    machine.docker("run", "--name", "later", "bulkhead/busybox", "true")
    assert manifest.differences(plain, plain_root(machine)) == []


def write(machine):
    """New data in an old volume, and a container, a volume and an image."""
    machine.docker("exec", "dns", "sh", "-c", "echo new >/data/new; chown 33:999 /data/new; echo changed >/layer/5")
    machine.docker("run", "-d", "--name", "fresh", "-v", "freshdata:/data", "--stop-timeout", "1", "bulkhead/busybox",
                   "sh", "-c", f"echo fresh >/data/file; {small.FOREVER}")
    machine.docker("commit", "fresh", "freshimage")
    machine.docker("rm", "idle")


def test_the_way_back_carries_what_came_since_and_then_deletes_the_kept_root(copied):
    machine = copied
    machine.holds = None
    write(machine)
    before = machine.inventory()
    kept = machine.said("stat", "-c", "%i", f"{DATA_ROOT}/volumes")
    result = machine.remap(**BACK)
    assert not result.get("failed"), result
    small.assert_whole(machine, before, "plain")
    assert machine.docker("exec", "dns", "stat", "-c", "%u:%g", "/data/new") == "33:999"
    assert machine.docker("exec", "fresh", "cat", "/data/file") == "fresh"
    assert machine.said("stat", "-c", "%i", f"{DATA_ROOT}/volumes") != kept
    assert only_plain(machine)
    small.assert_engine_ran_on_clean_states_only(machine)


def remapped_roots(machine):
    return [name for name in machine.said("ls", DATA_ROOT).split() if re.fullmatch(r"\d+\.\d+", name)]


def only_plain(machine):
    """Neither a remapped root nor anything set aside is left, and the data root is as a plain engine's."""
    return (not remapped_roots(machine) and not machine.exists(ASIDE)
            and machine.said("stat", "-c", "%u:%g %a", DATA_ROOT) == "0:0 710")


def test_new_data_is_discarded_only_when_asked_to(copied):
    machine = copied
    machine.holds = None
    write(machine)
    pid = machine.dockerd_pid
    check = machine.remap(check_mode=True, **DISCARD)
    assert check["steps"][-6:] == ["set_aside", "configure", "release", "start_engine", "verify_inventory",
                                   "start_containers"]
    assert any("1 containers, 1 volumes and 1 images" in warning for warning in check["warnings"]), check["warnings"]
    assert "discard_new_data" in machine.remap(state="disabled", carry_over="none")["msg"]
    assert machine.dockerd_pid == pid
    result = succeeds(machine, DISCARD)
    assert result["warnings"] == check["warnings"]
    # `idle`, which was removed since, is back as well.
    small.assert_whole(machine, machine.before, "plain")
    assert machine.run("docker", "exec", "dns", "test", "-e", "/data/new", check=False).returncode == 1
    assert machine.docker("exec", "dns", "cat", "/layer/5") == "5"
    assert only_plain(machine) and not machine.exists(f"{STATE}/userns_remap.json")
    assert machine.remap(**DISCARD)["changed"] is False
    small.assert_engine_ran_on_clean_states_only(machine)


def test_discarding_is_refused_where_nothing_was_kept(remapped_host):
    result = remapped_host.remap(**DISCARD)
    assert result["failed"] and "none is on record" in result["msg"], result
    assert small.state(remapped_host)["state"] == "remapped"


# The wish, the point at which the change is cut off, and the state it ends in.
KILLS = [
    (COPY, "done:copy_layers", "plain"),
    (COPY, "applied:copy_rest", "plain"),
    (COPY, "done:use_copy", "plain"),
    (BACK, "applied:set_aside", "remapped"),
    (COPY, "done:release", "plain"),
    (COPY, "done:start_containers", "plain"),
    (COPY, "committed", "remapped"),
    (BACK, "done:start_containers", "remapped"),
    (BACK, "committed", "plain"),
    (DISCARD, "applied:set_aside", "remapped"),
    (DISCARD, "done:start_containers", "remapped"),
    (DISCARD, "committed", "plain"),
]
CRASHES = [
    (COPY, "done:copy_layers", "plain"),
    (COPY, "applied:copy_rest", "plain"),
    (BACK, "done:set_aside", "remapped"),
    (DISCARD, "done:configure", "remapped"),
]


def cases(points):
    def name(options, point):
        return f"{'discard' if 'discard_new_data' in options else options['state']}-{point}"
    return pytest.mark.parametrize(("machine", "options", "point", "world"), on_both(
        [(name(*case[:2]), *case) for case in points]), indirect=["machine"])


def start_from(machine, options):
    if options != COPY:
        succeeds(machine, COPY)
    small.forget_states(machine)


def assert_ended_in(machine, options, world):
    small.assert_whole(machine, machine.before, world)
    small.assert_engine_ran_on_clean_states_only(machine)
    assert machine.recover() == "nothing is open"
    # The other side is there as before, or gone for good.
    assert machine.exists(f"{DATA_ROOT}/image") and bool(remapped_roots(machine)) == (world == "remapped")
    if machine.exists(ASIDE):
        # Containers may have written to a copy that was given up.
        assert options == COPY and world == "plain"
        result = machine.remap(**COPY)
        assert result["failed"] and f"{ASIDE} holds what an undone change has set aside" in result["msg"], result
        machine.sh(f"rm -r {ASIDE}")
    # And the change can still be made.
    if world == {"enabled": "plain", "disabled": "remapped"}[options["state"]]:
        succeeds(machine, options)


@cases(KILLS)
def test_a_killed_change_is_finished_or_undone(small_host, options, point, world):
    machine = small_host
    start_from(machine, options)
    assert machine.remap(fault=f"kill@{point}", **options) is None
    outcome = "finished" if point == "committed" else "undone"
    assert machine.recover() == f"an interrupted change was {outcome}"
    set_aside = options == COPY and point in ("done:use_copy", "done:release", "done:start_containers")
    assert machine.exists(ASIDE) == set_aside
    assert_ended_in(machine, options, world)


@cases(CRASHES)
def test_a_host_that_crashes_in_a_change_comes_back_clean(small_host, options, point, world):
    machine = small_host
    start_from(machine, options)
    machine.remap_until_paused(point, options)
    host.crash(machine.name)
    if point == "done:copy_layers":
        # Nothing was stopped: the restart alone has.
        machine.docker("start", *small.RUNNING)
    assert_ended_in(machine, options, world)


def test_a_container_that_does_not_come_back_leads_back_and_loses_nothing(small_host):
    machine = small_host
    result = machine.remap(fault="fail@done:start_containers", **COPY)
    assert result["failed"], result
    assert any(f"what containers wrote while they ran on the copy is in {ASIDE}" in said for said in result["warnings"])
    small.assert_whole(machine, machine.before, "plain")
    machine.sh(f"rm -r {ASIDE}")


def test_a_copy_that_does_not_fit_is_refused_before_anything_stops(small_host):
    machine = small_host
    machine.holds = None
    machine.sh("mkdir /mnt/small; mount -t tmpfs -o size=64m tmpfs /mnt/small; chmod 711 /mnt/small; "
               "docker save -o /root/busybox.tar bulkhead/busybox")
    machine.write(CONFIG, json.dumps({"data-root": "/mnt/small/docker"}))
    machine.sh("systemctl restart docker; docker load -qi /root/busybox.tar")
    machine.docker("run", "-d", "--name", "big", "-v", "big:/data", "bulkhead/busybox", "sh", "-c", small.FOREVER)
    machine.docker("exec", "big", "dd", "if=/dev/zero", "of=/data/file", "bs=1M", "count=40")
    before = machine.traces()
    result = machine.remap(**COPY)
    assert result["failed"], result
    assert "a copy of /mnt/small/docker takes 4" in result["msg"] and "MiB free" in result["msg"], result["msg"]
    assert "files cannot share their blocks there" in result["msg"]
    assert machine.traces() == before


FIREWALL = ("docker run -d --name firewall --network host -v rules:/data --stop-timeout 1 bulkhead/busybox sh -c "
            "'trap exit TERM; while :; do sleep 0.2; done'")


def an_entry_for_every_id():
    """A tar archive of empty files, each named and owned by an id."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(65536):
            entry = tarfile.TarInfo(str(number))
            entry.uid = entry.gid = number
            tar.addfile(entry)
    return archive.getvalue().decode("latin-1")


@pytest.mark.parametrize("carry_over", ["in_place", "copy"])
def test_a_container_in_host_mode_keeps_every_id_that_it_writes(small_host, carry_over):
    machine = small_host
    machine.holds = None
    machine.sh(FIREWALL)
    result = machine.remap(state="enabled", carry_over=carry_over, host_mode=["firewall"])
    assert not result.get("failed"), result
    machine.docker("exec", "firewall", "mkdir", "/own")
    archive = an_entry_for_every_id()
    for place in ("/data", "/own"):
        machine.run("docker", "exec", "-i", "firewall", "tar", "-x", "-C", place, input=archive)
    result = machine.remap(state="disabled")
    assert not result.get("failed"), result
    every = {f"{number} {number}:{number}" for number in range(65536)}
    for place in (f"{DATA_ROOT}/volumes/rules/_data", f"{machine.layer('firewall')}/own"):
        assert set(machine.said("find", place, "-mindepth", "1", "-printf", r"%f %U:%G\n").splitlines()) == every
