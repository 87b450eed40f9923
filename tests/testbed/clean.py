"""Removes every trace of the testbed from the machine."""

import shutil

from . import engine, host
from .base import CACHE, run


def everything():
    if not CACHE.exists():
        return
    if engine.answers():
        # Killed, not asked to shut down: nothing of them is kept.
        for name in host.names():
            host.down(name)
    engine.down()
    run("ip", "link", "delete", engine.BRIDGE, check=False)
    for line in run("findmnt", "-rno", "TARGET").stdout.splitlines():
        if line.startswith(f"{CACHE}/"):
            run("umount", "-l", line)
    shutil.rmtree(CACHE)
