"""A VM on its way to another host is left alone at both ends, and has its snapshots again once it is there or back."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from faults import REFUSED
from guest import Guest
from hypervisor import Hypervisor
from seen import left
from snapshots import names, refusal, remove, revert, snapshot, take
from testbed import host
from testbed.base import wait_for
from testbed.fault import fault


@pytest.fixture
def target(hypervisor):
    """Another host like it, which takes VMs that migrate."""
    name = f"{hypervisor.name}-target"
    try:
        made = Hypervisor(name, hypervisor.image)
        made.sh("""
            echo 'auth_tcp = "none"' >>/etc/libvirt/libvirtd.conf
            systemctl stop libvirtd.service
            systemctl start libvirtd-tcp.socket
        """)
        yield made
    finally:
        host.down(name)


def migrate(guest, target, *options, **kwargs):
    """Bring the running guest there with its only disk; two minutes have to do."""
    address = host.address(target.name)
    target.run("qemu-img", "create", "-q", "-f", "qcow2", guest.disk_files["vda"], f"{guest.megabytes}M")
    return guest.hypervisor.run(
        "timeout", "120", "virsh", "migrate", "--live", "--copy-storage-all", *options, "--domain", guest.uuid,
        f"qemu+tcp://{address}/system", "--migrateuri", f"tcp://{address}", **kwargs)


@contextmanager
def migrating(guest, target):
    """It is on its way, which is called off at the end of the block, if not before; what is given is the way's end."""
    with ThreadPoolExecutor() as pool:
        done = pool.submit(migrate, guest, target, "--bandwidth", "1", check=False)
        try:
            wait_for("the migration", lambda: done.done() or "Outgoing migration" in guest.virsh("domjobinfo"), 60)
            yield done
        finally:
            guest.hypervisor.run("virsh", "domjobabort", "--domain", guest.uuid, check=False)


@fault("it migrates, to another host or from one", REFUSED,
       ["a job is at work on it (Outgoing migration)", "a job is at work on it (Incoming migration)"])
def test_a_vm_that_migrates(guests, target, reads):
    leaving, arriving = reads
    guest = guests(started=False)
    # libvirt migrates no VM that has a snapshot; this one has what a revert to one left behind.
    take(guest, "one")
    revert(guest, "one")
    remove(guest, "one")
    assert left(guest)
    guest.start()
    guest.write("/vda/note", "before")
    there = Guest(target, guest.name, uuid=guest.uuid)

    with migrating(guest, target) as migration:
        for options in ({"name": "two"}, {"state": "absent", "abandoned": "remove"}):
            assert leaving in refusal(guest, **options)
        assert "there is no snapshot" in refusal(guest, name="one", state="reverted")
        assert arriving in refusal(there, name="two")
        found, = target.module("vm_snapshot_info")["vms"]
        assert arriving in found["can"]["external"]["reason"]
        assert not migration.done(), migration.result()
    assert "canceled by client" in migration.result().stderr

    take(guest, "two")
    guest.write("/vda/note", "after")
    revert(guest, "two")
    assert guest.read("/vda/note") == "before"
    remove(guest, "two", abandoned="remove")

    migrate(guest, target, "--persistent", "--undefinesource")
    take(there, "three")
    there.write("/vda/note", "after")
    revert(there, "three")
    assert there.read("/vda/note") == "before" and names(there) == {"three"}
