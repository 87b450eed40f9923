"""What a run asks of libvirt and qemu-img is cut off between and within its calls: the VM starts, with its data, and the
next run tidies up."""

from contextlib import contextmanager
from threading import Thread

import pytest

from faults import NEXT_RUN
from hypervisor import IMAGES
from seen import assert_tidy, mark, marked, module, paused, run, seen, snapshots
from test_crashes import INTERRUPTED, OFF, ON, ONE, REMOVE, REVERT, assert_taken_back, of, starts
from testbed import host
from testbed.fault import fault

# Kills who called it once so many calls that change something are done.
CUT = """#!/bin/sh
case " $* " in
*" snapshot-create "* | *" snapshot-delete "* | *" snapshot-revert "* | *" snapshot-current "*name=* | *" define "* | \\
*" start "* | *" destroy "* | *" restore "* | *" blockcommit "* | " create "* | " commit "* | " rebase "* | " snapshot "*) ;;
*) exec "/usr/bin/${0##*/}" "$@" ;;
esac
echo >>/run/calls
"/usr/bin/${0##*/}" "$@"
status=$?
[ "$(wc -l </run/calls)" != "$(cat /run/cut)" ] || kill -KILL $PPID
exit $status
"""
SLOW = """#!/bin/sh
case " $* " in *" blockcommit "*) set -- "$@" --bandwidth 1 ;; esac
exec /usr/bin/virsh "$@"
"""


@contextmanager
def instead_of(hypervisor, script, *programs):
    """The module runs `script` for these programs."""
    for program in programs:
        hypervisor.write(f"/usr/local/sbin/{program}", script, "0755")
    try:
        yield
    finally:
        hypervisor.run("rm", "-f", "/run/calls", *(f"/usr/local/sbin/{program}" for program in programs))


@of([change for change in OFF if change.id == "remove-in-the-middle"])
def test_a_run_that_is_killed_after_any_call(guests, hypervisor, change):
    kill_after_each_call(guests, hypervisor, change)


@pytest.mark.soak
@of(OFF + ON)
def test_every_run_that_is_killed_after_any_call(guests, hypervisor, change):
    kill_after_each_call(guests, hypervisor, change)


def kill_after_each_call(guests, hypervisor, change):
    calls = 0
    while True:
        calls += 1
        hypervisor.clean()
        guest = change.begin(guests)
        before = seen(guest)
        with instead_of(hypervisor, CUT, "virsh", "qemu-img"):
            hypervisor.write("/run/cut", str(calls))
            # A fault that never happens: the executable with faults is the one that may be killed.
            result = module(guest, fault="none@none", **change.options)
        if result is not None:
            assert not result.get("failed"), result
            break
        assert starts(guest), calls
        result = run(guest, state="absent", name="never taken")
        assert INTERRUPTED in "".join(result["warnings"]), (calls, result)
        if INTERRUPTED + "undone" in result["warnings"]:
            assert_taken_back(guest, change, before, result)
        else:
            assert change.options.get("name") not in snapshots(guest) and marked(guest) == before["mark"], calls
        assert_tidy(guest)
    assert calls > 1


@contextmanager
def meanwhile(hypervisor, condition, action):
    """In the host, a shell does `action` as soon as `condition` is true."""
    loop = f"for try in $(seq 1000); do if {condition}; then {action}; exit; fi; sleep 0.02; done; exit 1"
    done = []
    thread = Thread(target=lambda: done.append(hypervisor.run("sh", "-c", loop, check=False)))
    thread.start()
    yield
    thread.join()
    assert done[0].returncode == 0, done


KILL_LIBVIRTD = "pkill -KILL -x libvirtd"


@fault("libvirtd dies while memory is saved", NEXT_RUN)
def test_libvirtd_dies_while_memory_is_saved(guests, hypervisor):
    guest = guests()
    mark(guest, 0)
    before = seen(guest)
    with meanwhile(hypervisor, f"test -s {IMAGES}/guest.one.memory", KILL_LIBVIRTD):
        result = module(guest, memory="true", timeout=60, **ONE)
    assert result.get("failed"), result
    run(guest, state="absent", name="never taken")
    assert seen(guest) == before
    assert_tidy(guest)
    run(guest, memory="true", **ONE)


@fault("libvirtd dies, or the module is killed, while a running VM's overlay is merged", NEXT_RUN)
@pytest.mark.parametrize("action", [
    KILL_LIBVIRTD, pytest.param("pkill -KILL -x vm_snapshot.fau", marks=pytest.mark.soak)], ids=["libvirtd", "module"])
def test_a_merge_of_a_running_vm_is_cut_off(guests, hypervisor, action):
    guest = guests()
    run(guest, **ONE)
    mark(guest, 1)
    guest.run("dd if=/dev/urandom of=/vda/much bs=1M count=20; sync", 60)
    sums = guest.run("md5sum </vda/much")
    at_work = f"virsh blockjob {guest.uuid} vda --raw | grep -q Commit"
    with instead_of(hypervisor, SLOW, "virsh"), meanwhile(hypervisor, at_work, f"sleep 1; {action}"):
        result = module(guest, fault="none@none", timeout=60, **REMOVE)
    assert result is None or result.get("failed"), result
    assert guest.state == "running" and marked(guest) == 1
    run(guest, **REMOVE)
    assert len(guest.chain()) == 1 and guest.run("md5sum </vda/much") == sums
    assert marked(guest) == 1
    assert_tidy(guest)


@fault("the power of the hypervisor fails", NEXT_RUN)
@pytest.mark.parametrize("point, options, outcome", [
    ("done:define", REVERT, "undone"),
    pytest.param("applied:take", {"name": "two"}, "undone", marks=pytest.mark.soak),
    pytest.param("committed", REMOVE, "finished", marks=pytest.mark.soak),
], ids=lambda value: value if isinstance(value, str) else "")
def test_the_power_fails(guests, hypervisor, point, options, outcome):
    guest = guests()
    mark(guest, 0)
    run(guest, **ONE)
    mark(guest, 1)
    with paused(guest, point, **options):
        host.crash(hypervisor.name)
    assert starts(guest)
    result = run(guest, state="absent", name="never taken")
    assert INTERRUPTED + outcome in result["warnings"], result
    if guest.state == "shut off":
        guest.virsh("start")
    assert marked(guest) == 1
    assert snapshots(guest) == ({"one"} if outcome == "undone" else set())
    assert_tidy(guest)


@fault("the module is killed in a revert, and somebody starts the VM",
       "the next run stops the VM and takes the revert back; what it wrote meanwhile is kept")
@pytest.mark.parametrize("point", ["done:define", *(pytest.param(f"done:{step}", marks=pytest.mark.soak) for step in (
    "put_aside", "stop", "make_current", "resume"))])
def test_somebody_starts_the_vm_before_the_next_run(guests, point):
    guest = guests()
    mark(guest, 0)
    run(guest, **ONE)
    mark(guest, 1)
    before = seen(guest)
    assert module(guest, fault=f"kill@{point}", **REVERT) is None
    if guest.state == "shut off":
        guest.start()
    run(guest, state="absent", name="never taken")
    assert {**seen(guest), "left": [], "files": 0} == {**before, "files": 0}
    assert_tidy(guest)
