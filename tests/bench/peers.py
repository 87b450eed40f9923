"""What is measured, side by side: how each is called, and what shows that it did its work."""

import json
import subprocess
from dataclasses import dataclass

START, COUNT = 100_000, 65_536
MAP = f"0:{START}:{COUNT}"
STORAGE_MAP = [{"container_id": 0, "host_id": START, "size": COUNT}]


@dataclass(frozen=True)
class Peer:
    name: str
    command: list  # {tree} and {journal} in it are put in, {ours} is our executable
    before: int = 0  # who owns the tree before and after
    after: int = START
    stdin: str = ""


CHOWN = "GNU `chown -hR`"
SURVEY, SHIFT, AGAIN, UNDO = "survey only", "shift", "shift, nothing to do", "undo"
PEERS = [
    Peer("`find -printf`, a bare walk", ["find", "{tree}", "-printf", "%U %G"], after=0),
    Peer(CHOWN, ["chown", "-hR", f"{START}:{START}", "{tree}"]),
    Peer("containers/storage", ["bash", "-c", "exec -a storage-chown-by-maps podman {tree}"],
         stdin=json.dumps([[], [], STORAGE_MAP, STORAGE_MAP])),
    Peer("fuidshift", ["fuidshift", "{tree}", f"b:0:{START}:{COUNT}"]),
    Peer(SURVEY, ["{ours}", "survey", MAP, "{tree}"], after=0),
    # These three follow each other on one tree, with one journal.
    Peer(SHIFT, ["{ours}", "shift", MAP, "{journal}", "{tree}"]),
    Peer(AGAIN, ["{ours}", "shift", MAP, "{journal}", "{tree}"], before=START),
    Peer(UNDO, ["{ours}", "undo", "{journal}"], before=START, after=0),
]


def versions():
    packages = subprocess.run(["dpkg-query", "-Wf", "${Package} ${Version}\n", "coreutils", "lxd-tools", "podman"],
                              check=True, capture_output=True, text=True)
    return ", ".join(packages.stdout.splitlines())
