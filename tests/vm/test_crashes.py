"""Whatever instant a run dies at, the VM starts, with its data, and the next run finishes the change or takes it back."""

from dataclasses import dataclass, field

import pytest

from faults import NEXT_RUN
from seen import assert_tidy, mark, marked, module, run, seen, snapshots
from testbed.fault import fault

INTERRUPTED = "an earlier run was interrupted; its change has been "


@dataclass(frozen=True)
class Change:
    """A change that is cut off. Before it, the guest's disk is marked 0, then each of `snapshots` is taken, with the
    disk marked 1, 2, 3 behind it; then each of `runs` is done."""

    id: str
    options: dict
    snapshots: list = ()
    runs: list = ()
    started: bool = False
    guest: dict = field(default_factory=dict)
    holds: int | None = None  # the mark once it is done, where that is not the one before it

    def begin(self, guests):
        guest = guests(started=self.started, **self.guest)
        mark(guest, 0)
        for number, options in enumerate(self.snapshots, 1):
            run(guest, **options)
            mark(guest, number)
        for options in self.runs:
            run(guest, **options)
        return guest


ONE, TWO, INTERNAL = {"name": "one"}, {"name": "two"}, {"name": "one", "kind": "internal"}
REVERT, REMOVE = {"name": "one", "state": "reverted"}, {"name": "one", "state": "absent"}
MEMORY = {"name": "one", "memory": "true"}
UEFI, TWO_DISKS = {"uefi": "raw"}, {"disks": ["qcow2", "raw"]}
OFF = [
    Change("take", ONE, guest=TWO_DISKS),
    Change("take-of-uefi", TWO, [ONE], guest=UEFI),
    Change("take-internal", INTERNAL),
    Change("revert-of-uefi", REVERT, [ONE, TWO], guest=UEFI, holds=0),
    Change("revert-internal", REVERT, [INTERNAL], holds=0),
    Change("remove-the-last", REMOVE, [ONE], guest=TWO_DISKS),
    Change("remove-in-the-middle", {"name": "two", "state": "absent"}, [ONE, TWO, {"name": "three"}]),
    Change("remove-internal", REMOVE, [INTERNAL]),
    Change("remove-what-a-revert-left", {"state": "absent", "abandoned": "remove"}, [ONE], [REVERT]),
]
SAMPLE = ("take", "revert-of-uefi", "revert-internal", "remove-in-the-middle")
ON = [
    Change("take", ONE, started=True),
    Change("take-internal", INTERNAL, started=True),
    Change("take-with-memory", MEMORY, started=True),
    Change("revert", REVERT, [ONE], started=True, holds=0),
    Change("revert-internal", REVERT, [INTERNAL], started=True, holds=0),
    Change("revert-with-memory", REVERT, [MEMORY], started=True, holds=0),
    Change("remove-the-last", REMOVE, [ONE], started=True),
    Change("remove-in-the-middle", {"name": "two", "state": "absent"}, [ONE, TWO, {"name": "three"}], started=True),
]


def of(changes):
    return pytest.mark.parametrize("change", changes, ids=lambda change: f"{change.id}{'-running' * change.started}")


@fault("the module is killed, at any step", NEXT_RUN, [INTERRUPTED + "undone", INTERRUPTED + "finished"])
@of([change for change in OFF if change.id in SAMPLE])
def test_a_killed_change_is_taken_back_or_finished(guests, change):
    guest = change.begin(guests)
    names = steps(guest, change)
    kill_and_run_again(guest, change, [*(f"applied:{step}" for step in names), "committed"])


@pytest.mark.soak
@of(OFF + ON)
def test_a_change_killed_at_any_point_is_taken_back_or_finished(guests, change):
    guest = change.begin(guests)
    names = steps(guest, change)
    kill_and_run_again(guest, change, [
        "begun", *(f"{when}:{step}" for step in names for when in ("started", "applied", "done")),
        *(f"undone:{step}" for step in reversed(names)), "committed"])


def steps(guest, change):
    """The steps of the change, as a dry run tells them."""
    found = run(guest, check_mode=True, **change.options)["steps"]
    assert found
    return found


def kill_and_run_again(guest, change, points):
    """Kill the change at each of the points, of which the last one is behind the commit."""
    before = seen(guest)
    for point in points:
        kill(guest, change, point)
        assert starts(guest), point
        # Any run will do.
        result = run(guest, state="absent", name="never taken")
        outcome = "finished" if point == "committed" else "undone"
        assert [INTERRUPTED + outcome] == [text for text in result["warnings"] if INTERRUPTED in text], (point, result)
        if outcome == "undone":
            assert_taken_back(guest, change, before, result)
    held = before["mark"] if change.holds is None else change.holds
    assert marked(guest) == held
    if change.options.get("state") == "absent":
        assert change.options.get("name") not in snapshots(guest)
    else:
        assert change.options["name"] in snapshots(guest)
    assert_tidy(guest)
    assert_later_snapshots_work(guest)


def assert_taken_back(guest, change, before, result):
    after = seen(guest)
    if change.id == "revert-internal":
        # libvirt has done it, or it has not.
        assert 'revert to internal snapshot "one" cannot be taken back' in "".join(result["warnings"])
        before["mark"], before["current"] = after["mark"], after["current"]
        assert after["mark"] in (0, 1)
    if change.id.startswith("revert") and change.started:
        # What it has written on its new disks is kept.
        assert set(before["left"]) <= set(after["left"])
        before["left"], before["files"] = after["left"], after["files"]
    assert after == before


def kill(guest, change, point):
    """Kill the module at a point of its change, or of the undoing of one that was killed at its end."""
    if point.startswith("undone:"):
        last = steps(guest, change)[-1]
        assert module(guest, fault=f"kill@done:{last}", **change.options) is None, point
        assert module(guest, fault=f"kill@{point}", state="absent", name="never taken") is None, point
    else:
        assert module(guest, fault=f"kill@{point}", **change.options) is None, point


def starts(guest):
    """Whether it runs, or QEMU takes its files as they are."""
    if guest.state == "shut off":
        guest.virsh("start", "--paused")
        guest.destroy()
        return True
    return guest.state == "running"


def assert_later_snapshots_work(guest):
    run(guest, name="later")
    run(guest, name="later", state="absent")
