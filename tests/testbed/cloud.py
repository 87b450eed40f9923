"""A small Debian cloud image, as a disk that a virtual machine boots from: BIOS, one ext4, cloud-init, SSH.

Nothing is mounted for it: the file system is filled as it is made, and the boot loader put before it."""

import struct
import tempfile

from . import images
from .base import CACHE, lock, run

PACKAGES = (
    "cloud-guest-utils cloud-init dbus e2fsprogs fdisk grub-pc-bin iproute2 kmod linux-image-cloud-amd64 openssh-server "
    "python3 sudo systemd systemd-resolved systemd-sysv udev"
).split()
ROOT = images.DebianRoot("bookworm", tuple(PACKAGES), "cloud")
SIZE = 1 << 30
SECTOR = 512
START = 1 << 20  # of the partition, in bytes; the boot loader lies before it
LINUX = 0x83


def disk():
    """The raw image, made where it is not there as the recipe has it."""
    image, made_by = CACHE / "cloud.img", CACHE / "cloud.recipe"
    with lock("image-cloud"):
        want = images.recipe(ROOT)
        if not image.exists() or not made_by.exists() or made_by.read_text() != want:
            made_by.unlink(missing_ok=True)
            make(image)
            made_by.write_text(want)
    return image


def make(image):
    with images.bootstrap(ROOT) as tar, images.scratch(tempfile.TemporaryDirectory) as tree:
        tar.seek(0)
        run("tar", "-C", tree, "--numeric-owner", "--xattrs", "-x", stdin=tar)
        image.unlink(missing_ok=True)
        run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", tree, "-E", f"offset={START}", image, SIZE - START >> 10)
        with open(image, "r+b") as file:
            file.truncate(SIZE)
            write_boot_loader(file, f"{tree}/usr/lib/grub/i386-pc/boot.img", f"{tree}/boot/grub/core.img")


def write_boot_loader(file, boot, core):
    """GRUB's first sector with the partition table, and after it what that sector loads."""
    with open(boot, "rb") as code:
        first = bytearray(code.read(SECTOR))
    # No cylinders: what stands for them is past any that there could be.
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", LINUX, b"\xfe\xff\xff",
                        START // SECTOR, (SIZE - START) // SECTOR)
    first[446:510] = entry.ljust(64, b"\0")
    with open(core, "rb") as rest:
        loader = rest.read()
    assert len(loader) <= START - SECTOR, f"{core} does not fit before the partition"
    file.seek(0)
    file.write(bytes(first) + loader)
