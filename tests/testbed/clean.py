"""Removes every trace of the testbed from the machine."""

import shutil
from pathlib import Path

from . import engine, host, images, pristine, registry, virtual
from .base import CACHE, run


def everything():
    if not CACHE.exists():
        return
    if engine.answers():
        # Killed, not asked to shut down: nothing of them is kept.
        for name in host.names():
            host.down(name)
    engine.down()
    if engine.ROOT.exists():
        run("ip", "link", "delete", engine.bridge(), check=False)
    cgroups = Path("/sys/fs/cgroup")
    for parent in [cgroups, *cgroups.iterdir()]:
        # Not empty where an engine with another cache still runs.
        run("rmdir", parent / engine.CGROUP, check=False)
    for line in run("findmnt", "-rno", "TARGET").stdout.splitlines():
        if line.startswith(f"{CACHE}/"):
            run("umount", "-l", line)
    # By name, as the directory may be the user's own, or a mount point.
    for ours in (engine.ROOT, images.KEY.parent, images.SCRATCH, pristine.STORE, virtual.STORE):
        shutil.rmtree(ours, ignore_errors=not ours.exists())
    registry.PROGRAM.unlink(missing_ok=True)
    for ours in (*CACHE.glob("cloud.*"), *CACHE.glob("*.lock")):
        ours.unlink()
    run("rmdir", CACHE, check=False)
