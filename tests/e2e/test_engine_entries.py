"""What the engine keeps for itself is, after a conversion in place, whose and how a fresh engine makes it:
anything more given to container root is CVE-2021-21284 again."""

import pytest

from hosts import every_engine
from testbed import layout

pytestmark = every_engine

RUNNING = ("running", "shareable", "child")


@pytest.fixture(scope="module")
def layouts(machine):
    """The data root of a fresh plain and a fresh remapped engine, and what conversion there and back makes
    of the plain one."""
    if not machine.holds:
        machine.set_up_busy()
    machine.holds = None
    found = {"fresh plain": fresh(machine, "plain")}
    machine.sh("rm -f /etc/docker/daemon.json")
    for state in ("enabled", "disabled"):
        # Each would take its whole time-out to stop.
        machine.docker("kill", *RUNNING)
        result = machine.remap(state=state, **({"subid_start": layout.START} if state == "enabled" else {}))
        assert not result.get("failed"), result["msg"]
        machine.docker("start", *RUNNING)
        found[state] = layout.of_host(machine.name)
    return found | {"fresh remapped": fresh(machine, "remapped")}


def fresh(machine, mode):
    layout.of_fresh_host(machine.name, mode)
    # The one is refused; the other's layer stays as the host's.
    machine.docker("volume", "rm", "optvol")
    machine.docker("rm", "-f", "hostns")
    # A stop takes away what builds have left, in a conversion as here.
    machine.docker("kill", *RUNNING)
    machine.sh("systemctl restart docker")
    machine.docker("start", *RUNNING)
    return layout.of_host(machine.name)


@pytest.mark.parametrize(("state", "peer"), [("enabled", "fresh remapped"), ("disabled", "fresh plain")])
def test_the_engines_own_entries_are_those_of_a_fresh_engine(layouts, state, peer):
    found, expected = layouts[state], layouts[peer]
    common = found.keys() & expected.keys()
    assert {path: (found[path], expected[path]) for path in sorted(common) if found[path] != expected[path]} == {}
    assert sorted(found.keys() ^ expected.keys()) == []
