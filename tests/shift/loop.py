"""A file system of its own kind on a loop device, for the length of a block."""

import subprocess
from contextlib import contextmanager


@contextmanager
def loop_device(scratch, kind, size=2 << 30):
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
            subprocess.run(["umount", point], check=True)
    finally:
        image.unlink()
