"""What is told of a host before anything is done: of its engine, its containers, services to come, and of whatever
points into the data root."""

import pytest

from hosts import every_engine
from machine import CONFIG, DATA_ROOT

pytestmark = every_engine

SLEEP = "--stop-timeout 1 bulkhead/busybox sleep 1000000"
# container → (how it is made, its verdicts, a word of the reason)
CASES = {
    "fortress": (f"docker create --name fortress --privileged {SLEEP}", ["needs_host_mode"], "is privileged"),
    "steerer": (f"docker create --name steerer -v /run/docker.sock:/var/run/docker.sock {SLEEP}",
                ["needs_host_mode"], "docker.sock"),
    "onhost": (f"docker create --name onhost --network host --userns host {SLEEP}", [], ""),
    "joiner": (f"docker start onhost; docker create --name joiner --network container:onhost {SLEEP}",
               ["needs_host_mode"], "joins the network of onhost"),
    "writer": (f"mkdir -p /srv/written; chmod 755 /srv/written; docker create --name writer -v /srv/written:/w {SLEEP}",
               ["needs_bind_mount_prepared"], "writes to /srv/written (0:0 mode 0755)"),
    "reader": (f"docker create --name reader -v /srv/written:/w:ro {SLEEP}", [], ""),
    "tuner": (f"docker create --name tuner --sysctl net.core.somaxconn=512 {SLEEP}", [], ""),
    "mistuner": (f"docker create --name mistuner --sysctl net.ipv6.route.gc_timeout=61 {SLEEP}", ["sysctl_refused"],
                 "net.ipv6.route.gc_timeout"),
    "clock": (f"docker create --name clock --cap-add SYS_TIME {SLEEP}", ["loses_meaning"], "SYS_TIME"),
    "device": (f"docker create --name device --device /dev/fuse {SLEEP}", [], ""),
    "fleeting": (f"docker run -d --rm --name fleeting {SLEEP}", ["removed_when_stopped"], "--rm"),
    "memory": (f"docker run -d --name memory --tmpfs /scratch {SLEEP}; docker exec memory touch /scratch/file",
               ["tmpfs_lost"], "/scratch"),
    "empty": (f"docker run -d --name empty --tmpfs /scratch {SLEEP}", [], ""),
    "paused": (f"docker run -d --name paused {SLEEP}; docker pause paused", ["not_running"], "is paused"),
    "busy": (f"docker run -d --name busy {SLEEP}; docker exec -d busy sleep 1000", ["exec_running"], "docker exec"),
}
PROJECT = """\
services:
  firewall:
    image: bulkhead/busybox
    privileged: true
    network_mode: host
  web:
    image: bulkhead/busybox
    volumes: ["./site:/site", "sites:/sites"]
    cap_add: [NET_BIND_SERVICE]
  cron:
    image: bulkhead/busybox
    volumes: ["/var/run/docker.sock:/var/run/docker.sock:ro"]
volumes:
  sites:
version: "3.7"
"""


@pytest.fixture
def arranged(small_host):
    machine = small_host
    machine.sh("; ".join(arrange for arrange, _, _ in CASES.values()))
    yield machine
    machine.sh(f"docker unpause paused; docker rm -f {' '.join(CASES)}; rm -r /srv/written")


def set_immutable(machine, path, immutable):
    """As chattr(1), which not every host has."""
    machine.run("python3", "-c", f"""
import fcntl, os, struct
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IMMUTABLE_FL = 0x80086601, 0x40086602, 0x10
fd = os.open({path!r}, os.O_RDONLY)
flags, = struct.unpack("l", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8)))
fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("l", flags & ~FS_IMMUTABLE_FL | {immutable} * FS_IMMUTABLE_FL))
""")


def test_files_whose_owner_cannot_be_changed_are_named(small_host):
    machine = small_host
    path = f"{DATA_ROOT}/volumes/workdata/_data/fixed"
    machine.sh(f"touch {path}")
    set_immutable(machine, path, True)
    worker = by_name(machine.info()["containers"])["worker"]
    set_immutable(machine, path, False)
    machine.sh(f"rm {path}")
    assert [(finding["verdict"], finding["path"]) for finding in worker["findings"]] == [("immutable_files", path)]


def by_name(workloads):
    return {workload["name"]: workload for workload in workloads}


def test_every_container_gets_its_verdicts_and_nothing_changes(arranged):
    before = arranged.traces()
    found = by_name(arranged.info()["containers"])
    assert arranged.traces() == before
    assert set(found) == set(CASES) | {"dns", "worker", "idle"}
    verdicts = {name: [finding["verdict"] for finding in workload["findings"]] for name, workload in found.items()}
    assert verdicts == {name: expected for name, (_, expected, _) in CASES.items()} | {"dns": [], "worker": [], "idle": []}
    for name, (_, expected, word) in CASES.items():
        assert found[name]["ok"] == (not expected)
        assert all(word in finding["reason"] and finding["remedy"] for finding in found[name]["findings"])


def test_it_refuses_what_the_module_refuses(arranged):
    told = arranged.info()["refusals"]
    refused = arranged.remap(state="enabled")
    assert refused["failed"]
    assert told and all(refusal in refused["msg"] for refusal in told), refused["msg"]


def test_services_are_read_through_the_hosts_own_compose(small_host):
    machine = small_host
    machine.write("/opt/shop/docker-compose.yml", PROJECT)
    machine.sh("mkdir /opt/shop/site /opt/shop/.git")
    services = by_name(machine.info(compose_projects=["/opt/shop"])["services"])
    machine.sh("rm -r /opt/shop")
    verdicts = {name: [finding["verdict"] for finding in service["findings"]] for name, service in services.items()}
    assert verdicts == {"firewall": ["needs_host_mode"], "cron": ["needs_host_mode"],
                        "web": ["needs_bind_mount_prepared"]}
    assert services["web"]["compose"] == {"project": "shop", "service": "web"}
    (finding,) = services["web"]["findings"]
    # In a work tree of git an update makes files anew as root.
    assert (finding["path"], finding["strategy"]) == ("/opt/shop/site", "idmap")


def test_a_project_that_cannot_be_read_is_a_warning(small_host):
    small_host.write("/opt/broken/docker-compose.yml", "services: [")
    result = small_host.info(compose_projects=["/opt/broken"])
    small_host.sh("rm -r /opt/broken")
    assert any("/opt/broken could not be read" in warning for warning in result["warnings"]), result["warnings"]


def test_what_points_into_the_data_root_is_named(small_host):
    machine = small_host
    machine.write("/etc/cron.d/volumes", f"# nightly\n0 3 * * * root tar c {DATA_ROOT}/volumes/*/_data >/backup\n")
    references = machine.info()["references"]
    machine.sh("rm /etc/cron.d/volumes")
    assert {"file": "/etc/cron.d/volumes", "line": 2, "remedy": "compat_links",
            "text": f"0 3 * * * root tar c {DATA_ROOT}/volumes/*/_data >/backup"} in references


def test_the_engine_and_the_range_are_told(small_host):
    machine = small_host
    machine.write(CONFIG, '{"hosts": ["unix:///run/docker.sock"]}')
    result = machine.info()
    machine.sh(f"rm {CONFIG}")
    engine = result["engine"]
    assert engine["version"] == machine.docker("version", "-f", "{{.Server.Version}}")
    assert (engine["data_root"], engine["storage_driver"], engine["remapped"]) == (DATA_ROOT, "overlay2", None)
    assert engine["colliding_flags"] == ["-H"]
    assert engine["free_bytes"] > 0
    assert result["range"]["uid_map"] == [{"container": 0, "host": 165536, "size": 65536}]
    assert not result["range"]["exists"]


def test_a_remapped_engine_tells_its_ids_and_what_is_masked(remapped_host):
    machine = remapped_host
    machine.sh(f"mkdir -p {DATA_ROOT}/100000.100000/volumes/lost")
    result = machine.info()
    machine.sh(f"rm -r {DATA_ROOT}/100000.100000")
    start, _ = machine.subordinate_range
    assert result["engine"]["remapped"] == {"uid": start, "gid": start}
    assert result["masked"] == [{"path": f"{DATA_ROOT}/100000.100000", "entries": ["volumes"]}]
    assert all(workload["ok"] for workload in result["containers"]), result["containers"]
