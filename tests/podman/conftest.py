"""The hosts with services of a shared account, one for each Debian; made anew where a test left one changed."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

pytest.register_assert_rewrite("services", "extra")

from services import DEBIAN_13, EVERY, Services, as_it_is  # noqa: E402
from testbed import host  # noqa: E402
from testbed.turns import take_samples, take_turns  # noqa: E402

MACHINES = {}
# Of these each Debian has its part of the cases in the short run.
IN_TURN = ("test_crashes", "test_dedicated_user", "test_naive", "test_refusals", "test_rescue", "test_services",
           "test_situations", "test_usage")
CUT = "test_a_host_that_crashes_in_a_move_comes_back_with_the_service_as_it_was"


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: takes hours; only with -m soak")
    if not config.option.markexpr:
        config.option.markexpr = "not soak"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    take_samples(items, ["test_a_killed_run_is_undone_or_finished_by_the_next_for_anybody"])
    # Podman 5.4 needs more than one attempt for five services at once after a power cut.
    for item in items:
        if item.originalname == CUT and DEBIAN_13.id in item.name:
            item.add_marker(pytest.mark.soak)
    take_turns(items, *(host.id for host in EVERY), IN_TURN)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With pytest-xdist, `-n 2` runs the Debians side by side: one worker to a host."""
    from xdist.scheduler import LoadScopeScheduling

    class ByHost(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return next((host.id for host in EVERY if host.id in nodeid), "none")

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


@pytest.fixture(scope="session", params=EVERY)
def machine(request):
    """The host, whatever it holds."""
    name, image = request.param
    return MACHINES.setdefault(name, Services(name, image))


@pytest.fixture
def shared(machine):
    """All services under the shared account, as they were set up. Who changes them leaves `holds` None."""
    if machine.holds != "shared":
        machine.set_up()
        machine.holds = "shared"
    return machine


@pytest.fixture
def fresh(shared):
    """As `shared`, for a test that changes it."""
    shared.holds = None
    return shared


@pytest.fixture
def before(shared, request):
    """What a move of the module's `SERVICE` may not leave changed where it does not come to its end."""
    return as_it_is(shared, request.module.SERVICE)
