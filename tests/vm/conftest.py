"""The hypervisors, one for each libvirt, and guests on them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

pytest.register_assert_rewrite("guest", "hypervisor", "seen", "snapshots")

from guest import Guest  # noqa: E402
from hypervisor import EVERY, Hypervisor  # noqa: E402
from testbed.turns import take_turns  # noqa: E402
from this_machine import THIS_MACHINE, ThisMachine  # noqa: E402

HYPERVISORS = {}


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: what the short run covers in part; only with -m soak")
    config.addinivalue_line("markers", "fault(name, happens, reads): provokes a fault; see testbed/fault.py")
    if not config.option.markexpr:
        config.option.markexpr = "not soak"


# Many cases each, of which libvirt 9 has every fifth in the short run, for it has the long tests of a role too, and
# libvirt 11 the others.
IN_TURN = ("test_crashes", "test_cuts", "test_faults", "test_migration", "test_remove", "test_revert", "test_snapshot",
           "test_testbed")
# Those that need no systemd; the short run has one of their cases.
ON_THIS_MACHINE = ("test_remove", "test_revert", "test_snapshot", "test_testbed")
SHORT_ON_THIS_MACHINE = "test_external_running_boots_from_the_disks_of_then"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    on_this_machine(config, items)
    take_turns(items, *(host.id for host in EVERY), IN_TURN, every=5)


def on_this_machine(config, items):
    there = [item for item in items if THIS_MACHINE.id in item.name]
    config.hook.pytest_deselected(items=[item for item in there if item.path.stem not in ON_THIS_MACHINE])
    items[:] = [item for item in items if item not in there or item.path.stem in ON_THIS_MACHINE]
    for item in there:
        if item.originalname != SHORT_ON_THIS_MACHINE:
            item.add_marker(pytest.mark.soak)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With pytest-xdist, `-n 2` runs the hypervisors side by side: one worker to a host."""
    from xdist.scheduler import LoadScopeScheduling

    class ByHost(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return next((host.id for host in (*EVERY, THIS_MACHINE) if host.id in nodeid), "none")

    return ByHost(config, log)


def pytest_sessionfinish():
    for hypervisor in HYPERVISORS.values():
        hypervisor.down()


@pytest.fixture(scope="session", params=[*EVERY, THIS_MACHINE])
def hypervisor(request):
    """The hypervisor host: every test runs on libvirt 9, on libvirt 11 and, if it can, on this machine, unless it
    names one of them with `@pytest.mark.parametrize("hypervisor", [LIBVIRT_11], indirect=True)`. See `Hypervisor` for
    what it can do."""
    name, image = request.param
    if name not in HYPERVISORS:
        kind = ThisMachine if request.param in THIS_MACHINE.values else Hypervisor
        HYPERVISORS[name] = kind(name, image)
    return HYPERVISORS[name]


@pytest.fixture
def reads(request):
    """What the user reads of the fault that the test provokes."""
    return request.node.get_closest_marker("fault").kwargs["reads"]


@pytest.fixture
def guests(hypervisor):
    """Makes guests: `guests(name="guest", started=True, disks=["qcow2", "raw"], uefi=None, agent=False, …)` with the
    further fields of `Guest`. A started one answers when it is returned. After the test every guest is removed with
    all it has."""
    def make(name="guest", started=True, **properties):
        guest = Guest(hypervisor, name, **properties)
        guest.define()
        if started:
            guest.start()
        return guest

    hypervisor.clean()
    yield make
    hypervisor.clean()
