"""A file system of its own kind on a loop device, for the length of a block."""

import subprocess
import time
from contextlib import contextmanager


@contextmanager
def loop_device(scratch, kind, size=32 << 30):
    """Mounts a new one below `scratch` and yields where. The image is sparse: it takes what is written."""
    image, point = scratch / f"{kind}.img", scratch / kind
    point.mkdir()
    with open(image, "wb") as file:
        file.truncate(size)
    try:
        subprocess.run([f"mkfs.{kind}", "-q", image], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(["mount", "-o", "loop", image, point], check=True)
        try:
            yield point
        finally:
            unmount(point)
    finally:
        image.unlink()


def unmount(point):
    """What a program left to clean up behind it may take a moment."""
    for _ in range(50):
        if subprocess.run(["umount", point], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return
        time.sleep(0.2)
    subprocess.run(["umount", point], check=True)
