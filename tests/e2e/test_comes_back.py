"""Where the engine or a container does not come up on the other side, everything goes back by itself."""

import pytest

import small
from faults import TAKEN_BACK, fault
from machine import CONFIG
from playbooks import play
from testbed import manifest

WRAPPER = """#!/bin/sh
grep -qs userns-remap /etc/docker/daemon.json && set -- "$@" --no-such-flag
exec /usr/sbin/dockerd "$@"
"""
# The way back starts the engine once more.
DROP_IN = """[Unit]
StartLimitBurst=1
StartLimitIntervalSec=1h
[Service]
ExecStart=
ExecStart=/usr/local/bin/dockerd-wrapper -H fd:// --containerd=/run/containerd/containerd.sock
"""
ORIGINAL = '{ "log-opts": {"max-size":"5m"},\n\n"live-restore" :false}'
PICKY = ("read -r inside outside size </proc/self/uid_map; if [ $outside != 0 ]; then echo no home at $outside >&2; exit 3; fi; "
         "trap exit TERM; while :; do sleep 0.2; done")


@pytest.fixture
def configured_host(small_host):
    """Its daemon.json is not formatted as a program would."""
    small_host.holds = None
    small_host.write(CONFIG, ORIGINAL)
    return small_host


def data(machine):
    return {name: machine.manifest(f"{machine.engine_root}/volumes/{name}/_data") for name in ("dnsdata", "workdata")}


def assert_as_before(machine, inventory, before):
    assert machine.read(CONFIG) == ORIGINAL
    found = data(machine)
    for name, entries in before.items():
        # The server's own log grows with every start.
        assert manifest.differences(entries, found[name], ignore=["log"]) == []
    small.assert_whole(machine, inventory, "plain")
    small.assert_engine_ran_on_clean_states_only(machine)


@fault("the engine does not start, and its unit's start limit is reached", TAKEN_BACK,
       ["dockerd said", "unknown flag: --no-such-flag"])
def test_from_an_engine_that_does_not_start(configured_host, reads):
    machine = configured_host
    machine.write("/usr/local/bin/dockerd-wrapper", WRAPPER, mode="0755")
    machine.write("/etc/systemd/system/docker.service.d/20-flags.conf", DROP_IN)
    machine.sh("systemctl daemon-reload; systemctl restart docker; docker start worker")
    inventory, before = machine.inventory(), data(machine)

    done = play(machine, "userns_enable")

    assert (done.failed, done.changed) == (1, 0), done.output
    assert [word for word in reads if word not in done.output] == [], done.output
    assert_as_before(machine, inventory, before)


@fault("a container does not start on the other side", TAKEN_BACK,
       ["container picky ran before and is now exited: no home at 165536"])
def test_from_a_container_that_does_not_start(configured_host, reads):
    machine = configured_host
    machine.docker("run", "-d", "--name", "picky", "bulkhead/busybox", "sh", "-c", PICKY)
    inventory, before = machine.inventory(), data(machine)

    result = machine.remap(state="enabled")

    assert result.get("failed"), result
    assert reads[0] in result["msg"]
    assert_as_before(machine, inventory, before)


def test_the_configuration_survives_both_ways(configured_host):
    machine = configured_host
    inventory = machine.inventory()
    for state in ("enabled", "disabled"):
        result = machine.remap(state=state)
        assert not result.get("failed"), result["msg"]
        assert machine.inventory() == inventory
        if state == "enabled":
            assert machine.docker("info", "-f", "{{.LoggingDriver}} {{.LiveRestoreEnabled}}") == "json-file false"
            assert all(key in machine.read(CONFIG) for key in ('"log-opts"', '"max-size": "5m"', '"live-restore": false'))
    assert machine.read(CONFIG) == ORIGINAL
