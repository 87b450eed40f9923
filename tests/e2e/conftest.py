"""The test hosts: one for each Debian, made anew only where a test needs it or left it broken."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

pytest.register_assert_rewrite("machine", "playbooks", "small")

import small  # noqa: E402
from hosts import DEBIAN_12, DEBIAN_13, EVERY, HOSTS  # noqa: E402
from machine import EXECUTABLE, FAULTS, Machine  # noqa: E402
from testbed import host  # noqa: E402
from testbed.turns import take_samples, take_turns  # noqa: E402

MACHINES = {}


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: takes hours; only with -m soak")
    config.addinivalue_line("markers", "fault(name, happens, reads): provokes a fault; see testbed/fault.py")
    if not config.option.markexpr:
        config.option.markexpr = "not soak"


# These take minutes on each host: the older engine's are for the long runs.
LONG = ("test_bind_mounts", "test_big_host", "test_copy", "test_idmap", "test_preflight")
# Of these each Debian has its part of the cases: two thirds the one that has none of the above.
IN_TURN = ("test_comes_back", "test_controller_lost", "test_crashes", "test_faults", "test_host_mode", "test_info",
           "test_refusals", "test_users")
# A case for every point of a change.
KILLS = ("test_a_killed_change_is_finished_or_undone", "test_a_killed_change_is_finished_or_undone_by_hand",
         "test_a_killed_change_between_accounts_is_finished_or_undone")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in LONG and item.name.endswith("[debian12]"):
            item.add_marker(pytest.mark.soak)
    take_samples(items, KILLS)
    take_turns(items, DEBIAN_13.id, DEBIAN_12.id, IN_TURN, every=3)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With pytest-xdist, `-n 3` runs the Debians side by side: one worker to a host."""
    from xdist.scheduler import LoadScopeScheduling

    class ByHost(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return next(host.id for host in EVERY if host.id in nodeid)

    return ByHost(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    machine = item.funcargs.get("machine")
    if machine and report.failed:
        machine.holds = None
    return report


def pytest_sessionfinish():
    for name in MACHINES:
        host.down(name)


@pytest.fixture(scope="session", params=HOSTS)
def machine(request):
    """The host, whatever it holds."""
    for executable in (EXECUTABLE, FAULTS):
        assert executable.exists(), f"there is no {executable}: make build faults"
    name, image = request.param
    return MACHINES.setdefault(name, Machine(name, image))


@pytest.fixture
def reads(request):
    """What the user reads of the fault that the test provokes."""
    return request.node.get_closest_marker("fault").kwargs["reads"]


@pytest.fixture
def small_workload(machine):
    """The small workload, plain or remapped."""
    if machine.holds != "small" or machine.inventory() != machine.before:
        machine.before = small.set_up(machine)
        machine.holds = "small"
    return machine


@pytest.fixture
def small_host(small_workload):
    """The small workload on a plain engine, as it was after it was set up."""
    small.bring(small_workload, "plain")
    small.forget_states(small_workload)
    return small_workload


@pytest.fixture
def remapped_host(small_host):
    """The small workload on a remapped engine."""
    small.bring(small_host, "remapped")
    small.forget_states(small_host)
    return small_host
