"""A change outlives its controller, and the next run hands in the result that nobody was there to take."""

import json

import small
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


def test_a_change_that_loses_its_ssh_connection_is_carried_to_its_end(small_host):
    machine = small_host
    process = start(machine, "userns_enable")
    wait_for("the change", lambda: machine.exists(f"{STATE}/in-progress/journal"), 60)
    machine.sh(CUT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0, output
    wait_for("the change ending", lambda: not machine.exists(f"{STATE}/in-progress"), 60)

    result = machine.remap(state="enabled")

    assert not result["changed"], result
    previous = result["previous_result"]
    assert previous["changed"] and previous["state"] == "enabled", previous
    small.assert_whole(machine, machine.before, "remapped")
    assert "previous_result" not in machine.remap(state="enabled")


def test_a_change_whose_reader_is_gone_is_carried_to_its_end(small_host):
    machine = small_host
    machine.write("/run/arguments.json", json.dumps({"state": "enabled"}))
    engine.docker("exec", "-d", host.container(machine.name), "sh", "-c", "userns_remap </run/arguments.json | true")
    wait_for("the change", lambda: machine.exists(f"{STATE}/in-progress/journal"), 60)
    wait_for("the change ending", lambda: not machine.exists(f"{STATE}/in-progress"), 60)
    wait_for("the result", lambda: machine.exists(f"{STATE}/userns_remap.result.json"), 10)
    assert machine.remap(state="enabled")["previous_result"]["changed"]
    small.assert_whole(machine, machine.before, "remapped")


def test_an_interrupted_change_is_taken_back(small_host):
    machine = small_host
    machine.write("/run/arguments.json", json.dumps({"state": "enabled"}))
    engine.docker("exec", "-d", host.container(machine.name), "sh", "-c",
                  "userns_remap /run/arguments.json >/run/said; touch /run/ended")
    # The engine is held for about a second: a look from outside now and then could miss it.
    machine.sh(f"timeout 60 sh -c 'until [ -e {STATE}/in-progress/hold ]; do sleep 0.02; done'; "
               "rm -f /run/ended; pkill -TERM -x userns_remap")
    wait_for("the change ending", lambda: machine.exists("/run/ended"), 60)
    result = json.loads(machine.read("/run/said"))
    assert result.get("failed") and "taken back" in result["msg"], result
    small.assert_whole(machine, machine.before, "plain")
    small.assert_engine_ran_on_clean_states_only(machine)
