"""What goes wrong while a change is under way: it is carried to its end, or all is as it was before."""

import json
from contextlib import contextmanager

import pytest

import small
from faults import CARRIED_ON, TAKEN_BACK, fault
from machine import CONFIG, DATA_ROOT, STATE
from testbed.base import wait_for

DROP_IN = "/etc/systemd/system/docker.service.d/30-fault.conf"


@contextmanager
def unit_with(machine, text):
    """docker.service with this in a drop-in."""
    machine.write(DROP_IN, text)
    machine.sh("systemctl daemon-reload")
    try:
        yield
    finally:
        machine.sh(f"rm -f {DROP_IN}; systemctl daemon-reload; systemctl reset-failed docker")


@contextmanager
def configured(machine, **keys):
    """The engine started with these keys in its configuration."""
    machine.write(CONFIG, json.dumps(keys))
    machine.sh("systemctl reset-failed docker; systemctl restart docker; docker start dns worker")
    try:
        yield
    finally:
        machine.sh(f"rm {CONFIG}; systemctl reset-failed docker; systemctl restart docker; docker start dns worker")


def succeeds(machine, inventory=None, **options):
    result = machine.remap(**options)
    assert not result.get("failed"), result["msg"]
    small.assert_whole(machine, inventory or machine.before, {"enabled": "remapped", "disabled": "plain"}[options["state"]])
    small.assert_engine_ran_on_clean_states_only(machine)
    return result


def is_taken_back(machine, reads, inventory=None, **options):
    result = machine.remap(state="enabled", **options)
    assert result.get("failed"), result
    assert [word for word in reads if word not in result["msg"]] == [], result["msg"]
    assert machine.read(CONFIG) is None
    small.assert_whole(machine, inventory or machine.before, "plain")
    small.assert_engine_ran_on_clean_states_only(machine)


@fault("live-restore is on", "containers are stopped all the same: none outlives the engine")
def test_no_container_outlives_an_engine_with_live_restore(small_host):
    machine = small_host
    with configured(machine, **{"live-restore": True}), unit_with(
            machine, "[Service]\nExecStopPost=/bin/sh -c 'pgrep -c containerd-shim >>/run/shims; true'\n"):
        # That is what it would do.
        machine.sh("systemctl restart docker")
        assert machine.read("/run/shims").split() == ["2"]
        succeeds(machine, state="enabled")
        assert json.loads(machine.read(CONFIG)) == {"live-restore": True, "userns-remap": "default"}
        small.forget_states(machine)
        succeeds(machine, state="disabled")
        assert machine.read("/run/shims").split() == ["2", "0", "0"]
        machine.sh("rm /run/shims")


CALLS = """
trap 'exit 0' TERM
while :; do docker ps; systemctl start docker.socket; docker -H unix:///run/docker.sock ps; systemctl start docker
done >/dev/null 2>&1
"""


@fault("clients keep calling the engine, and its socket is started again and again",
       f"neither starts it before its data is whole; {CARRIED_ON}")
def test_callers_of_the_socket_do_not_revive_the_engine(small_host):
    machine = small_host
    machine.write("/run/calls", CALLS)
    machine.sh("sh /run/calls >/dev/null 2>&1 & echo $! >/run/caller")
    try:
        result = machine.remap(state="enabled")
    finally:
        machine.sh("kill $(cat /run/caller)")
    assert not result.get("failed"), result["msg"]
    small.assert_whole(machine, machine.before, "remapped")
    small.assert_engine_ran_on_clean_states_only(machine)


@pytest.mark.parametrize("point", ["done:stop_containers", "done:stop_engine", "done:shift", "done:release"])
@fault("a package upgrade restarts the engine in the middle",
       f"it does not start before its data is whole, and what started too early is stopped again; {CARRIED_ON}")
def test_an_upgrade_of_the_engine_in_the_middle_does_no_harm(small_host, point):
    machine = small_host
    machine.remap_until_paused(point, {"state": "enabled"})
    # What the installation of the package does at its end.
    machine.sh("version=$(dpkg-query -Wf '${Version}' docker.io); "
               "DPKG_MAINTSCRIPT_PACKAGE=docker.io DPKG_MAINTSCRIPT_NAME=postinst "
               "/var/lib/dpkg/info/docker.io.postinst configure $version >/run/upgrade 2>&1; "
               "systemctl restart docker || true")
    result = machine.resume()
    assert not result.get("failed"), result["msg"]
    small.assert_whole(machine, machine.before, "remapped")
    small.assert_engine_ran_on_clean_states_only(machine)


@fault("a second run at the same time", "the second is refused, the first is carried to its end",
       ["another run is at work (process ", "wait for it to end"])
def test_a_second_run_at_the_same_time_is_refused(small_host, reads):
    machine = small_host
    machine.remap_until_paused("done:hold", {"state": "enabled"})
    second = machine.remap(state="disabled")
    assert second["failed"] and not second.get("changed"), second
    assert [word for word in reads if word not in second["msg"]] == [], second["msg"]
    assert not machine.resume().get("failed")
    small.assert_whole(machine, machine.before, "remapped")


# As process 1 a shell ignores what it has no trap for.
DEAF = "while :; do sleep 0.2; done"
HEALTHY_PLAIN = "read -r inside outside size </proc/self/uid_map; echo container root is $outside; [ $outside = 0 ]"


@fault("a container that ignores SIGTERM", f"it is killed after its own stop time; {CARRIED_ON}")
def test_a_container_that_ignores_the_signal_to_stop_is_killed_after_its_time(small_host):
    machine = small_host
    machine.docker("run", "-d", "--name", "deaf", "--stop-timeout", "2", "bulkhead/busybox", "sh", "-c", DEAF)
    result = succeeds(machine, inventory=machine.inventory(), state="enabled")
    assert 2 <= result["downtime"]["total"] < 20, result


@fault("a container that was healthy does not become so within `timeout`", TAKEN_BACK,
       ["containers do not come back healthy: not within 15 s",
        "container picky was healthy before and is unhealthy now: container root is 165536"])
def test_a_container_that_does_not_become_healthy_takes_all_back(small_host, reads):
    machine = small_host
    machine.docker("run", "-d", "--name", "picky", "--health-cmd", HEALTHY_PLAIN, "--health-interval", "1s",
                   "--health-retries", "1", "bulkhead/busybox", "sh", "-c", small.FOREVER)
    wait_healthy(machine, "picky")
    is_taken_back(machine, reads, machine.inventory(), timeout=15)
    wait_healthy(machine, "picky")


def wait_healthy(machine, container):
    wait_for(f"{container} being healthy", lambda: machine.docker(
        "inspect", "-f", "{{.State.Health.Status}}", container) == "healthy", 10)


FILL = "head -c 100m /dev/zero >{}/filler || true"


@fault("the disk of the state directory fills up in the middle", TAKEN_BACK, ["No space left on device"])
def test_a_state_directory_that_fills_up_takes_all_back(small_host, reads):
    machine = small_host
    machine.sh(f"mkdir -p {STATE}; mount -t tmpfs -o size=32m none {STATE}")
    try:
        with unit_with(machine, f"[Service]\nExecStopPost=/bin/sh -c '{FILL.format(STATE)}'\n"):
            is_taken_back(machine, reads)
    finally:
        machine.sh(f"umount {STATE}")


OPENS = f"systemd-run --collect -q sh -c 'exec 3>>{DATA_ROOT}/volumes/workdata/_data/held; exec sleep 1000000'; sleep 0.5"


@fault("a program of the host begins to write into a volume while all is being stopped", TAKEN_BACK,
       ["of the host (sleep 1000000)", "held open for writing", "stop it first"])
def test_a_program_that_begins_to_write_during_the_stop_takes_all_back(small_host, reads):
    machine = small_host
    with unit_with(machine, f'[Service]\nExecStopPost=/bin/sh -c "{OPENS}"\n'):
        try:
            is_taken_back(machine, reads)
        finally:
            machine.sh("pkill -x -f 'sleep 1000000'")
    machine.sh(f"rm {DATA_ROOT}/volumes/workdata/_data/held")
