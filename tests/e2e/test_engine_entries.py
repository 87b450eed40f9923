"""What the engine keeps for itself is, after a conversion in place, whose and how a fresh engine makes it:
anything more given to container root is CVE-2021-21284 again."""

from testbed import layout


def test_the_engines_own_entries_are_those_of_a_fresh_remapped_engine(small_host):
    machine = small_host
    machine.holds = None
    layout.of_fresh_host(machine.name, "plain")
    machine.sh("rm -f /etc/docker/daemon.json")
    result = machine.remap(state="enabled", subid_start=layout.START)
    assert not result.get("failed"), result["msg"]
    converted = layout.of_host(machine.name)
    fresh = layout.of_fresh_host(machine.name, "remapped")
    assert {path: (rows, fresh[path]) for path, rows in converted.items() if path in fresh and rows != fresh[path]} == {}
    assert converted.keys() ^ fresh.keys() == set()


def test_the_way_back_leaves_the_entries_of_a_fresh_plain_engine(small_host):
    machine = small_host
    machine.holds = None
    layout.of_fresh_host(machine.name, "plain")
    fresh = layout.of_host(machine.name)
    for state in ("enabled", "disabled"):
        result = machine.remap(state=state)
        assert not result.get("failed"), result["msg"]
    found = layout.of_host(machine.name)
    assert {path: (rows, fresh[path]) for path, rows in found.items() if path in fresh and rows != fresh[path]} == {}
    assert found.keys() ^ fresh.keys() == set()
