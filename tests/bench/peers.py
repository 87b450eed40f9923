"""What is measured, side by side: how each is called, and what shows that it did its work."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass

START, COUNT = 100_000, 65_536
# systemd-nspawn's ranges begin at multiples of their size.
NSPAWN_START = 2 * COUNT
MAP = f"0:{START}:{COUNT}"
STORAGE_MAP = [{"container_id": 0, "host_id": START, "size": COUNT}]


@dataclass(frozen=True)
class Peer:
    name: str
    command: list  # {tree}, {machine} around it and {journal} in it are put in, {ours} is our executable
    before: int = 0  # who owns the tree before and after
    after: int = START
    stdin: str = ""


CHOWN = "GNU `chown -hR`"
SURVEY, SHIFT, AGAIN, UNDO = "survey only", "shift", "shift, nothing to do", "undo"
ROOT = "shift, the mark on the root trusted"
NSPAWN = Peer("systemd-nspawn", ["systemd-nspawn", "--quiet", "--keep-unit", "--register=no", "--directory={machine}",
                                 f"--private-users={NSPAWN_START}:{COUNT}", "--private-users-ownership=chown",
                                 "/rechown", "undo", "/nothing"], after=NSPAWN_START)
PEERS = [
    Peer("`find -printf`, a bare walk", ["find", "{tree}", "-printf", "%U %G"], after=0),
    Peer(CHOWN, ["chown", "-hR", f"{START}:{START}", "{tree}"]),
    Peer("containers/storage", ["bash", "-c", "exec -a storage-chown-by-maps podman {tree}"],
         stdin=json.dumps([[], [], STORAGE_MAP, STORAGE_MAP])),
    Peer("fuidshift", ["fuidshift", "{tree}", f"b:0:{START}:{COUNT}"]),
    NSPAWN,
    Peer(SURVEY, ["{ours}", "survey", MAP, "{tree}"], after=0),
    # Those of the strategy `idmap` come here: no inode changes, so before and after are root's.
    # The rest follow each other on one tree, with one journal.
    Peer(SHIFT, ["{ours}", "shift", MAP, "{journal}", "{tree}"]),
    Peer(AGAIN, ["{ours}", "shift", MAP, "{journal}", "{tree}"], before=START),
    Peer(ROOT, ["{ours}", "done", MAP, "{journal}", "{tree}"], before=START),
    Peer(UNDO, ["{ours}", "undo", "{journal}"], before=START, after=0),
]


def furnish(machine, ours):
    """As much of a system as systemd-nspawn asks for, to run something that ends at once."""
    for place in ("dev", "etc", "proc", "run", "sys", "tmp", "usr/lib"):
        os.makedirs(f"{machine}/{place}")
    shutil.copy("/usr/lib/os-release", f"{machine}/usr/lib/os-release")
    shutil.copy(ours, f"{machine}/rechown")


def why_not(peer, names):
    """What a peer says when it cannot run on this machine; None when it can."""
    try:
        done = subprocess.run([word.format(**names) for word in peer.command], capture_output=True, text=True)
    except FileNotFoundError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip()


def versions():
    names = ["coreutils", "lxd-tools", "podman", "systemd-container"]
    packages = subprocess.run(["dpkg-query", "-Wf", "${Package} ${Version}\n", *names], capture_output=True, text=True)
    return ", ".join(packages.stdout.splitlines())
