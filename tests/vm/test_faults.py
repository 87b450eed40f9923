"""What goes wrong ends in time and in words, with the VM and all about it as before."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from faults import FAILS, REFUSED, TAKEN_BACK
from hypervisor import EXECUTABLE, IMAGES, LIBVIRT_11, STATE
from seen import assert_tidy, mark, marked, module, paused, run, seen
from testbed.fault import fault

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


@fault("libvirtd does not run", FAILS, ["libvirt does not answer at qemu:///system", "libvirt-sock"])
# The host

def test_no_libvirtd(off, reads):
    before = seen(off)
    off.hypervisor.sh(f"systemctl stop {SOCKETS} libvirtd.service")
    try:
        fails(off, *reads, **ONE)
    finally:
        off.hypervisor.sh(f"systemctl start {SOCKETS}")
    assert seen(off) == before

@fault("libvirtd hangs", FAILS, ["libvirt does not answer at qemu:///system", "was not done after 3 s"])

def test_a_hanging_libvirtd(off, reads):
    before = seen(off)
    off.hypervisor.sh("pkill -STOP -x libvirtd")
    try:
        fails(off, *reads, timeout=3, **ONE)
    finally:
        off.hypervisor.sh("pkill -CONT -x libvirtd")
    assert seen(off) == before

@fault("libvirt's clients are not installed", FAILS, ["there is no virsh on this host; install libvirt's clients"])

def test_no_virsh(off, reads):
    before = seen(off)
    off.hypervisor.sh("mv /usr/bin/virsh /usr/bin/virsh.away")
    try:
        fails(off, *reads, **ONE)
    finally:
        off.hypervisor.sh("mv /usr/bin/virsh.away /usr/bin/virsh")
    assert seen(off) == before

@fault("the module does not run as root", FAILS, ["vm_snapshot has to run as root; use become: true"])

def test_not_root(off, reads):
    program = off.hypervisor.installed_path(EXECUTABLE, "vm_snapshot")
    before = seen(off)
    done = off.hypervisor.run("runuser", "-u", "nobody", "--", program, input=json.dumps({"vm": off.name}), check=False)
    assert json.loads(done.stdout)["msg"] == reads[0]
    assert seen(off) == before

@fault("the state directory is read-only", FAILS, [STATE, "Read-only file system"])

def test_a_read_only_state_directory(off, reads):
    off.hypervisor.sh(f"mkdir -p {STATE}; mount --bind {STATE} {STATE}; mount -o remount,bind,ro {STATE}")
    try:
        changes_nothing(off, *reads, **ONE)
    finally:
        off.hypervisor.sh(f"umount {STATE}")

@fault("there is no such VM", FAILS, ['there is no VM "nobody" at qemu:///system; there are: guest'])

def test_no_such_vm(off, reads):
    result = off.hypervisor.module("vm_snapshot", vm="nobody", **ONE)
    assert result["msg"] == reads[0], result


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

@fault("no room for an overlay", REFUSED,
       [f"the file system of {SMALL}/guest.qcow2 has", "MiB left, and an external snapshot needs 64 MiB"])

def test_a_full_pool(small, guests, reads):
    guest = guests(started=False, directory=SMALL)
    mark(guest, 0)
    small(20)
    refused(guest, *reads, **ONE)

@fault("the pool fills up while memory is saved", TAKEN_BACK, ["No space left on device", "everything was taken back"])

def test_a_pool_that_fills_up_while_memory_is_saved(small, guests, reads):
    guest = guests(directory=SMALL)
    mark(guest, 0)
    before = {**seen(guest), "small": guest.hypervisor.files(SMALL) | {"filling"}}
    with paused(guest, "started:take", memory="true", **ONE) as result:
        small(8)
    assert [word for word in reads if word not in result()["msg"]] == [], result()
    assert {**seen(guest), "small": guest.hypervisor.files(SMALL)} == before

@fault("the pool fills up in a merge", "the VM starts, with its data; the next run with room finishes the merge",
       ["No space left on device", "only tidying up is left"])

def test_a_pool_that_fills_up_in_a_merge(small, guests, reads):
    guest = guests(started=False, directory=SMALL)
    run(guest, **ONE)
    guest.hypervisor.said("qemu-io", "-c", "write -P 7 4M 20M", guest.disk_files["vda"])
    mark(guest, 1)
    with paused(guest, "committed", **REMOVE) as result:
        small(2)
    assert [word for word in reads if word not in result()["msg"]] == [], result()
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


@fault("a file has the name of the overlay", REFUSED,
       [f"{IMAGES}/guest.one is there already; move it away, or give another name"])
# The files

def test_an_overlay_of_that_name_is_there(off, reads):
    off.hypervisor.sh(f"echo mine >{IMAGES}/guest.one")
    for mode in (True, False):
        refused(off, *reads, check_mode=mode, **ONE)
    assert off.hypervisor.read(f"{IMAGES}/guest.one") == "mine\n"

@fault("there is a snapshot of that name and of the other kind", REFUSED,
       ['there is a snapshot "one" of the other kind; give another name'])

def test_a_snapshot_of_that_name_is_of_another_kind(off, reads):
    run(off, kind="internal", **ONE)
    refused(off, *reads, kind="external", **ONE)


@contextmanager
def away(guest, file):
    guest.hypervisor.said("mv", file, "/var/tmp/away")
    try:
        yield
    finally:
        guest.hypervisor.said("mv", "/var/tmp/away", file)


@fault("a file of the chain is missing", REFUSED,
       ["the files of disk vda are not whole", f"{IMAGES}/guest.one", "No such file"])
@pytest.mark.parametrize("options", [{"name": "three"}, {"name": "two", "state": "reverted"},
                                     {"name": "two", "state": "absent"}], ids=lambda options: options.get("state", "present"))
def test_a_file_of_the_chain_is_missing(off, options, reads):
    run(off, **ONE)
    run(off, name="two")
    before = seen(off)
    with away(off, f"{IMAGES}/guest.one"):
        fails(off, "refused, nothing was changed", *reads, **options)
    assert seen(off) == before

@fault("a file of the snapshot is missing", REFUSED, [f"{IMAGES}/guest.one", "No such file"])

def test_a_file_of_the_snapshot_is_missing(off, reads):
    run(off, **ONE)
    mark(off, 1)
    run(off, name="two")
    run(off, **REVERT)
    before = seen(off)
    with away(off, f"{IMAGES}/guest.one"):
        fails(off, "refused, nothing was changed", *reads, name="two", state="reverted")
    assert seen(off) == before
    run(off, name="two", state="reverted")
    assert marked(off) == 1

@fault("the variables of UEFI are missing", REFUSED, ["is missing, though the VM runs"])

def test_the_variables_of_uefi_are_missing(guests, reads):
    guest = guests(uefi="raw")
    mark(guest, 0)
    with away(guest, guest.nvram):
        refused(guest, guest.nvram, *reads, **ONE)
    guest.destroy()
    # As before the first start, which makes them.
    with away(guest, guest.nvram):
        assert run(guest, **ONE)["snapshot"]["nvram"] is None
    run(guest, **REMOVE)
    assert_tidy(guest)

@fault("the frozen file was written to", REFUSED,
       [f'{IMAGES}/guest.qcow2 was written to after snapshot "one", whose data it held'])

def test_the_frozen_file_was_written_to(off, reads):
    run(off, **ONE)
    off.hypervisor.said("qemu-io", "-c", "write -P 9 20M 64k", f"{IMAGES}/guest.qcow2")
    refused(off, *reads, **REVERT)
    refused(off, f"{IMAGES}/guest.qcow2 was written to", **ONE)

@fault("libvirt does not take the definition of then", TAKEN_BACK,
       ["define failed", "pc-none", "everything was taken back"])

def test_a_definition_that_libvirt_does_not_take(off, reads):
    run(off, **ONE)
    mark(off, 1)
    saved = f"{STATE}/vm_snapshot/{off.uuid}/snapshots/one/domain.xml"
    off.hypervisor.sh("sed -i \"s/machine='[^']*'/machine='pc-none'/\" \"$1\"", saved)
    changes_nothing(off, *reads, **REVERT)

@fault("the VM does not start after the revert", TAKEN_BACK,
       ["resume failed", "/nowhere/kernel", "everything was taken back"])

def test_a_vm_that_does_not_start_after_the_revert(running, reads):
    run(running, **ONE)
    mark(running, 1)
    saved = f"{STATE}/vm_snapshot/{running.uuid}/snapshots/one/domain.xml"
    running.hypervisor.sh("sed -i s,/usr/local/lib/guest/kernel,/nowhere/kernel, \"$1\"", saved)
    changes_nothing(running, *reads, **REVERT)


# What the VM is, and what it is at

def disk(name, old, new, words):
    return pytest.param(old, new, marks=fault(f"a disk is not the VM's own: {name}", REFUSED, [words]), id=name)


@pytest.mark.parametrize("old, new", [
    disk("shareable", "<target dev='vda'", "<shareable/><target dev='vda'", "disk vda is shared with other VMs"),
    disk("transient", "<target dev='vda'", "<transient/><target dev='vda'", "disk vda is transient"),
    disk("network", "</devices>",
         "<disk type='network' device='disk'><source protocol='nbd' name='x'><host name='127.0.0.1' port='10809'/></source>"
         "<target dev='vdb' bus='virtio'/></disk></devices>", "disk vdb is no file or block device of this host"),
    disk("lun", "</devices>",
         "<disk type='block' device='lun'><source dev='/dev/sdx'/><target dev='sda' bus='scsi'/></disk></devices>",
         "disk sda is handed through to the guest"),
])
def test_a_disk_that_is_not_its_own(guests, old, new, reads):
    off = guests(started=False, disks=["raw"])
    off.hypervisor.write("/run/guest.xml", off.virsh("dumpxml", "--inactive").replace(old, new))
    off.hypervisor.virsh("define", "/run/guest.xml")
    refused(off, *reads, **ONE)

@fault("its memory is saved (managedsave)", REFUSED, ["its memory is saved (managedsave)", "virsh managedsave-remove"])

def test_a_saved_vm(guests, reads):
    guest = guests()
    mark(guest, 0)
    guest.virsh("managedsave")
    for options in (ONE, {**ONE, "kind": "internal"}):
        refused_keeping_it(guest, *reads, **options)
    guest.start()
    assert marked(guest) == 0


def refused_keeping_it(guest, *words, **options):
    """As `refused`, of a guest whose disk is not to be looked at."""
    before = guest.state, guest.virsh("dumpxml"), guest.hypervisor.files()
    fails(guest, "refused, nothing was changed", *words, **options)
    assert (guest.state, guest.virsh("dumpxml"), guest.hypervisor.files()) == before

AT_WORK = {
    "paused": ["it is paused (user)", "resume it, or shut it off"],
    "backup": ["a job is at work on it (Backup)", "virsh domjobabort"],
    "block job": ["a block job is at work on disk vda"],
    "transient": ["it is transient"],
}


@fault("it is transient", REFUSED, AT_WORK["transient"])
@fault("a block job is at work on a disk", REFUSED, AT_WORK["block job"])
@fault("a backup is at work", REFUSED, AT_WORK["backup"])
@fault("it is paused", REFUSED, AT_WORK["paused"])

def test_what_a_running_vm_is_at(running):
    """A backup stands for every job of libvirt's that `domjobinfo` shows; test_migration.py has a migration."""
    guest, hypervisor = running, running.hypervisor
    run(guest, **ONE)
    operations = ({"name": "two"}, REVERT, REMOVE)

    guest.virsh("suspend")
    refused_keeping_it(guest, *AT_WORK["paused"], name="two")
    guest.virsh("resume")

    hypervisor.write("/run/backup.xml", "<domainbackup mode='pull'><server transport='unix' socket='/var/lib/libvirt/qemu/backup'/>"
                     f"<disks><disk name='vda' backup='yes' type='file'><scratch file='{IMAGES}/scratch'/></disk></disks>"
                     "</domainbackup>")
    guest.virsh("backup-begin", "/run/backup.xml")
    for options in operations:
        refused_keeping_it(guest, *AT_WORK["backup"], **options)
    guest.virsh("domjobabort")

    guest.virsh("blockcopy", "vda", f"{IMAGES}/copy", "--transient-job", "--bandwidth", "1")
    for options in operations:
        refused_keeping_it(guest, *AT_WORK["block job"], **options)
    guest.virsh("blockjob", "vda", "--abort")
    hypervisor.sh(f"rm -f {IMAGES}/copy")

    guest.virsh("snapshot-delete", "one", "--metadata")
    definition = guest.virsh("dumpxml", "--inactive")
    guest.virsh("undefine")
    refused_keeping_it(guest, *AT_WORK["transient"], name="two")
    hypervisor.write("/run/guest.xml", definition)
    hypervisor.virsh("define", "/run/guest.xml")
    assert marked(guest) == 0


@fault("the guest agent hangs", "refused with `quiesce: true`, within `timeout`; taken without it with `auto`",
       ["quiesce=true, but its guest agent does not answer"])
# The agent

def test_a_hanging_agent(guests, reads):
    guest = guests(agent=True)
    guest.hang_agent()
    before = guest.state, guest.disk_files, guest.hypervisor.files()
    fails(guest, *reads, timeout=20, quiesce="true", **ONE)
    assert (guest.state, guest.disk_files, guest.hypervisor.files()) == before
    since = time.monotonic()
    result = run(guest, timeout=20, **ONE)
    assert time.monotonic() - since < 20 + SLACK
    assert not result["snapshot"]["quiesced"]
    assert any("guest agent does not answer" in reason for reason in result["decision"]["reasons"])


@fault("the guest agent hangs after it has answered",
       "taken back with `quiesce: true`; taken without it, with a warning, with `auto`",
       ["would not bring its file systems to rest"])
@pytest.mark.parametrize("hypervisor", [LIBVIRT_11], indirect=True)
def test_an_agent_that_hangs_after_it_has_answered(guests, reads):
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
    assert reads[0] in "".join(result()["warnings"])


@fault("a second run for the VM at the same time", REFUSED, ["another run is at work", "wait for it to end"])
# Others

def test_two_runs_for_one_vm(off, reads):
    with paused(off, "started:take", **ONE) as result:
        fails(off, *reads, name="two")
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

@fault("QEMU does not end", "it is killed, and the revert goes on")

def test_a_vm_that_does_not_stop(running):
    run(running, **ONE)
    mark(running, 1)
    running.hypervisor.sh("pkill -STOP -f \"uuid $1\"", running.uuid)
    since = time.monotonic()
    run(running, timeout=60, **REVERT)
    assert time.monotonic() - since < 60 + SLACK
    assert marked(running) == 0

@fault("nobody is left to read the result",
       "the change is carried to its end, and the next run returns its result as `previous_result`")

def test_nobody_is_left_to_read_the_result(off):
    program = off.hypervisor.installed_path(EXECUTABLE, "vm_snapshot")
    off.hypervisor.write("/run/arguments.json", json.dumps({"vm": off.uuid, **ONE}))
    off.hypervisor.sh(f"(sleep 1; {program} </run/arguments.json) | true; sleep 3")
    result = run(off, **ONE)
    assert not result["changed"] and result["previous_result"]["changed"], result
    assert "previous_result" not in run(off, **ONE)
