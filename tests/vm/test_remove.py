"""What was written after a snapshot stays when the snapshot goes, and the others can still be reverted to."""

import json

import pytest

from hypervisor import IMAGES, LIBVIRT_11
from snapshots import check_images, held, images, names, refusal, remove, revert, snapshot, standing, take, thorough
from testbed.base import Failure

DISKS = ["raw", "qcow2"]
NOTES = ["zero", "one", "two", "three"]


def chain_of_three(guest):
    """Snapshots one, two and three; each file is from the time before the snapshot of its name."""
    for note in NOTES:
        if note != "zero":
            for target in ("vda", "vdb"):
                guest.write(f"/{target}/{note}", note)
                guest.write(f"/{target}/last", note)
            take(guest, note)
    for target in ("vda", "vdb"):
        guest.write(f"/{target}/now", "now")
        guest.write(f"/{target}/last", "now")


def has_all(guest):
    """The guest as it is now has every file."""
    for target in ("vda", "vdb"):
        for note in ("one", "two", "three", "now"):
            assert guest.read(f"/{target}/{note}") == note
        assert guest.read(f"/{target}/last") == "now"


def stands(guest, *staying):
    """Only these snapshots are there, each with the data of its time."""
    assert names(guest) == set(staying)
    for name in staying:
        for target in ("vda", "vdb"):
            assert held(guest, name, f"/{target}/last") == name
            assert not held(guest, name, f"/{target}/now")
    # A base and an overlay for each snapshot, of two disks.
    assert len(images(guest)) == 2 + 2 * len(staying)
    for target in ("vda", "vdb"):
        assert len(guest.chain(target)) == 1 + len(staying)


@pytest.mark.parametrize("running, first", [
    (False, "two"), (True, "one"), thorough(False, "one"), thorough(False, "three"), thorough(True, "two"),
    thorough(True, "three"),
], ids=lambda value: {False: "off", True: "running"}.get(value, value))
def test_snapshots_go_and_what_was_written_stays(guests, running, first):
    guest = guests(started=running, disks=DISKS, megabytes=16)
    chain_of_three(guest)
    staying = [name for name in ("one", "two", "three") if name != first]
    remove(guest, first)
    has_all(guest)
    stands(guest, *staying)
    second, last = staying
    if first == "two":
        second, last = last, second
    remove(guest, second)
    has_all(guest)
    stands(guest, last)
    revert(guest, last)
    for target in ("vda", "vdb"):
        assert guest.read(f"/{target}/last") == last
        assert not guest.exists(f"/{target}/now")
    if running:
        guest.destroy()
    check_images(guest)


def test_the_last_snapshot_leaves_the_disks_as_they_came(guests):
    guest = guests(disks=DISKS, megabytes=16)
    chain_of_three(guest)
    for name in ("two", "one", "three"):
        remove(guest, name)
    has_all(guest)
    assert list(guest.disk_files.values()) == guest.disk_paths
    assert guest.disk_formats == {"vda": "raw", "vdb": "qcow2"}
    stands(guest)
    guest.destroy()
    check_images(guest)
    has_all(guest)
    assert not snapshot(guest, name="one", state="absent")["changed"]


@pytest.mark.parametrize("running", [False, True], ids=["off", "running"])
def test_internal_snapshots_go(guests, running):
    guest = guests(started=running, megabytes=16)
    for name in ("one", "two"):
        guest.write("/vda/note", name)
        take(guest, name, kind="internal")
    guest.write("/vda/note", "now")
    remove(guest, "one")
    assert names(guest) == {"two"} and guest.read("/vda/note") == "now"
    revert(guest, "two")
    assert guest.read("/vda/note") == "two"
    remove(guest, "two")
    found = guest.hypervisor.said("qemu-img", "info", "-U", "--output=json", guest.disk_paths[0])
    assert not json.loads(found).get("snapshots")


def test_memory_and_nvram_go_with_the_snapshot(guests):
    guest = guests(uefi="raw", megabytes=16)
    before = images(guest)
    taken = take(guest, "one", memory="true")
    assert guest.hypervisor.exists(taken["snapshot"]["nvram"])
    assert any(file.endswith(".memory") for file in images(guest))
    remove(guest, "one")
    assert images(guest) == before
    assert not guest.hypervisor.exists(taken["snapshot"]["nvram"])


def test_check_mode_removes_nothing(guests):
    guest = guests(started=False)
    take(guest, "one")
    before = standing(guest)
    would = snapshot(guest, name="one", state="absent", check_mode=True)
    assert would["changed"] and would["removed"] == ["one"] and would["diff"][0]["after"] == ""
    assert standing(guest) == before
    assert remove(guest, "one")["steps"] == would["steps"]
    for check in (True, False):
        assert not snapshot(guest, name="one", state="absent", check_mode=check)["changed"]


# After a revert

def test_a_branch_keeps_what_others_need(guests):
    guest = guests(started=False)
    for name in ("one", "two"):
        guest.write("/vda/note", name)
        take(guest, name)
    guest.write("/vda/note", "left behind")
    left = guest.disk_files["vda"]
    revert(guest, "one")
    guest.write("/vda/note", "now")
    # The other branch stands on the same file.
    remove(guest, "one")
    assert guest.read("/vda/note") == "now"
    assert held(guest, "two", "/vda/note") == "two"
    assert guest.read_image(left, "qcow2", "note") == "left behind"
    revert(guest, "two")
    assert guest.read("/vda/note") == "two"
    remove(guest, "two", abandoned="remove")
    assert guest.read("/vda/note") == "two"
    assert list(guest.disk_files.values()) == guest.disk_paths
    assert len(images(guest)) == 1
    check_images(guest)


def test_a_snapshot_of_a_branch_that_was_left(guests):
    guest = guests(started=False)
    for name in ("one", "two"):
        guest.write("/vda/note", name)
        take(guest, name)
    guest.write("/vda/note", "left behind")
    left = guest.disk_files["vda"]
    revert(guest, "one")
    removed = remove(guest, "two")
    assert names(guest) == {"one"} and guest.read("/vda/note") == "one"
    assert left in removed["abandoned"]
    assert guest.read_image(left, "qcow2", "note") == "left behind"
    snapshot(guest, state="absent", abandoned="remove")
    assert len(images(guest)) == 2
    revert(guest, "one")
    assert guest.read("/vda/note") == "one"


# Where libvirt fails, or others were at work

def test_an_external_snapshot_above_a_reverted_internal_one(guests):
    guest = guests(started=False)
    guest.write("/vda/note", "internal")
    take(guest, "internal", kind="internal")
    guest.write("/vda/note", "external")
    take(guest, "external", kind="external")
    guest.write("/vda/note", "now")
    assert "remove the external snapshots" in refusal(guest, name="internal", state="reverted")
    guest.hypervisor.run("virsh", "snapshot-revert", "--domain", guest.uuid, "--snapshotname", "internal",
                         "--force", check=False)
    assert guest.read("/vda/note") == "internal"
    if guest.hypervisor.libvirt < (11, 0):
        # libvirt itself cannot remove it any more.
        with pytest.raises(Failure, match="could not find base disk source"):
            guest.virsh("snapshot-delete", "--snapshotname", "external")
    remove(guest, "external")
    assert names(guest) == {"internal"}
    assert guest.read("/vda/note") == "internal"
    revert(guest, "internal")
    assert guest.read("/vda/note") == "internal"
    remove(guest, "internal")
    assert len(guest.chain()) == 1
    check_images(guest)


@pytest.mark.parametrize("running", [False, True], ids=["off", "running"])
def test_a_snapshot_made_by_hand(guests, running):
    guest = guests(started=running, megabytes=16)
    guest.write("/vda/before", "before")
    guest.virsh("snapshot-create-as", "--name", "by hand", "--disk-only", "--atomic")
    guest.write("/vda/after", "after")
    remove(guest, "by hand")
    assert (guest.read("/vda/before"), guest.read("/vda/after")) == ("before", "after")
    assert list(guest.disk_files.values()) == guest.disk_paths
    assert len(images(guest)) == 1


def test_after_one_was_removed_by_hand(guests):
    guest = guests(megabytes=16)
    for name in ("one", "two", "three"):
        guest.write("/vda/note", name)
        take(guest, name)
    guest.write("/vda/note", "now")
    guest.virsh("snapshot-delete", "--snapshotname", "two")
    assert guest.read("/vda/note") == "now"
    assert held(guest, "three", "/vda/note") == "three"
    assert held(guest, "one", "/vda/note") == "one"
    # What the module remembers of it goes too.
    snapshot(guest, name="two", state="absent")
    assert not snapshot(guest, name="two", state="absent")["changed"]
    for name in ("three", "one"):
        revert(guest, name)
        assert guest.read("/vda/note") == name
    remove(guest, "three", abandoned="remove")
    remove(guest, "one", abandoned="remove")
    assert guest.read("/vda/note") == "one"
    assert len(images(guest)) == 1


@pytest.mark.parametrize("hypervisor", [LIBVIRT_11], indirect=True)
def test_after_libvirts_own_revert(guests):
    guest = guests(started=False)
    for name in ("one", "two"):
        guest.write("/vda/note", name)
        take(guest, name)
    guest.virsh("snapshot-revert", "--snapshotname", "one")
    guest.write("/vda/note", "now")
    for name in ("two", "one"):
        remove(guest, name, abandoned="remove")
        assert guest.read("/vda/note") == "now"
    assert names(guest) == set()
    check_images(guest)


# Retention

def test_only_the_newest_are_kept(guests):
    guest = guests(started=False)
    guest.virsh("snapshot-create-as", "--name", "by hand", "--disk-only", "--atomic")
    for name in ("one", "two", "three"):
        guest.write(f"/vda/{name}", name)
        take(guest, name)
        # Ages are whole seconds.
        guest.hypervisor.run("sleep", "1")
    would = snapshot(guest, name="four", keep=2, check_mode=True)
    assert would["removed"] == ["one", "two"] and names(guest) == {"by hand", "one", "two", "three"}
    assert take(guest, "four", keep=2)["removed"] == ["one", "two"]
    assert names(guest) == {"by hand", "three", "four"}
    assert [guest.read(f"/vda/{name}") for name in ("one", "two", "three")] == ["one", "two", "three"]
    assert held(guest, "three", "/vda/three") == "three" and not held(guest, "by hand", "/vda/one")
    assert not snapshot(guest, name="four", keep=2)["changed"]
    assert snapshot(guest, state="absent", older_than="1h")["removed"] == []
    guest.hypervisor.run("sleep", "2")
    assert snapshot(guest, state="absent", older_than="1s")["removed"] == ["three", "four"]
    assert names(guest) == {"by hand"}
    assert not snapshot(guest, state="absent", keep=0)["changed"]
    assert guest.read("/vda/three") == "three"


def test_a_dated_snapshot_every_time(guests):
    guest = guests(started=False)
    first = snapshot(guest)["name"]
    assert first.startswith("bulkhead-20")
    guest.hypervisor.run("sleep", "1")
    second = snapshot(guest, keep=1)
    assert second["name"] != first and second["removed"] == [first]
    assert names(guest) == {second["name"]}


# What is not this guest's alone

def overlay_on(hypervisor, base, file):
    hypervisor.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, file)


def digest(hypervisor, file):
    return hypervisor.said("sha256sum", file)


def test_nothing_is_merged_into_what_another_guest_stands_on(guests):
    guest = guests(started=False)
    guest.write("/vda/note", "one")
    take(guest, "one")
    guest.write("/vda/note", "now")
    base = guest.disk_paths[0]
    hypervisor = guest.hypervisor
    before = digest(hypervisor, base)
    overlay_on(hypervisor, base, f"{IMAGES}/clone.qcow2")
    xml = guest.xml().replace(guest.uuid, "5ee7c6f0-53a3-4b1e-8f5b-6ac8cf5f0b6e").replace(
        f"<name>{guest.name}<", "<name>clone<").replace(base, f"{IMAGES}/clone.qcow2")
    hypervisor.write("/run/clone.xml", xml)
    hypervisor.virsh("define", "/run/clone.xml")
    removed = remove(guest, "one")
    assert any('VM "clone" uses it too' in warning for warning in removed["warnings"])
    assert digest(hypervisor, base) == before
    assert guest.read("/vda/note") == "now" and len(guest.chain()) == 2
    assert guest.read_image(f"{IMAGES}/clone.qcow2", "qcow2", "note") == "one"
    # Once the clone is gone, so is the reason.
    hypervisor.virsh("undefine", "clone")
    hypervisor.run("rm", f"{IMAGES}/clone.qcow2")
    snapshot(guest, state="absent", abandoned="remove")
    assert guest.read("/vda/note") == "now" and guest.chain() == [base]


@pytest.mark.parametrize("running", [False, True], ids=["off", "running"])
def test_nothing_is_merged_into_a_golden_image(guests, running):
    guest = guests(started=False, megabytes=16)
    disk, golden = guest.disk_paths[0], f"{IMAGES}/golden.qcow2"
    guest.hypervisor.run("mv", disk, golden)
    overlay_on(guest.hypervisor, golden, disk)
    before = digest(guest.hypervisor, golden)
    if running:
        guest.start()
    for name in ("one", "two"):
        guest.write(f"/vda/{name}", name)
        take(guest, name)
    guest.write("/vda/now", "now")
    for name in ("two", "one"):
        remove(guest, name, abandoned="remove")
    assert guest.chain() == [disk, golden]
    assert digest(guest.hypervisor, golden) == before
    assert [guest.read(f"/vda/{name}") for name in ("one", "two", "now")] == ["one", "two", "now"]
