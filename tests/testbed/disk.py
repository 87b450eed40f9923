"""A disk of its own in a host: a file of this machine, by a loop device."""

from contextlib import contextmanager

from . import host
from .base import run
from .images import SCRATCH


@contextmanager
def mounted(name, point, kind, megabytes):
    """A new file system of `kind` at `point` in the host, for the length of the block; a reboot takes it away."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    image = SCRATCH / f"disk-{name}.img"
    image.unlink(missing_ok=True)
    run("truncate", "--size", f"{megabytes}M", image)
    run(f"mkfs.{kind}", "-q", image)
    device = run("losetup", "--find", "--show", image).stdout.strip()
    number = device.removeprefix("/dev/loop")
    try:
        # A host may not open devices of the machine itself.
        run("nsenter", "--mount", "--target", host.inspect(name)["State"]["Pid"], "sh", "-euc",
            f"rm -f /dev/disk; umask 077; mknod /dev/disk b 7 {number}; mkdir -p {point}; mount /dev/disk {point}")
        try:
            yield
        finally:
            host.exec_(name, "umount", point, check=False)
    finally:
        run("losetup", "--detach", device)
        image.unlink()
