"""A virtual machine: control groups of version 2 with every controller, and units just as Podman 4.3 writes them."""

import json

import pytest

from services import EXECUTABLE, PREFIX, SHARED, Services
from test_move import assert_same_inside
from testbed import rootless, virtual
from users import BUILT, REPOSITORY, play

# Its disk is made in minutes, and every step in it takes seconds.
pytestmark = pytest.mark.soak
MIB = 1 << 20
# Between one look and the next a service allocates and frees.
TOLERANCE = 4 * MIB
HELD = 64 * MIB
WORK = f"""
import time
held = b'x' * {HELD}
while time.process_time() < 3: pass
print('ready', flush=True)
time.sleep(3600)
"""
SERVICES = ("localapp", "shopdb")


@pytest.fixture(scope="module")
def vm():
    """The machine, with services under the shared account, and accounts for them."""
    name = f"{PREFIX}-vm"
    with virtual.up(name):
        machine = Services(name, virtual.IMAGE)
        machine.put(EXECUTABLE, "/usr/local/bin/podman_service")
        machine.put(BUILT / "dedicated_user_info", "/usr/local/bin/dedicated_user_info")
        for service in SERVICES:
            machine.add_account(service)
        wait_healthy(machine)
        yield machine


def wait_healthy(machine, **accounts):
    rootless.wait_healthy(machine.name, accounts, 300, SERVICES)


def told(machine):
    """What dedicated_user_info tells of each account."""
    accounts = json.loads(machine.run("dedicated_user_info", input="{}").stdout)["accounts"]
    return {account["name"]: account["usage"] for account in accounts}


def counted(machine, *units):
    """Bytes and seconds of all these units, as systemd says."""
    shown = machine.said("systemctl", "show", "-p", "MemoryCurrent", "-p", "CPUUsageNSec", *units)
    values = [line.split("=") for line in shown.splitlines() if line]
    memory, cpu = (sum(int(value) for name, value in values if name == wanted)
                   for wanted in ("MemoryCurrent", "CPUUsageNSec"))
    return memory, cpu / 1e9


def slice_of(machine, account):
    return f"user-{machine.said('id', '-u', account)}.slice"


def test_memory_and_processor_of_each_account_are_what_systemd_says(vm):
    # One of the host's units runs as the shared account.
    units = {SHARED: [slice_of(vm, SHARED), "sysapp.service"]} | {name: [slice_of(vm, name)] for name in SERVICES}
    before = {name: counted(vm, *units[name]) for name in units}
    usage = told(vm)
    after = {name: counted(vm, *units[name]) for name in units}
    for name in units:
        memory, cpu = usage[name]["memory"], usage[name]["cpu"]
        low, high = sorted((before[name][0], after[name][0]))
        assert low - TOLERANCE <= memory <= high + TOLERANCE, name
        # Told in whole microseconds.
        assert before[name][1] - 1e-6 <= cpu <= after[name][1], name
    # A database, two web servers, and what Podman has for each.
    assert usage[SHARED]["memory"] > 100 * MIB > 20 * MIB > usage["localapp"]["memory"] > 0
    # Peaks of two groups do not add up.
    assert usage[SHARED]["memory_peak"] is None
    assert usage["localapp"]["memory_peak"] >= usage["localapp"]["memory"]


def test_what_an_account_holds_and_works_shows_and_is_no_others(vm):
    """64 MiB and three seconds of a processor."""
    before = told(vm)
    vm.as_("shopdb", "systemd-run", "--user", "-q", "--unit=holds", "python3", "-c", WORK)
    vm.sh("until journalctl -q _UID=$(id -u shopdb) -o cat | grep -qx ready; do sleep 1; done")
    with_it = told(vm)
    vm.as_("shopdb", "systemctl", "--user", "stop", "holds")
    after = told(vm)
    grown = with_it["shopdb"]["memory"] - before["shopdb"]["memory"]
    # Python itself is some eight MiB.
    assert HELD <= grown <= HELD + 16 * MIB
    assert 3 <= with_it["shopdb"]["cpu"] - before["shopdb"]["cpu"] <= 15
    assert abs(with_it["localapp"]["memory"] - before["localapp"]["memory"]) <= TOLERANCE
    assert with_it["shopdb"]["memory"] - after["shopdb"]["memory"] >= HELD
    assert after["shopdb"]["memory_peak"] >= with_it["shopdb"]["memory"]


def test_the_playbook_shows_memory_and_processor(vm):
    shown = play(vm, playbook=REPOSITORY / "playbooks" / "account_usage.yml")
    rows = [line.strip(' ",').split() for line in shown.splitlines() if f'"{vm.name}' in line]
    memory, unit, seconds = next(row[10:13] for row in rows if row[1] == SHARED)
    assert unit == "MB" and abs(float(memory) - told(vm)[SHARED]["memory"] / MIB) < 30, shown
    assert float(seconds) > 1


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_whose_unit_podman_wrote_moves_and_returns(vm, service):
    unit = f"container-{service}.service"
    inside = {account: f"/var/lib/containers/{account}/.config/systemd/user/{unit}" for account in (SHARED, service)}
    written = vm.read(inside[SHARED])
    assert "Type=notify" in written and "--sdnotify=conmon" in written
    vm.before = {service: vm.owned_inside(service)}
    for state, account in (("moved", service), ("returned", SHARED)):
        assert vm.move(service, state=state, timeout=600)["changed"]
        wait_healthy(vm, **{service: account})
        assert {name: service in vm.containers(name) for name in inside} == {name: name == account for name in inside}
        shown = vm.as_(account, "systemctl", "--user", "show", "-p", "Type", "-p", "ActiveState", unit).stdout
        assert set(shown.split()) == {"Type=notify", "ActiveState=active"}
        assert_same_inside(vm, service, account)
        if service == "shopdb":
            assert vm.rows(account) == rootless.ROWS
        started = vm.started(account)
        again = vm.move(service, state=state, timeout=600)
        assert not again["changed"] and again["steps"] == [], again
        assert vm.started(account) == started
    assert vm.read(inside[SHARED]) == written
