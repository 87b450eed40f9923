"""A file written before the snapshot is there after the revert, and one written after is not."""

from xml.etree import ElementTree

import pytest

from hypervisor import LIBVIRT_9, LIBVIRT_11
from snapshots import check_images, current, held, images, names, refusal, revert, snapshot, standing, take, thorough

BOOT = "cat /proc/sys/kernel/random/boot_id"


def write_before(guest):
    for target in guest.disk_files:
        guest.write(f"/{target}/before", f"before on {target}")


def write_after(guest):
    for target in guest.disk_files:
        guest.write(f"/{target}/before", f"changed on {target}")
        guest.write(f"/{target}/after", "after")


def is_as_before(guest):
    for target in guest.disk_files:
        assert guest.read(f"/{target}/before") == f"before on {target}"
        assert not guest.exists(f"/{target}/after")


def goes_back(guest, kind, **options):
    """The whole way, twice; what the module says of the last revert."""
    was = guest.state
    write_before(guest)
    taken = take(guest, "one", kind=kind, **options)
    assert taken["snapshot"]["kind"] == taken["decision"]["kind"] == kind
    reverted = None
    # The snapshot outlives a revert.
    for _ in range(2):
        write_after(guest)
        reverted = revert(guest, "one")
        assert guest.state == was
        is_as_before(guest)
    assert reverted["lost_since"] == taken["snapshot"]["created"]
    assert current(guest) == "one"
    return reverted


# The kinds of snapshots

@pytest.mark.parametrize("disks", [["qcow2", "raw"], thorough(["qcow2"]), thorough(["raw"])], ids="-".join)
def test_external_shut_off(guests, disks):
    guest = guests(started=False, disks=disks)
    goes_back(guest, "external")
    check_images(guest)


@pytest.mark.parametrize("disks", [["qcow2", "qcow2"], thorough(["qcow2"])], ids="-".join)
def test_internal_shut_off(guests, disks):
    guest = guests(started=False, disks=disks)
    goes_back(guest, "internal")
    check_images(guest)
    assert images(guest) == {path.rpartition("/")[2] for path in guest.disk_paths}


def test_external_running_boots_from_the_disks_of_then(guests):
    guest = guests(disks=["qcow2", "raw"], megabytes=16)
    booted = guest.run(BOOT)
    goes_back(guest, "external")
    assert guest.run(BOOT) != booted


@pytest.mark.parametrize("kind, disks", [("external", ["raw", "qcow2"]), ("internal", ["qcow2", "qcow2"])],
                         ids=["external", "internal"])
def test_with_memory_the_guest_goes_on_where_it_was(guests, kind, disks):
    guest = guests(disks=disks, megabytes=16)
    booted = guest.run(BOOT)
    guest.write("/tmp/in-memory", "kept")
    taken_at = guest.counter()
    goes_back(guest, kind, memory="true")
    assert guest.run(BOOT) == booted
    assert guest.read("/tmp/in-memory") == "kept"
    # The same process counts on.
    reverted_at = guest.counter()
    assert reverted_at >= taken_at
    guest.run("sleep 2")
    assert guest.counter() > reverted_at


@pytest.mark.parametrize("memory", ["true", thorough("false")])
def test_a_guest_that_is_off_by_now_runs_as_it_did(guests, memory):
    guest = guests(megabytes=16)
    write_before(guest)
    take(guest, "one", kind="external", memory=memory)
    write_after(guest)
    guest.destroy()
    revert(guest, "one")
    assert guest.state == "running"
    is_as_before(guest)


def test_a_guest_that_runs_by_now_is_off_as_it_was(guests):
    guest = guests(started=False)
    write_before(guest)
    take(guest, "one")
    guest.start()
    write_after(guest)
    revert(guest, "one")
    assert guest.state == "shut off"
    is_as_before(guest)


def test_what_was_quiesced_is_there_though_never_synced(guests):
    guest = guests(agent=True)
    guest.run("sysctl -w vm.dirty_writeback_centisecs=0")
    guest.write("/vda/first", "first", sync=False)
    without = take(guest, "without", quiesce="false")
    guest.write("/vda/second", "second", sync=False)
    quiesced = take(guest, "quiesced")
    assert (without["snapshot"]["quiesced"], quiesced["snapshot"]["quiesced"]) == (False, True)
    assert not held(guest, "without", "/vda/first")
    assert held(guest, "quiesced", "/vda/second") == "second"
    # The guest is not left frozen.
    guest.write("/vda/third", "third")
    revert(guest, "quiesced")
    assert (guest.read("/vda/first"), guest.read("/vda/second")) == ("first", "second")
    assert not guest.exists("/vda/third")


# UEFI's variables

NVRAMS = [pytest.param(*libvirt.values, kind, id=f"{libvirt.id}-{kind}")
          for libvirt in (LIBVIRT_9, LIBVIRT_11) for kind in ("raw", "qcow2")
          if (libvirt, kind) != (LIBVIRT_9, "qcow2")]


def set_variables(guest, byte):
    """Something in UEFI's variables, as a firmware would write it there."""
    guest.hypervisor.run("qemu-io", "-f", guest.uefi, "-c", f"write -P {byte} 64k 512", guest.nvram)


def has_variables(guest, byte, file=None):
    done = guest.hypervisor.run("qemu-io", "-r", "-f", guest.uefi, "-c", f"read -P {byte} 64k 512", file or guest.nvram,
                                check=False)
    return done.returncode == 0


@pytest.mark.parametrize("hypervisor, uefi", NVRAMS, indirect=["hypervisor"])
def test_uefi_gets_its_variables_back(guests, uefi):
    guest = guests(uefi=uefi, started=False)
    set_variables(guest, 1)
    write_before(guest)
    taken = take(guest, "one")
    assert taken["snapshot"]["kind"] == "external" and has_variables(guest, 1, taken["snapshot"]["nvram"])
    set_variables(guest, 2)
    write_after(guest)
    reverted = revert(guest, "one")
    assert has_variables(guest, 1)
    is_as_before(guest)
    # Those that it had until then are kept.
    aside, = (file for file in reverted["abandoned"] if file.endswith("/nvram"))
    assert has_variables(guest, 2, aside)
    guest.start()
    is_as_before(guest)


@pytest.mark.parametrize("hypervisor", [LIBVIRT_11], indirect=True)
def test_an_internal_snapshot_has_the_variables_in_it(guests):
    guest = guests(uefi="qcow2", started=False)
    set_variables(guest, 1)
    write_before(guest)
    take(guest, "one", kind="internal")
    set_variables(guest, 2)
    write_after(guest)
    revert(guest, "one")
    is_as_before(guest)
    assert has_variables(guest, 1)


@pytest.mark.parametrize("memory", [True, thorough(False)], ids=["memory", "disks-alone"])
def test_uefi_running(guests, memory):
    guest = guests(uefi="raw", megabytes=16)
    booted = guest.run(BOOT)
    write_before(guest)
    take(guest, "one", memory=str(memory).lower())
    write_after(guest)
    guest.destroy()
    set_variables(guest, 2)
    revert(guest, "one")
    assert (guest.run(BOOT) == booted) == memory
    is_as_before(guest)
    assert not has_variables_while_running(guest, 2)


def has_variables_while_running(guest, byte):
    return guest.hypervisor.run("qemu-io", "-r", "-U", "-f", guest.uefi, "-c", f"read -P {byte} 64k 512", guest.nvram,
                                check=False).returncode == 0


# The definition

def lasting(guest):
    """The definition with its passwords, without the files of its disks."""
    root = ElementTree.fromstring(guest.virsh("dumpxml", "--inactive", "--security-info"))
    for disk in root.iterfind("devices/disk"):
        disk.remove(disk.find("source"))
        disk.remove(disk.find("driver"))
    return ElementTree.tostring(root, encoding="unicode")


def redefine(guest, old, new):
    xml = guest.virsh("dumpxml", "--inactive", "--security-info")
    assert old in xml
    guest.hypervisor.write("/run/guest.xml", xml.replace(old, new))
    guest.hypervisor.virsh("define", "/run/guest.xml")


@pytest.mark.parametrize("kind", ["external", "internal"])
def test_the_definition_comes_back_with_its_passwords(guests, kind):
    guest = guests(started=False)
    redefine(guest, "</devices>", "<graphics type='vnc' port='-1' passwd='secret&amp;'/></devices>")
    guest.virsh("desc", "--config", "--title", "--new-desc", "the old <one>")
    before = lasting(guest)
    assert "secret" in before
    take(guest, "one", kind=kind)
    redefine(guest, "secret", "other")
    guest.virsh("desc", "--config", "--title", "--new-desc", "the new one")
    guest.virsh("setmaxmem", "--config", "200M")
    assert lasting(guest) != before
    result = revert(guest, "one")
    assert lasting(guest) == before
    assert "secret" not in str(result)


# More than one

def test_to_the_older_and_then_to_the_newer(guests):
    guest = guests(started=False, disks=["qcow2", "raw"])
    texts = ["zero", "one", "two", "three"]
    for text in texts:
        for target in ("vda", "vdb"):
            guest.write(f"/{target}/note", text)
        if text != "three":
            take(guest, text)
    for name in ("zero", "two", "one", "one", "two"):
        revert(guest, name)
        assert current(guest) == name
        assert (guest.read("/vda/note"), guest.read("/vdb/note")) == (name, name)
        guest.write("/vda/note", "written since")
    assert names(guest) == {"zero", "one", "two"}
    for name in ("zero", "one", "two"):
        assert held(guest, name, "/vda/note") == held(guest, name, "/vdb/note") == name
    check_images(guest)


def test_what_was_written_since_is_kept_until_told_otherwise(guests):
    guest = guests(started=False)
    take(guest, "one")
    overlays = []
    for text in ("first", "second"):
        guest.write("/vda/since", text)
        overlays.append(guest.disk_files["vda"])
        abandoned = revert(guest, "one")["abandoned"]
        assert guest.read("/vda/since") is None
        assert set(overlays) <= set(abandoned)
    assert [guest.read_image(overlay, "qcow2", "since") for overlay in overlays] == ["first", "second"]
    in_use = guest.disk_files["vda"]
    would = snapshot(guest, state="absent", abandoned="remove", check_mode=True)
    assert would["changed"] and would["removed"] == []
    assert all(guest.hypervisor.exists(file) for file in abandoned)
    done = snapshot(guest, state="absent", abandoned="remove")
    assert done["changed"] and done["abandoned"] == []
    assert not any(guest.hypervisor.exists(file) for file in abandoned)
    assert guest.chain() == [in_use, *guest.disk_paths]
    assert not snapshot(guest, state="absent", abandoned="remove")["changed"]
    revert(guest, "one")


def test_check_mode_reverts_nothing(guests):
    guest = guests()
    write_before(guest)
    taken = take(guest, "one")
    write_after(guest)
    booted, before = guest.run(BOOT), guest.definition()
    would = snapshot(guest, name="one", state="reverted", check_mode=True)
    assert would["changed"] and would["lost_since"] == taken["snapshot"]["created"]
    assert {"stop", "define", "resume"} <= set(would["steps"]) and would["abandoned"] == []
    assert guest.exists("/vda/after") and guest.run(BOOT) == booted
    assert ElementTree.tostring(guest.definition()) == ElementTree.tostring(before)
    done = revert(guest, "one")
    assert done["steps"] == would["steps"]
    assert [line.rstrip() for line in done["diff"][0]["after"].splitlines()] == ["* one (external)"]


# What stands in the way

def test_a_snapshot_that_is_not_there(guests):
    guest = guests(started=False)
    take(guest, "one")
    assert 'there is no snapshot "two"; there are: one' in refusal(guest, name="two", state="reverted")


def test_a_snapshot_whose_data_was_written_to(guests):
    guest = guests(started=False)
    take(guest, "one")
    guest.hypervisor.run("qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 64k", guest.disk_paths[0])
    assert f'{guest.disk_paths[0]} was written to after snapshot "one"' in refusal(guest, name="one", state="reverted")


def test_a_snapshot_whose_data_is_gone(guests):
    guest = guests(started=False)
    take(guest, "one")
    guest.hypervisor.run("mv", guest.disk_paths[0], "/tmp/away.qcow2")
    assert "are not whole" in refusal(guest, name="one", state="reverted")


def test_files_that_are_there_already(guests):
    guest = guests(started=False)
    take(guest, "one")
    # Named after the second in which the revert begins.
    said = guest.hypervisor.sh("""
        now=$(date +%s)
        for second in $(seq 0 120); do
            file="$1.one-since-$(date -u -d "@$((now + second))" +%Y%m%d-%H%M%S)"
            echo "somebody's" >"$file"
        done
        echo "$1.one-since-"
    """, guest.disk_paths[0].removesuffix(".qcow2"))
    before = standing(guest)
    failed = guest.hypervisor.module("vm_snapshot", vm=guest.name, name="one", state="reverted")
    assert failed["failed"] and said in failed["msg"] and "is there already" in failed["msg"]
    assert standing(guest) == before


# By hand

@pytest.mark.parametrize("running", [False, True], ids=["off", "running"])
def test_a_snapshot_made_by_hand(guests, running):
    guest = guests(started=running)
    write_before(guest)
    guest.virsh("snapshot-create-as", "--name", "by hand", "--disk-only", "--atomic")
    write_after(guest)
    assert snapshot(guest, name="by hand", check_mode=True)["snapshot"]["managed"] is False
    revert(guest, "by hand")
    assert guest.state == ("running" if running else "shut off")
    is_as_before(guest)


@pytest.mark.parametrize("hypervisor", [LIBVIRT_11], indirect=True)
def test_after_libvirts_own_revert(guests):
    guest = guests(started=False)
    for name in ("one", "two"):
        guest.write("/vda/note", name)
        take(guest, name)
    guest.write("/vda/note", "now")
    guest.virsh("snapshot-revert", "--snapshotname", "one")
    assert guest.read("/vda/note") == "one"
    for name in ("two", "one"):
        revert(guest, name)
        assert guest.read("/vda/note") == name
    take(guest, "three")
    assert names(guest) == {"one", "two", "three"}
