"""A change outlives its controller, and the next run hands in the result that nobody was there to take."""

import json

import small
from faults import CARRIED_ON, TAKEN_BACK, fault
from machine import STATE
from playbooks import start
from testbed import engine, host
from testbed.base import wait_for

# The processes from the module up to the server of its SSH connection.
CUT = """
pid=$(pgrep -f '^[^ ]*/userns_remap-[0-9a-f]{64}$')
up=$pid
until case $(cat /proc/$up/comm) in sshd*) true;; *) false;; esac; do up=$(awk '/^PPid/ {print $2}' /proc/$up/status); done
kill -KILL $up
kill -HUP $pid
"""


def until(file):
    """Waits on the host itself: what is there for a second only, a look from outside now and then could miss."""
    return f"timeout 60 sh -c 'until [ -e {STATE}/in-progress/{file} ]; do sleep 0.02; done'"


@fault("the SSH connection is lost in the middle", f"{CARRIED_ON}, and the next run returns its result as `previous_result`")
def test_a_change_that_loses_its_ssh_connection_is_carried_to_its_end(small_host):
    machine = small_host
    process = start(machine, "userns_enable")
    machine.sh(f"{until('journal')}\n{CUT}")
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0, output
    wait_for("the change ending", lambda: not machine.exists(f"{STATE}/in-progress"), 60)

    result = machine.remap(state="enabled")

    assert not result["changed"], result
    previous = result["previous_result"]
    assert previous["changed"] and previous["state"] == "enabled", previous
    small.assert_whole(machine, machine.before, "remapped")
    assert "previous_result" not in machine.remap(state="enabled")


@fault("nobody is left to read the result", f"{CARRIED_ON}, and the next run returns its result as `previous_result`")
def test_a_change_whose_reader_is_gone_is_carried_to_its_end(small_host):
    machine = small_host
    machine.write("/run/arguments.json", json.dumps({"state": "enabled"}))
    engine.docker("exec", "-d", host.container(machine.name), "sh", "-c", "userns_remap </run/arguments.json | true")
    wait_for("the result", lambda: machine.exists(f"{STATE}/userns_remap.result.json"), 60)
    assert not machine.exists(f"{STATE}/in-progress")
    assert machine.remap(state="enabled")["previous_result"]["changed"]
    small.assert_whole(machine, machine.before, "remapped")


@fault("the run is interrupted (Ctrl-C, SIGTERM)", TAKEN_BACK, ["interrupted by a signal", "taken back"])
def test_an_interrupted_change_is_taken_back(small_host, reads):
    machine = small_host
    machine.write("/run/arguments.json", json.dumps({"state": "enabled"}))
    machine.sh(f"""
        userns_remap /run/arguments.json >/run/said & change=$!
        {until("hold")}
        kill -TERM $change
        wait $change || true
    """)
    result = json.loads(machine.read("/run/said"))
    assert result.get("failed") and [word for word in reads if word not in result["msg"]] == [], result
    small.assert_whole(machine, machine.before, "plain")
    small.assert_engine_ran_on_clean_states_only(machine)
