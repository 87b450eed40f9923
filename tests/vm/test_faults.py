"""What goes wrong ends in time and in words, with the VM and all about it as before."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from hypervisor import EXECUTABLE, IMAGES, LIBVIRT_11, STATE
from seen import assert_tidy, mark, marked, module, paused, run, seen

ONE = {"name": "one"}
REVERT, REMOVE = {**ONE, "state": "reverted"}, {**ONE, "state": "absent"}
SOCKETS = "libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket"
SMALL = "/srv/small"
# Of a module with a time-out of seconds, on a machine that has other things to do.
SLACK = 60


def fails(guest, *words, **options):
    """The module fails in time, with these words."""
    options = {"timeout": 120, **options}
    since = time.monotonic()
    result = module(guest, **options)
    assert result.get("failed"), result
    assert [word for word in words if word not in result["msg"]] == [], result["msg"]
    assert time.monotonic() - since < options["timeout"] + SLACK
    return result["msg"]


def changes_nothing(guest, *words, **options):
    """It fails so, and everything is as before."""
    before = seen(guest)
    said = fails(guest, *words, **options)
    assert seen(guest) == before
    return said


def refused(guest, *words, **options):
    changes_nothing(guest, "refused, nothing was changed", *words, **options)


@pytest.fixture
def off(guests):
    """A guest that is shut off."""
    guest = guests(started=False)
    mark(guest, 0)
    return guest


@pytest.fixture
def running(guests):
    guest = guests()
    mark(guest, 0)
    return guest


# The host

def test_no_libvirtd(off):
    before = seen(off)
    off.hypervisor.sh(f"systemctl stop {SOCKETS} libvirtd.service")
    try:
        fails(off, "libvirt does not answer at qemu:///system", "libvirt-sock", **ONE)
    finally:
        off.hypervisor.sh(f"systemctl start {SOCKETS}")
    assert seen(off) == before


def test_a_hanging_libvirtd(off):
    before = seen(off)
    off.hypervisor.sh("pkill -STOP -x libvirtd")
    try:
        fails(off, "libvirt does not answer at qemu:///system", "was not done after 3 s", timeout=3, **ONE)
    finally:
        off.hypervisor.sh("pkill -CONT -x libvirtd")
    assert seen(off) == before


def test_no_virsh(off):
    before = seen(off)
    off.hypervisor.sh("mv /usr/bin/virsh /usr/bin/virsh.away")
    try:
        fails(off, "there is no virsh on this host; install libvirt's clients", **ONE)
    finally:
        off.hypervisor.sh("mv /usr/bin/virsh.away /usr/bin/virsh")
    assert seen(off) == before


def test_not_root(off):
    program = off.hypervisor.installed_path(EXECUTABLE, "vm_snapshot")
    before = seen(off)
    done = off.hypervisor.run("runuser", "-u", "nobody", "--", program, input=json.dumps({"vm": off.name}), check=False)
    assert json.loads(done.stdout)["msg"] == "vm_snapshot has to run as root; use become: true"
    assert seen(off) == before


def test_a_read_only_state_directory(off):
    off.hypervisor.sh(f"mkdir -p {STATE}; mount --bind {STATE} {STATE}; mount -o remount,bind,ro {STATE}")
    try:
        changes_nothing(off, STATE, "Read-only file system", **ONE)
    finally:
        off.hypervisor.sh(f"umount {STATE}")


def test_no_such_vm(off):
    result = off.hypervisor.module("vm_snapshot", vm="nobody", **ONE)
    assert result["msg"] == 'there is no VM "nobody" at qemu:///system; there are: guest', result


# The pool

@pytest.fixture
def small(hypervisor):
    """A small file system for disks; `small(MiB)` leaves so much free on it."""
    def leave(mebibytes):
        hypervisor.sh(f"""
            rm -f {SMALL}/filling
            free=$(df --output=avail --block-size=1M {SMALL} | tail -n 1)
            fallocate -l $((free - $1))M {SMALL}/filling
        """, str(mebibytes))

    hypervisor.sh(f"mkdir -p {SMALL}; mount -t tmpfs -o size=256m small {SMALL}")
    yield leave
    hypervisor.clean()
    hypervisor.sh(f"umount {SMALL}; rmdir {SMALL}")


def test_a_full_pool(small, guests):
    guest = guests(started=False, directory=SMALL)
    mark(guest, 0)
    small(20)
    refused(guest, f"the file system of {SMALL}/guest.qcow2 has", "MiB left, and an external snapshot needs 64 MiB", **ONE)


def test_a_pool_that_fills_up_while_memory_is_saved(small, guests):
    guest = guests(directory=SMALL)
    mark(guest, 0)
    before = {**seen(guest), "small": guest.hypervisor.files(SMALL) | {"filling"}}
    with paused(guest, "started:take", memory="true", **ONE) as result:
        small(8)
    assert "No space left on device" in result()["msg"], result()
    assert "everything was taken back" in result()["msg"]
    assert {**seen(guest), "small": guest.hypervisor.files(SMALL)} == before


def test_a_pool_that_fills_up_in_a_merge(small, guests):
    guest = guests(started=False, directory=SMALL)
    run(guest, **ONE)
    guest.hypervisor.said("qemu-io", "-c", "write -P 7 4M 20M", guest.disk_files["vda"])
    mark(guest, 1)
    with paused(guest, "committed", **REMOVE) as result:
        small(2)
    assert "No space left on device" in result()["msg"] and "only tidying up is left" in result()["msg"], result()
    # It has lost nothing, starts, and says the same as long as there is no room.
    assert marked(guest) == 1
    assert "No space left on device" in fails(guest, "cannot be ended", **ONE)
    guest.virsh("start", "--paused")
    guest.destroy()
    small(100)
    result = run(guest, **REMOVE)
    assert "its change has been finished" in "".join(result["warnings"]), result
    assert marked(guest) == 1 and len(guest.chain()) == 1
    assert_tidy(guest)


# The files

def test_an_overlay_of_that_name_is_there(off):
    off.hypervisor.sh(f"echo mine >{IMAGES}/guest.one")
    for mode in (True, False):
        refused(off, f"{IMAGES}/guest.one is there already; move it away, or give another name", check_mode=mode, **ONE)
    assert off.hypervisor.read(f"{IMAGES}/guest.one") == "mine\n"


def test_a_snapshot_of_that_name_is_of_another_kind(off):
    run(off, kind="internal", **ONE)
    refused(off, 'there is a snapshot "one" of the other kind; give another name', kind="external", **ONE)


@contextmanager
def away(guest, file):
    guest.hypervisor.said("mv", file, "/var/tmp/away")
    try:
        yield
    finally:
        guest.hypervisor.said("mv", "/var/tmp/away", file)


@pytest.mark.parametrize("options", [{"name": "three"}, {"name": "two", "state": "reverted"},
                                     {"name": "two", "state": "absent"}], ids=lambda options: options.get("state", "present"))
def test_a_file_of_the_chain_is_missing(off, options):
    run(off, **ONE)
    run(off, name="two")
    before = seen(off)
    with away(off, f"{IMAGES}/guest.one"):
        fails(off, "refused, nothing was changed", "the files of disk vda are not whole", f"{IMAGES}/guest.one",
              "No such file", **options)
    assert seen(off) == before


def test_a_file_of_the_snapshot_is_missing(off):
    run(off, **ONE)
    mark(off, 1)
    run(off, name="two")
    run(off, **REVERT)
    before = seen(off)
    with away(off, f"{IMAGES}/guest.one"):
        fails(off, "refused, nothing was changed", f"{IMAGES}/guest.one", "No such file", name="two", state="reverted")
    assert seen(off) == before
    run(off, name="two", state="reverted")
    assert marked(off) == 1


def test_the_variables_of_uefi_are_missing(guests):
    guest = guests(uefi="raw")
    mark(guest, 0)
    with away(guest, guest.nvram):
        refused(guest, guest.nvram, "is missing, though the VM runs", **ONE)
    guest.destroy()
    # As before the first start, which makes them.
    with away(guest, guest.nvram):
        assert run(guest, **ONE)["snapshot"]["nvram"] is None
    run(guest, **REMOVE)
    assert_tidy(guest)


def test_the_frozen_file_was_written_to(off):
    run(off, **ONE)
    off.hypervisor.said("qemu-io", "-c", "write -P 9 20M 64k", f"{IMAGES}/guest.qcow2")
    refused(off, f'{IMAGES}/guest.qcow2 was written to after snapshot "one", whose data it held', **REVERT)
    refused(off, f"{IMAGES}/guest.qcow2 was written to", **ONE)


def test_a_definition_that_libvirt_does_not_take(off):
    run(off, **ONE)
    mark(off, 1)
    saved = f"{STATE}/vm_snapshot/{off.uuid}/snapshots/one/domain.xml"
    off.hypervisor.sh("sed -i \"s/machine='[^']*'/machine='pc-none'/\" \"$1\"", saved)
    changes_nothing(off, "define failed", "pc-none", "everything was taken back", **REVERT)


def test_a_vm_that_does_not_start_after_the_revert(running):
    run(running, **ONE)
    mark(running, 1)
    saved = f"{STATE}/vm_snapshot/{running.uuid}/snapshots/one/domain.xml"
    running.hypervisor.sh("sed -i s,/usr/local/lib/guest/kernel,/nowhere/kernel, \"$1\"", saved)
    changes_nothing(running, "resume failed", "/nowhere/kernel", "everything was taken back", **REVERT)


# What the VM is, and what it is at

@pytest.mark.parametrize("old, new, words", [
    ("<target dev='vda'", "<shareable/><target dev='vda'", "disk vda is shared with other VMs"),
    ("<target dev='vda'", "<transient/><target dev='vda'", "disk vda is transient"),
    ("</devices>", "<disk type='network' device='disk'><source protocol='nbd' name='x'><host name='127.0.0.1' port='10809'/>"
     "</source><target dev='vdb' bus='virtio'/></disk></devices>", "disk vdb is no file or block device of this host"),
    ("</devices>", "<disk type='block' device='lun'><source dev='/dev/sdx'/><target dev='sda' bus='scsi'/></disk></devices>",
     "disk sda is handed through to the guest"),
], ids=["shareable", "transient", "network", "lun"])
def test_a_disk_that_is_not_its_own(guests, old, new, words):
    off = guests(started=False, disks=["raw"])
    off.hypervisor.write("/run/guest.xml", off.virsh("dumpxml", "--inactive").replace(old, new))
    off.hypervisor.virsh("define", "/run/guest.xml")
    refused(off, words, **ONE)


def test_a_saved_vm(guests):
    guest = guests()
    mark(guest, 0)
    guest.virsh("managedsave")
    for options in (ONE, {**ONE, "kind": "internal"}):
        refused_keeping_it(guest, "its memory is saved (managedsave)", "virsh managedsave-remove", **options)
    guest.start()
    assert marked(guest) == 0


def refused_keeping_it(guest, *words, **options):
    """As `refused`, of a guest whose disk is not to be looked at."""
    before = guest.state, guest.virsh("dumpxml"), guest.hypervisor.files()
    fails(guest, "refused, nothing was changed", *words, **options)
    assert (guest.state, guest.virsh("dumpxml"), guest.hypervisor.files()) == before


def test_what_a_running_vm_is_at(running):
    """A backup stands for every job of libvirt's that `domjobinfo` shows; test_migration.py has a migration."""
    guest, hypervisor = running, running.hypervisor
    run(guest, **ONE)
    operations = ({"name": "two"}, REVERT, REMOVE)

    guest.virsh("suspend")
    refused_keeping_it(guest, "it is paused (user)", "resume it, or shut it off", name="two")
    guest.virsh("resume")

    hypervisor.write("/run/backup.xml", "<domainbackup mode='pull'><server transport='unix' socket='/var/lib/libvirt/qemu/backup'/>"
                     f"<disks><disk name='vda' backup='yes' type='file'><scratch file='{IMAGES}/scratch'/></disk></disks>"
                     "</domainbackup>")
    guest.virsh("backup-begin", "/run/backup.xml")
    for options in operations:
        refused_keeping_it(guest, "a job is at work on it (Backup)", "virsh domjobabort", **options)
    guest.virsh("domjobabort")

    guest.virsh("blockcopy", "vda", f"{IMAGES}/copy", "--transient-job", "--bandwidth", "1")
    for options in operations:
        refused_keeping_it(guest, "a block job is at work on disk vda", **options)
    guest.virsh("blockjob", "vda", "--abort")
    hypervisor.sh(f"rm -f {IMAGES}/copy")

    guest.virsh("snapshot-delete", "one", "--metadata")
    definition = guest.virsh("dumpxml", "--inactive")
    guest.virsh("undefine")
    refused_keeping_it(guest, "it is transient", name="two")
    hypervisor.write("/run/guest.xml", definition)
    hypervisor.virsh("define", "/run/guest.xml")
    assert marked(guest) == 0


# The agent

def test_a_hanging_agent(guests):
    guest = guests(agent=True)
    guest.hang_agent()
    before = guest.state, guest.disk_files, guest.hypervisor.files()
    fails(guest, "quiesce=true, but its guest agent does not answer", timeout=20, quiesce="true", **ONE)
    assert (guest.state, guest.disk_files, guest.hypervisor.files()) == before
    since = time.monotonic()
    result = run(guest, timeout=20, **ONE)
    assert time.monotonic() - since < 20 + SLACK
    assert not result["snapshot"]["quiesced"]
    assert any("guest agent does not answer" in reason for reason in result["decision"]["reasons"])


@pytest.mark.parametrize("hypervisor", [LIBVIRT_11], indirect=True)
def test_an_agent_that_hangs_after_it_has_answered(guests):
    guest = guests(agent=True)
    before = guest.state, guest.disk_files, guest.hypervisor.files()
    with paused(guest, "started:take", timeout=60, quiesce="true", **ONE) as result:
        guest.hang_agent()
    assert "agent" in result()["msg"] and "everything was taken back" in result()["msg"], result()
    assert (guest.state, guest.disk_files, guest.hypervisor.files()) == before
    guest.run("kill -CONT $(pidof qemu-ga)")
    with paused(guest, "started:take", timeout=60, **ONE) as result:
        guest.hang_agent()
    assert not result().get("failed") and not result()["snapshot"]["quiesced"], result()
    assert "would not bring its file systems to rest" in "".join(result()["warnings"])


# Others

def test_two_runs_for_one_vm(off):
    with paused(off, "started:take", **ONE) as result:
        fails(off, "another run is at work", "wait for it to end", name="two")
    assert not result().get("failed"), result()
    run(off, name="two")


def test_two_runs_for_two_vms(guests):
    one, other = guests("one", started=False), guests("other", started=False)
    with paused(one, "started:take", name="a") as result:
        run(other, name="b")
    assert not result().get("failed"), result()
    with ThreadPoolExecutor() as pool:
        assert [result["removed"] for result in pool.map(lambda guest: run(guest, state="absent", keep=0), (one, other))] \
            == [["a"], ["b"]]


def test_a_vm_that_does_not_stop(running):
    run(running, **ONE)
    mark(running, 1)
    running.hypervisor.sh("pkill -STOP -f \"uuid $1\"", running.uuid)
    since = time.monotonic()
    run(running, timeout=60, **REVERT)
    assert time.monotonic() - since < 60 + SLACK
    assert marked(running) == 0


def test_nobody_is_left_to_read_the_result(off):
    program = off.hypervisor.installed_path(EXECUTABLE, "vm_snapshot")
    off.hypervisor.write("/run/arguments.json", json.dumps({"vm": off.uuid, **ONE}))
    off.hypervisor.sh(f"(sleep 1; {program} </run/arguments.json) | true; sleep 3")
    result = run(off, **ONE)
    assert not result["changed"] and result["previous_result"]["changed"], result
    assert "previous_result" not in run(off, **ONE)
