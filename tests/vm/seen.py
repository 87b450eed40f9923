"""What there is of a guest and its snapshots, and the module run on it."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from hypervisor import IMAGES, STATE
from testbed.base import wait_for

PAUSED = "/run/bulkhead-paused"


def module(guest, **options):
    return guest.hypervisor.module("vm_snapshot", vm=guest.uuid, **options)


def run(guest, **options):
    result = module(guest, **options)
    assert not result.get("failed"), result["msg"]
    return result


# Marks

PLACE = "28M 64k"


def mark(guest, number):
    """Leave a number on its first disk: in a file where it runs, else in a place that its file system does not use."""
    if guest.state == "running":
        guest.write("/vda/mark", str(number))
    else:
        guest.hypervisor.said("qemu-io", "-f", guest.disk_formats["vda"], "-c", f"write -P {number + 1} {PLACE}",
                              guest.disk_files["vda"])


def marked(guest):
    """The number on its first disk."""
    if guest.state == "running":
        # It may be on its way up.
        guest.wait_running()
        return int(guest.read("/vda/mark"))
    said = guest.hypervisor.said("qemu-io", "-r", "-f", guest.disk_formats["vda"], "-c", f"read -v {PLACE}",
                                 guest.disk_files["vda"])
    return int(re.search(r"^\w+:\s+(\w\w)", said, re.MULTILINE)[1], 16) - 1


# What is there

def snapshots(guest):
    return set(guest.virsh("snapshot-list", "--name").split("\n")) - {""}


def left(guest):
    """What the module knows reverts to have left behind."""
    return json.loads(guest.hypervisor.read(f"{STATE}/vm_snapshot/{guest.uuid}/left.json") or "{}").get("abandoned", [])


def remembered(guest):
    """The module's files about the VM, without those that are always there."""
    directory = f"{STATE}/vm_snapshot/{guest.uuid}"
    return guest.hypervisor.files(directory) - {"lock", "left.json"} if guest.hypervisor.exists(directory) else set()


def seen(guest):
    """All that a change has to leave as it was if it is taken back."""
    hypervisor = guest.hypervisor
    return {
        "state": guest.state,
        "mark": marked(guest),
        "in use": guest.disk_files,
        "definition": guest.virsh("dumpxml", "--inactive"),
        "snapshots": snapshots(guest),
        "current": hypervisor.run("virsh", "snapshot-current", guest.uuid, "--name", check=False).stdout.strip(),
        "files": hypervisor.files(),
        "variables": hypervisor.said("sha256sum", guest.nvram) if guest.nvram and guest.state != "running" else None,
        "remembered": remembered(guest),
        "left": left(guest),
    }


def assert_tidy(guest):
    """Nothing is open, every file is one that something needs, and every record one of a snapshot."""
    kept = remembered(guest)
    assert not [file for file in kept if file.startswith(("in-progress", "closed"))]
    assert {file.split("/")[1] for file in kept if file.startswith("snapshots/")} == snapshots(guest)
    needed = {*left(guest)}.union(*map(guest.chain, guest.disk_files))
    for name in snapshots(guest):
        text = guest.virsh("snapshot-dumpxml", name)
        needed |= {file for file in re.findall(r"file='([^']+)'", text)}
    strays = {f"{IMAGES}/{file}" for file in guest.hypervisor.files()} - needed
    assert strays == set()


@contextmanager
def paused(guest, point, **options):
    """The module on its way, standing still at a point of crates/transaction/src/fault.rs until the block ends; its
    result is then what the call of what is given returns."""
    hypervisor = guest.hypervisor
    with ThreadPoolExecutor() as pool:
        done = pool.submit(module, guest, fault=f"pause@{point}", **options)
        try:
            wait_for(point, lambda: done.done() or hypervisor.exists(PAUSED), 60)
            assert not done.done(), done.result()
            yield done.result
        finally:
            hypervisor.run("rm", "-f", PAUSED)
