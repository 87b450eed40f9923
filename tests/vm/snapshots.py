"""What the tests ask of the module, and of the snapshots of a guest."""

import json

import pytest

from hypervisor import IMAGES, NVRAM, STATE


def thorough(*values):
    """A parameter of the long runs: the short one has another that differs little."""
    return pytest.param(*values, marks=pytest.mark.soak)


def snapshot(guest, **options):
    """What the module says of a guest; it has to succeed."""
    result = guest.hypervisor.module("vm_snapshot", vm=guest.name, **options)
    assert not result.get("failed"), result
    return result


def take(guest, name, **options):
    result = snapshot(guest, name=name, **options)
    assert result["changed"]
    return result


def revert(guest, name):
    """Bring the guest back, and wait until it answers if it runs then."""
    result = snapshot(guest, name=name, state="reverted")
    assert result["changed"]
    if guest.state == "running":
        guest.wait_running()
    return result


def remove(guest, name, **options):
    result = snapshot(guest, name=name, state="absent", **options)
    assert result["changed"] and result["removed"] == [name]
    return result


def refusal(guest, **options):
    """What the module says when it refuses, in check mode and for real, and leaves everything as it is."""
    before = standing(guest)
    said = [guest.hypervisor.module("vm_snapshot", vm=guest.name, check_mode=check, **options)
            for check in (True, False)]
    assert all(result.get("failed") for result in said), said
    assert said[0]["msg"] == said[1]["msg"]
    assert said[0]["msg"].startswith("refused, nothing was changed")
    assert standing(guest) == before
    return said[0]["msg"]


def standing(guest):
    """Which files there are, and what libvirt and the module remember of the guest and its snapshots."""
    return guest.hypervisor.sh(f"""
        find {IMAGES} {NVRAM} -type f | sort
        [ ! -d {STATE} ] || find {STATE} -type f ! -name lock | sort
        virsh dumpxml --security-info --domain "$1"
        virsh dumpxml --security-info --inactive --domain "$1"
        virsh snapshot-list --name --domain "$1" | while IFS= read -r name; do
            [ -z "$name" ] || virsh snapshot-dumpxml --security-info --domain "$1" --snapshotname "$name"
        done
        virsh snapshot-current --name --domain "$1" || echo none
    """, guest.uuid)


def names(guest):
    """The snapshots that libvirt lists."""
    return set(guest.virsh("snapshot-list", "--name").splitlines())


def current(guest):
    return guest.virsh("snapshot-current", "--name")


def held(guest, name, path):
    """The text of a file in an external snapshot, read from the image that holds its data."""
    _, target, inner = path.split("/", 2)
    found = snapshot(guest, name=name, check_mode=True)
    assert not found["changed"], f"there is no {name}"
    disk = next(disk for disk in found["snapshot"]["disks"] if disk["target"] == target)
    return guest.read_image(disk["file"], disk["format"], inner)


def images(guest):
    """The names of the images beside the guest's first disk."""
    return guest.hypervisor.files(guest.directory)


def check_images(guest):
    """`qemu-img check` finds nothing wrong with any qcow2 image of the guest, which is shut off."""
    for target in guest.disk_files:
        for file in guest.chain(target):
            found = json.loads(guest.hypervisor.said("qemu-img", "info", "--output=json", file))
            if found["format"] == "qcow2":
                guest.hypervisor.run("qemu-img", "check", "-q", file)
