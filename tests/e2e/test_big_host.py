"""A host with 40 containers, 10 networks, 30 volumes and 200,000 files goes to user namespaces and back whole: every
entry of the data root is compared, and all that the engine says of containers, networks and volumes."""

import json
import re
from pathlib import Path

import pytest

from machine import DATA_ROOT
from testbed import big, host, manifest, pristine
from testbed.base import wait_for

READER = Path(manifest.__file__).read_text(encoding="utf-8")
# What belongs to containers. The rest is the engine's own, as is an overlay's work/work.
CONTENT = re.compile(r"(overlay2/[^/]+/(diff|work(?!/work$))|volumes/[^/]+/_data)(/|$)")
# What the engine writes at every start and health check, of which size, time and content are not compared. The
# containers write nothing.
WRITTEN = re.compile(r"""
    \. | overlay2 | overlay2/[^/]+ | overlay2/[^/]+/(merged|work|work/work)
    | containers/[^/]+ | containers/[^/]+/(config\.v2\.json|hostconfig\.json|hosts|hostname|resolv\.conf(\.hash)?|mounts)
    | network/files/local-kv\.db | volumes | volumes/(metadata\.db|backingFsBlockDev) | (buildkit|containerd)/.* | tmp
    | runtimes
""", re.VERBOSE)


@pytest.fixture(scope="module")
def big_host(machine):
    machine.holds = None
    host.down(machine.name)
    host.up(machine.name, machine.image, pristine.var(machine.image))
    machine.install_executables()
    big.up(machine.name)
    settled(machine)
    return machine


def settled(machine):
    wait_for("containers being healthy", lambda: "starting" not in machine.docker("ps", "--format", "{{.Status}}"), 30)


def data(machine):
    """The manifest of the whole data root, without what is mounted in it."""
    script = f"mount --bind {machine.engine_root} /mnt && exec python3 - /mnt"
    return manifest.parse(machine.run("unshare", "--mount", "sh", "-c", script, input=READER).stdout)


def said(machine):
    """What the engine says of containers, networks and volumes: all that the change may not touch."""
    def inspect(kind, listing):
        return json.loads(machine.docker(kind, "inspect", *machine.docker(kind, "ls", *listing).split()))

    containers = {entry["Name"]: {
        **{key: entry[key] for key in ("Id", "Created", "Image", "Path", "Args", "Config", "HostConfig", "RestartCount")},
        "running": entry["State"]["Running"],
        "health": entry["State"].get("Health", {}).get("Status"),
        "mounts": sorted(entry["Mounts"], key=lambda mount: mount["Destination"]),
        "networks": {name: (network["NetworkID"], network["IPAMConfig"], network["Aliases"], network["Links"])
                     for name, network in entry["NetworkSettings"]["Networks"].items() if name != "host"},
        "ports": entry["HostConfig"]["PortBindings"],
    } for entry in inspect("container", ["-aq"])}
    networks = {entry["Name"]: {key: entry[key] for key in ("Id", "Created", "IPAM", "Options", "Labels")}
                for entry in inspect("network", ["-q", "--filter", "type=custom"])}
    # CreatedAt is the time of the directory's last change.
    volumes = [{**volume, "CreatedAt": None} for volume in inspect("volume", ["-q"])]
    found = {"containers": containers, "networks": networks, "volumes": volumes}
    return json.loads(json.dumps(found).replace(machine.engine_root, DATA_ROOT))


def kept(machine):
    """What the container in the host's namespace has of its own."""
    upper = Path(machine.layer("onhost")).parent.name
    return [f"overlay2/{upper}/", f"volumes/volume{big.VOLUMES - 1}/"]


def remapped(entries, keeps, start, count):
    """What the entries have to be remapped. The engine's own owners and modes are the subject of
    test_engine_entries.py."""
    def entry(path, found):
        if not CONTENT.match(path):
            return {**found, "uid": None, "gid": None, "mode": None}
        return found if path.startswith(tuple(keeps)) else manifest.translate({path: found}, start, count)[path]

    return {path: entry(path, found) for path, found in entries.items()}


def differences(expected, found):
    """Those of manifests, but for what the engine writes, and for what is expected to be None."""
    for path in filter(WRITTEN.fullmatch, expected):
        expected[path] = {**expected[path], "size": None, "mtime_ns": None, "sha256": None}
    hollow = {path: {key: value if path not in expected or expected[path][key] is not None else None
                     for key, value in entry.items()} for path, entry in found.items()}
    return manifest.differences(expected, hollow)


def test_a_host_of_forty_containers_and_200000_files_goes_there_and_back_whole(big_host):
    machine = big_host
    entries, keeps, engine = data(machine), kept(machine), said(machine)
    assert len(engine["containers"]) == 40 and len(engine["networks"]) == 10
    assert sum(volume["Name"].startswith("volume") for volume in engine["volumes"]) == 30
    assert sum(bool(CONTENT.match(path)) for path in entries) > big.FILES

    result = machine.remap(state="enabled")
    assert not result.get("failed"), result["msg"]
    assert_downtime(result)
    settled(machine)
    assert said(machine) == engine
    assert differences(remapped(entries, keeps, *machine.subordinate_range), data(machine)) == []

    result = machine.remap(state="disabled")
    assert not result.get("failed"), result["msg"]
    assert_downtime(result)
    settled(machine)
    assert said(machine) == engine
    assert differences(entries, data(machine)) == []


def assert_downtime(result):
    """The parts make up the whole, and the shift is in its own."""
    parts = dict(result["downtime"])
    total = parts.pop("total")
    assert parts.keys() == {"stop", "move", "shift", "start"} and all(part > 0 for part in parts.values()), result
    assert abs(total - sum(parts.values())) < 0.1, result
    assert parts["shift"] >= result["shifted"]["seconds"] - 0.1
