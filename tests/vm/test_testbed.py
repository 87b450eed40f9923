"""Guests do what the tests of snapshots count on."""

import pytest

from hypervisor import LIBVIRT_9, LIBVIRT_11
from testbed.base import wait_for


def test_a_guest_counts_and_keeps_what_it_writes(guests):
    guest = guests()
    guest.write("/vda/note", "written 'here'\nand synced\n")
    before = guest.counter()
    wait_for("the counter going on", lambda: guest.counter() > before, 60)
    guest.destroy()
    assert guest.state == "shut off"
    assert guest.read("/vda/note") == "written 'here'\nand synced\n"
    assert guest.read("/vda/other") is None
    counted = guest.counter()
    assert counted >= before
    guest.start()
    assert guest.exists("/vda/note") and not guest.exists("/vda/other")
    assert guest.counter() >= counted


def test_only_what_is_synced_is_sure_to_be_on_the_disk(guests):
    guest = guests()
    guest.run("sysctl -w vm.dirty_writeback_centisecs=0")
    guest.write("/vda/lost", "not synced", sync=False)
    guest.destroy()
    assert not guest.read("/vda/lost")


def test_the_power_button_shuts_a_guest_down(guests):
    guest = guests()
    guest.write("/vda/note", "kept", sync=False)
    guest.shutdown()
    assert guest.read("/vda/note") == "kept"


def test_two_disks_of_two_formats(guests):
    guest = guests(disks=["qcow2", "raw"], megabytes=16)
    guest.write("/vda/first", "1")
    guest.write("/vdb/second", "2")
    guest.destroy()
    assert (guest.read("/vda/first"), guest.read("/vdb/second")) == ("1", "2")
    assert guest.disk_formats == {"vda": "qcow2", "vdb": "raw"}
    assert list(guest.disk_files.values()) == guest.disk_paths


def test_the_agent_freezes_the_file_system(guests):
    guest = guests(agent=True)
    assert guest.virsh("domfsfreeze") == "Froze 1 filesystem(s)"
    frozen = guest.counter()
    guest.run("sleep 2")
    assert guest.counter() == frozen
    assert guest.virsh("domfsthaw") == "Thawed 1 filesystem(s)"
    wait_for("the counter going on", lambda: guest.counter() > frozen, 60)


def test_a_hanging_agent_does_not_answer(guests):
    guest = guests(agent=True)
    guest.hang_agent()
    assert not guest.agent_answers()
    assert guest.run("echo here") == "here\n"


def test_a_hanging_guest_does_not_answer(guests):
    guest = guests()
    guest.hang()
    wait_for("the guest hanging", lambda: not guest.answers(3), 60)
    guest.virsh("shutdown", "--mode", "acpi")
    guest.hypervisor.run("sleep", "2")
    assert guest.state == "running"


@pytest.mark.parametrize("hypervisor, uefi", [
    pytest.param(*libvirt.values, kind, id=f"{libvirt.id}-{kind}")
    for libvirt in (LIBVIRT_9, LIBVIRT_11) for kind in ("raw", "qcow2") if (libvirt, kind) != (LIBVIRT_9, "qcow2")
], indirect=["hypervisor"])
def test_a_guest_with_uefi_has_nvram(guests, uefi):
    guest = guests(uefi=uefi)
    assert guest.run("ls -d /sys/firmware/efi") == "/sys/firmware/efi\n"
    found = guest.hypervisor.said("qemu-img", "info", "--force-share", guest.nvram)
    assert f"file format: {uefi}" in found
    assert guest.nvram in guest.virsh("dumpxml")


@pytest.mark.parametrize("name", ["pi hole", 'the "best" one\'s', "größe-日本", "1", "--all"])
def test_any_name_will_do(guests, name):
    guest = guests(name, started=False)
    assert name in guest.hypervisor.virsh("list", "--all", "--name").splitlines()
    guest.start()
    guest.write("/vda/note", name)
    assert guest.read("/vda/note") == name


def test_nothing_is_left_of_a_guest(hypervisor, guests):
    guest = guests(uefi="raw")
    guest.virsh("snapshot-create-as", "--name", "one", "--disk-only", "--atomic")
    assert len(guest.chain()) == 2
    hypervisor.clean()
    assert hypervisor.virsh("list", "--all", "--name") == ""
    assert hypervisor.files() == set()
    assert not hypervisor.exists(guest.nvram)


def test_a_reverted_guest_answers_with_the_memory_it_had(guests):
    guest = guests(agent=True)
    guest.write("/tmp/before", "in memory only")
    guest.virsh("snapshot-create-as", "--name", "one")
    guest.write("/tmp/after", "")
    guest.virsh("snapshot-revert", "--snapshotname", "one")
    guest.wait_running()
    assert guest.read("/tmp/before") == "in memory only"
    assert not guest.exists("/tmp/after")
    guest.virsh("managedsave")
    guest.start()
    assert guest.read("/tmp/before") == "in memory only"
