"""Taking snapshots: which kind, and why; what cannot be taken; names."""

import pytest

from hypervisor import LIBVIRT_9, LIBVIRT_11
from snapshots import current, names, refusal, remove, revert, snapshot, standing, take, thorough


def decision(guest, **options):
    """What would be taken, as (kind, memory, quiesce), and why in one text."""
    found = snapshot(guest, name="would", check_mode=True, **options)["decision"]
    return (found["kind"], found["memory"], found["quiesce"]), "\n".join(found["reasons"])


def test_a_snapshot_is_taken_once(guests):
    guest = guests(started=False, disks=["qcow2", "raw"])
    before = standing(guest)
    would = snapshot(guest, name="one", description="before <all>", check_mode=True)
    assert would["changed"] and would["decision"] and "verified" not in would
    assert (would["diff"][0]["before"], would["diff"][0]["after"]) == ("", "* one (external)\n")
    assert standing(guest) == before
    taken = take(guest, "one", description="before <all>")
    assert (taken["steps"], taken["diff"]) == (would["steps"], would["diff"])
    found = taken["snapshot"]
    assert (found["description"], found["current"], found["managed"], found["state"]) == (
        "before <all>", True, True, "shutoff")
    assert [(disk["target"], disk["format"], disk["file"]) for disk in found["disks"]] == [
        ("vda", "qcow2", guest.disk_paths[0]), ("vdb", "raw", guest.disk_paths[1])]
    assert {disk["target"]: disk["overlay"] for disk in found["disks"]} == guest.disk_files
    assert taken["verified"]["chain"] == {target: guest.chain(target) for target in ("vda", "vdb")}
    assert len(taken["verified"]["by"]) == 5
    assert names(guest) == {"one"} and current(guest) == "one"
    after = standing(guest)
    for options in ({"check_mode": True}, {}, {"kind": "external", "description": "another"}):
        again = snapshot(guest, name="one", **options)
        assert not again["changed"] and again["snapshot"] == found and "decision" not in again
    assert standing(guest) == after
    assert "of the other kind" in refusal(guest, name="one", kind="internal")
    by_id = guest.hypervisor.module("vm_snapshot", vm=guest.uuid, name="one")
    assert not by_id["changed"] and by_id["vm"] == guest.name


def test_auto_for_a_guest_that_is_off(guests):
    guest = guests(started=False)
    chosen, why = decision(guest)
    assert chosen == ("external", False, False)
    assert "external, since it takes any format" in why and "without memory, since it is off" in why
    assert "not quiesced, since it is off" in why
    chosen, why = decision(guest, kind="internal")
    assert chosen == ("internal", False, False) and "internal, as asked" in why
    take(guest, "within", kind="internal")
    chosen, why = decision(guest)
    assert chosen == ("internal", False, False) and "since the VM has internal snapshots" in why
    mixed = snapshot(guest, name="would", kind="external", check_mode=True)
    assert any('internal snapshot "within"' in warning for warning in mixed["warnings"])
    taken = take(guest, "two")
    assert taken["snapshot"]["kind"] == "internal" and taken["snapshot"]["parent"] == "within"


def test_auto_for_a_running_guest(guests):
    guest = guests(agent=True)
    chosen, why = decision(guest)
    assert chosen == ("external", False, True) and "quiesced, since the guest agent answers" in why
    assert decision(guest, quiesce="false")[0] == ("external", False, False)
    chosen, why = decision(guest, memory="true")
    assert chosen == ("external", True, False) and "the memory holds what the disks do not" in why
    chosen, why = decision(guest, kind="internal")
    assert chosen == ("internal", True, False) and "as every internal snapshot of a running VM" in why
    assert "always has its memory" in refusal(guest, name="one", kind="internal", memory="false")
    assert "quiesce=true, but the memory holds" in refusal(guest, name="one", memory="true", quiesce="true")
    guest.hang_agent()
    chosen, why = decision(guest)
    assert chosen == ("external", False, False) and "its guest agent does not answer" in why
    assert "does not answer" in refusal(guest, name="one", quiesce="true")


def test_a_running_guest_without_agent(guests):
    guest = guests(disks=["qcow2", "raw"], megabytes=16)
    chosen, why = decision(guest)
    assert chosen == ("external", False, False) and "it has no guest agent" in why
    assert "it has no guest agent" in refusal(guest, name="one", quiesce="true")
    assert "disk vdb is raw" in refusal(guest, name="one", kind="internal")
    guest.virsh("suspend")
    assert "it is paused" in refusal(guest, name="one")


def test_impossible_wishes_for_a_guest_that_is_off(guests):
    guest = guests(started=False, disks=["qcow2", "raw"])
    said = refusal(guest, name="one", kind="internal", memory="true", quiesce="true")
    for reason in ("disk vdb is raw, and only qcow2 holds internal snapshots", "memory=true, but it is off",
                   "quiesce=true, but it is off"):
        assert reason in said
    take(guest, "one")
    assert "the kinds are not to be mixed" in refusal(guest, name="two", kind="internal")


def test_an_internal_snapshot_beside_an_external_one(guests):
    guest = guests(started=False)
    take(guest, "one")
    assert 'there is the external snapshot "one"' in refusal(guest, name="two", kind="internal")


@pytest.mark.parametrize("hypervisor, reason", [
    pytest.param(*LIBVIRT_9.values, "from 10.9 on, and here is 9.0.0", id=LIBVIRT_9.id),
    pytest.param(*LIBVIRT_11.values, "UEFI variables are not in qcow2", id=LIBVIRT_11.id),
], indirect=["hypervisor"])
def test_an_internal_snapshot_with_uefi(guests, reason):
    guest = guests(started=False, uefi="raw")
    assert reason in refusal(guest, name="one", kind="internal")
    assert decision(guest)[0] == ("external", False, False)


def test_files_that_are_there_already(guests):
    guest = guests(started=False)
    overlay = guest.disk_paths[0].replace(".qcow2", ".one")
    guest.hypervisor.write(overlay, "somebody's")
    assert f"{overlay} is there already" in refusal(guest, name="one")
    assert guest.hypervisor.read(overlay) == "somebody's"


NAMES = ["Pre user namespaces", "the \"best\" one's & <z>", "größe-日本", "1", "--all", "a,b=c:d%s"]


# Each kind with half of them, and in the long run with the other half.
@pytest.mark.parametrize("kind, name", [
    (kind, name) if number % 2 == turn else thorough(kind, name)
    for turn, kind in enumerate(("external", "internal")) for number, name in enumerate(NAMES)])
def test_any_name_will_do(guests, kind, name):
    guest = guests(name, started=False)
    guest.write("/vda/note", "before")
    take(guest, name, kind=kind, description=name)
    assert names(guest) == {name}
    assert not snapshot(guest, name=name)["changed"]
    guest.write("/vda/note", "after")
    assert revert(guest, name)["snapshot"]["description"] == name
    assert guest.read("/vda/note") == "before"
    guest.write("/vda/note", "now")
    remove(guest, name, abandoned="remove")
    assert names(guest) == set() and guest.read("/vda/note") == "now"
    snapshot(guest, state="absent", abandoned="remove")
    assert guest.chain() == guest.disk_paths


def test_a_name_that_is_the_id_of_another_guest(guests):
    other = guests("other", megabytes=16)
    number = other.virsh("domid")
    guest = guests(number, started=False)
    assert take(guest, number)["uuid"] == guest.uuid
    revert(guest, number)
    remove(guest, number, abandoned="remove")
    assert (other.state, other.virsh("domid"), other.chain()) == ("running", number, other.disk_paths)
