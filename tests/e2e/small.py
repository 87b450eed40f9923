"""A workload that starts and stops within a second, for the tests that do so often."""

import json

from testbed import host, pristine, workload
from testbed.base import HERE, wait_for

RECORDER = """\
[Service]
ExecStartPre=/usr/local/bin/record-state start
ExecStopPost=/usr/local/bin/record-state stop
"""
# As process 1 a shell ignores SIGTERM unless it is told otherwise.
FOREVER = "trap exit TERM; while :; do sleep 0.2; done"
# name → arguments of `docker create`, in the order of their start
CONTAINERS = {
    "dns": ["--restart", "unless-stopped", "-v", "dnsdata:/data", "bulkhead/dns"],
    "worker": ["--network", "appnet", "-v", "workdata:/data", "bulkhead/busybox", "sh", "-c", FOREVER],
    "idle": ["bulkhead/busybox", "true"],
}
RUNNING = {"dns", "worker"}


def set_up(machine):
    """Make the host anew with this workload, which is returned as its inventory."""
    name = machine.name
    host.down(name)
    host.up(name, machine.image, pristine.var(machine.image))
    machine.sh("docker ps -aq | xargs docker rm -fv; docker volume ls -q | xargs -r docker volume rm; "
               "docker network rm appnet; docker network create appnet; docker volume create dnsdata")
    machine.run("sh", "-eu", "-s", "/var/lib/docker/volumes/dnsdata/_data/owners",
                input=(HERE / "owners.sh").read_text(encoding="utf-8"))
    for container, arguments in CONTAINERS.items():
        machine.docker("create", "--name", container, *arguments)
        machine.docker("start", container)
    for container in sorted(RUNNING):
        machine.run("docker", "exec", "-i", container, "sh", "-eu", "-s", input=workload.LAYER.replace("rm -r /srv", ""))
    machine.install_executables()
    host.put(name, HERE.parent / "e2e" / "record_state.py", "/usr/local/bin/record-state")
    machine.write("/etc/systemd/system/docker.service.d/10-record-state.conf", RECORDER)
    machine.sh("systemctl daemon-reload")
    wait_for("dns serving", lambda: machine.exists("/var/lib/docker/volumes/dnsdata/_data/log/queries"), 10)
    return machine.inventory()


def state(machine):
    """The state of the engine's data: `state` is `plain`, `remapped` or `half-moved`."""
    return json.loads(machine.said("record-state"))


def bring(machine, world):
    """Bring the engine to `plain` or `remapped`, with an account still to be made where it is plain."""
    if state(machine)["state"] != world:
        result = machine.remap(state={"plain": "disabled", "remapped": "enabled"}[world])
        assert not result.get("failed"), result["msg"]
    if world == "plain":
        machine.sh("if id -u dockremap; then userdel dockremap; sed -i /^dockremap:/d /etc/subuid /etc/subgid; fi")


def forget_states(machine):
    machine.sh("rm -f /var/log/engine-states")


def states(machine):
    """In which states the engine has started and stopped since they were forgotten."""
    return [json.loads(line) for line in (machine.read("/var/log/engine-states") or "").splitlines()]


def assert_engine_ran_on_clean_states_only(machine):
    torn = [line for line in states(machine) if line["state"] not in ("plain", "remapped")]
    assert not torn, torn


def assert_whole(machine, inventory, expected):
    """Everything is there and runs, on data that is in the state `expected` throughout."""
    found = state(machine)
    assert found["state"] == expected, found
    assert machine.is_remapped == (expected == "remapped")
    assert machine.inventory() == inventory
    assert machine.leftovers() == []
    view = machine.docker("exec", "dns", "sh", "-c", "stat -c '%n %u:%g' /data/owners/dir-*/file /layer/*")
    assert view.splitlines() == VIEW


VIEW = [f"{path} {number}:{number}" for pattern in ("/data/owners/dir-{}/file", "/layer/{}")
        for path, number in sorted((pattern.format(number), number) for number in (0, 5, 33, 999, 65534))]
