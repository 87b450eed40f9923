"""What cannot be done is refused before anything stops: the message names what stands in the way and the
way out, and the host is left as it was."""

from contextlib import contextmanager

import pytest

import small
from faults import refused
from machine import CONFIG, DATA_ROOT, STATE
from playbooks import play

SLEEP = "--stop-timeout 1 bulkhead/busybox sleep 1000000"
PLAIN_VOLUME = f"{DATA_ROOT}/volumes/workdata/_data"
USER_NAMESPACES = "/proc/sys/user/max_user_namespaces"

# name → (what stands in the way, how it goes away again, options, words of the message): of the host, and of what
# is asked for
CASES = {
    "a privileged container": (
        f"docker create --name fortress --privileged {SLEEP}", "docker rm -f fortress", {},
        ["container fortress is privileged", 'userns_mode: "host"', "--userns=host"]),
    "a container on the host's network": (
        f"docker run -d --name onhost --network host {SLEEP}", "docker rm -f onhost", {},
        ["container onhost uses the host's network", 'userns_mode: "host"', "--userns=host"]),
    "a container with the engine's socket": (
        f"docker run -d --name steerer -v /run/docker.sock:/var/run/docker.sock {SLEEP}", "docker rm -f steerer", {},
        ["container steerer mounts the engine's socket", 'userns_mode: "host"']),
    "a running container that stopping would delete": (
        f"docker run -d --rm --name fleeting {SLEEP}", "docker rm -f fleeting", {},
        ["container fleeting was started with --rm", "stop it yourself"]),
    "a paused container": (
        "docker pause worker", "docker unpause worker", {},
        ["container worker is paused", "bring it to run, or stop it"]),
    "a file of an id outside the range": (
        f"touch {PLAIN_VOLUME}/stranger; chown 70000:70000 {PLAIN_VOLUME}/stranger", f"rm {PLAIN_VOLUME}/stranger", {},
        [f"{PLAIN_VOLUME}/stranger", "70000"]),
    "data in the remapped root": (
        f"mkdir -p {DATA_ROOT}/165536.165536/overlay2/old", f"rm -r {DATA_ROOT}/165536.165536", {},
        [f"{DATA_ROOT}/165536.165536 already holds an engine's data", "overlay2", "move it away"]),
    "a volume kept elsewhere": (
        "mkdir -p /srv/away; docker volume create -o type=none -o o=bind -o device=/srv/away away",
        "docker volume rm away; rmdir /srv/away", {}, ["volume away", "/srv/away", "outside the data root"]),
    "volumes behind a link": (
        f"systemctl stop docker docker.socket; mv {DATA_ROOT}/volumes /srv/volumes; ln -s /srv/volumes {DATA_ROOT}/volumes; "
        "systemctl reset-failed docker; systemctl start docker; docker start dns worker",
        f"systemctl stop docker docker.socket; rm {DATA_ROOT}/volumes; mv /srv/volumes {DATA_ROOT}/volumes; "
        "systemctl reset-failed docker; systemctl start docker; docker start dns worker", {},
        [f"{DATA_ROOT}/volumes is a symbolic link"]),
    "a volume's data behind a link": (
        f"mv {PLAIN_VOLUME} /var/lib/elsewhere; ln -s /var/lib/elsewhere {PLAIN_VOLUME}",
        f"rm {PLAIN_VOLUME}; mv /var/lib/elsewhere {PLAIN_VOLUME}", {},
        [f"{PLAIN_VOLUME} is a symbolic link", "put the data itself there"]),
    "a volume's data on a mount of its own": (
        f"mount --bind {PLAIN_VOLUME} {PLAIN_VOLUME}", f"umount {PLAIN_VOLUME}", {},
        [f"{PLAIN_VOLUME} is a mount of its own", "put the data itself there"]),
    "layers on a mount of their own": (
        f"mount --bind {DATA_ROOT}/overlay2 {DATA_ROOT}/overlay2", f"umount {DATA_ROOT}/overlay2", {},
        [f"{DATA_ROOT}/overlay2 is a mount of its own", "put the data itself there"]),
    "a read-only data root": (
        f"mount --bind {DATA_ROOT} {DATA_ROOT}; mount -o remount,bind,ro {DATA_ROOT}", f"umount {DATA_ROOT}", {},
        [f"the file system of {DATA_ROOT} is mounted read-only", "mount it writable"]),
    "a full disk": (
        f"mkdir -p {STATE}; mount -t tmpfs -o size=1m none {STATE}", f"umount {STATE}", {},
        [f"the file system of {STATE} has 1020 KiB left", "make room for 16384 KiB"]),
    "a directory above the data root that is closed to others": (
        "chmod o-x /var/lib", "chmod o+x /var/lib", {}, ["/var/lib cannot be entered by others", "chmod o+x"]),
    # A stand-in: the limit itself holds for all hosts of the machine.
    "a kernel without user namespaces": (
        f"echo 0 >/run/none; mount --bind /run/none {USER_NAMESPACES}", f"umount {USER_NAMESPACES}", {},
        ["user.max_user_namespaces=0", "raise that with sysctl"]),
    "a program of the host that writes into a volume": (
        f"sleep 1000000 3>>{PLAIN_VOLUME}/held >/dev/null 2>&1 & echo $! >/run/writer",
        f"kill $(cat /run/writer); rm {PLAIN_VOLUME}/held", {},
        ["of the host (sleep 1000000)", f"{PLAIN_VOLUME}/held open for writing", "stop it first"]),
    "an engine plugin": (
        "mkdir -p /run/plugin/rootfs; echo '{\"interface\": {\"types\": [\"docker.volumedriver/1.0\"], \"socket\": \"x.sock\"}}' "
        ">/run/plugin/config.json; docker plugin create stuck /run/plugin", "docker plugin rm stuck; rm -r /run/plugin", {},
        ["the engine plugin stuck", "remove it first"]),
    # A stand-in: what makes checkpoints is not there.
    "a checkpoint": (
        f"mkdir -p {DATA_ROOT}/containers/$(docker inspect -f '{{{{.Id}}}}' idle)/checkpoints/before",
        f"rm -r {DATA_ROOT}/containers/*/checkpoints", {}, ["container idle", "checkpoint", "docker checkpoint rm"]),
    "a configuration that is not JSON": (
        f"mkdir -p /etc/docker; echo '{{\"log-driver\": ' >{CONFIG}", f"rm {CONFIG}", {},
        [f"{CONFIG} cannot be used", "not JSON"]),
    "a configuration with a key that the engine does not know": (
        f"mkdir -p /etc/docker; echo '{{\"log-drivers\": \"local\"}}' >{CONFIG}", f"rm {CONFIG}", {},
        [f"with {CONFIG} as it would be, dockerd would not start", "log-drivers", "set that right first"]),
    "a configuration with a key that is a flag of the engine's too": (
        f"mkdir -p /etc/docker; echo '{{\"hosts\": [\"fd://\"]}}' >{CONFIG}", f"rm {CONFIG}", {},
        [f"with {CONFIG} as it would be, dockerd would not start",
         "specified both as a flag and in the configuration file: hosts", "set that right first"]),
}
OPTIONS = {
    "a configuration at another place than the engine reads": (
        "", "", {"config_file": "/etc/docker/other.json"},
        [f"dockerd reads its configuration from {CONFIG}", f"give config_file={CONFIG}"]),
    "an unknown option": ("", "", {"carry_on": True}, ["Unsupported parameters", "carry_on", "carry_over"]),
    "a start that is no id": ("", "", {"subid_start": -1}, ["subid_start=-1", "1 and 4294967294"]),
    "the ids of root": ("", "", {"subid_start": 0}, ["subid_start=0", "1 and 4294967294"]),
    "a start beyond all ids": ("", "", {"subid_start": 4294967000}, ["subid_start=4294967000", "1 and 4294967294"]),
    "an endless start": ("", "", {"subid_start": 10**30}, ["subid_start"]),
    "a start in words": ("", "", {"subid_start": "abc"},
                         ["argument 'subid_start' is of type str and we were unable to convert to int"]),
    "a range of nothing": ("", "", {"subid_count": 0}, ["subid_count", "between 1 and 4294967295"]),
    "a range of another user": ("", "", {"subid_start": 120000}, ["120000", "admin", "/etc/subuid"]),
    "a range of another user's groups": (
        "echo other:400000:65536 >>/etc/subgid", "sed -i /^other:/d /etc/subgid", {"subid_start": 430000},
        ["430000", "other", "/etc/subgid"]),
}


def is_refused(machine, words, **options):
    """A run fails with these words and leaves no trace."""
    traces = machine.traces()
    result = machine.remap(**options)
    assert result.get("failed") and not result.get("changed"), result
    assert [word for word in words if word not in result["msg"]] == [], result["msg"]
    assert_untouched(machine, traces)


def assert_untouched(machine, traces):
    found = machine.traces()
    assert found["files"] ^ traces["files"] == set()
    assert found == traces
    assert machine.leftovers() == []


@contextmanager
def obstacle(machine, arrange, remove):
    machine.sh(arrange)
    try:
        yield
    finally:
        machine.sh(remove)


@pytest.mark.parametrize(("arrange", "remove", "options", "words"), [
    *(pytest.param(*case, id=name, marks=refused(name, case[-1])) for name, case in CASES.items()),
    *(pytest.param(*case, id=name) for name, case in OPTIONS.items()),
])
def test_refused_before_anything_stops(small_host, arrange, remove, options, words):
    with obstacle(small_host, arrange, remove):
        is_refused(small_host, words, **{"state": "enabled", **options})


# These engines write by themselves, so the host's files are not compared.
@refused("a member of a swarm", ["a member of a swarm", "leave the swarm first"])
def test_refused_in_a_swarm(small_host, reads):
    machine = small_host
    with obstacle(machine, "docker swarm init --advertise-addr 127.0.0.1 --listen-addr 127.0.0.1",
                  "docker swarm leave --force; docker network rm docker_gwbridge"):
        is_refused_and_runs_on(machine, reads)


def is_refused_and_runs_on(machine, words):
    before = starts(machine)
    result = machine.remap(state="enabled")
    assert result.get("failed") and not result.get("changed"), result
    assert [word for word in words if word not in result["msg"]] == [], result["msg"]
    assert starts(machine) == before
    assert machine.leftovers() == []


def starts(machine):
    """Of the engine, and when the containers were started."""
    return machine.dockerd_pid, {name: entry["State"]["StartedAt"] for name, entry in machine.containers().items()}


@pytest.mark.parametrize("name", ["a privileged container", "a container on the host's network"])
def test_the_playbook_is_refused_too(small_host, name):
    arrange, remove, _, words = CASES[name]
    with obstacle(small_host, arrange, remove):
        traces = small_host.traces()
        done = play(small_host, "userns_enable")
        assert (done.failed, done.changed) == (1, 0), done.output
        assert [word for word in words if word.replace('"', '\\"') not in done.output] == [], done.output
        assert_untouched(small_host, traces)


def test_the_check_refuses_in_the_same_words(small_host):
    arrange, remove, _, words = CASES["a container on the host's network"]
    with obstacle(small_host, arrange, remove):
        is_refused(small_host, words, state="enabled", check_mode=True)


def test_refused_to_anyone_but_root(small_host):
    traces = small_host.traces()
    done = small_host.run("runuser", "-u", "admin", "--", "userns_remap", "state=enabled", check=False)
    assert done.returncode == 1
    assert "has to run as root; use become: true" in done.stdout + done.stderr
    assert_untouched(small_host, traces)


@pytest.mark.parametrize(("arrange", "remove"), [
    pytest.param("systemctl stop docker docker.socket",
                 "systemctl reset-failed docker; systemctl start docker; docker start dns worker", id="stopped"),
    pytest.param("mv /usr/bin/docker /usr/bin/docker.away", "mv /usr/bin/docker.away /usr/bin/docker", id="missing"),
])
def test_refused_without_an_engine(small_host, arrange, remove):
    with obstacle(small_host, arrange, remove):
        files = files_of(small_host)
        result = small_host.remap(state="enabled")
        assert result.get("failed"), result
        assert "no Docker engine answers on this host" in result["msg"]
        assert files_of(small_host) == files
        assert small_host.leftovers() == []


def files_of(machine):
    return machine.said("find", "/etc", DATA_ROOT, "-xdev", "-printf", r"%p %m %U:%G %C@\n")


def test_the_way_back_is_refused_where_the_plain_root_holds_data(remapped_host):
    old = f"{DATA_ROOT}/overlay2/old"
    with obstacle(remapped_host, f"mkdir -p {old}", f"rm -r {DATA_ROOT}/overlay2"):
        is_refused(remapped_host, [f"{DATA_ROOT} already holds an engine's data", "overlay2", "move it away"],
                   state="disabled")


def test_the_way_back_is_refused_where_nothing_tells_the_ranges_in_use(remapped_host):
    record = "/var/lib/bulkhead/userns_remap.json"
    with obstacle(remapped_host, "sed -i.kept 's/^dockremap:165536/dockremap:900000/' /etc/subuid; "
                  f"docker stop dns worker; mv {record} /run",
                  f"mv /etc/subuid.kept /etc/subuid; docker start dns worker; mv /run/userns_remap.json {record}"):
        is_refused(remapped_host, ["165536:165536", "start a container", "put the old ranges back"], state="disabled")


def test_other_ids_than_those_in_use_are_refused(remapped_host):
    is_refused(remapped_host, ["dockremap", "165536", "subid_start=900000"], state="enabled", subid_start=900000)
    small.assert_whole(remapped_host, remapped_host.before, "remapped")
