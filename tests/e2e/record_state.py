#!/usr/bin/env python3
"""Runs in a test host: which of the two clean states the engine's data is in, or what is half-moved.

`record-state PHASE` appends a line of JSON to /var/log/engine-states: docker.service calls it before
every start and after every stop. Without PHASE it prints the line."""

import json
import os
import re
import sys

DATA_ROOT = "/var/lib/docker"
LOG = "/var/log/engine-states"
ENGINE_PARTS = ("containers", "image", "network", "overlay2", "volumes")
# Host ids from here on are subordinate ones (subuid(5)); the workload's own end below.
FIRST_SUBORDINATE = 65536


def main():
    line = json.dumps({"phase": sys.argv[1] if len(sys.argv) > 1 else None, **state()})
    if len(sys.argv) == 1:
        print(line)
        return
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(f"{line}\n")
        log.flush()
        os.fsync(log.fileno())


def state():
    """`state` is the one that every other part agrees on, else `half-moved`."""
    roots = {DATA_ROOT: "plain", **{os.path.join(DATA_ROOT, name): "remapped" for name in listing(DATA_ROOT)
                                    if re.fullmatch(r"\d+\.\d+", name)}}
    # A link at an old place leads to what is in use.
    filled = {path: world for path, world in roots.items()
              if any(listing(os.path.join(path, part)) for part in ENGINE_PARTS
                     if not os.path.islink(os.path.join(path, part)))}
    found = {"root": set(filled.values()), "config": {config()}, "ids": set(), "engine": set(), "paths": set()}
    for root in filled:
        found["ids"] |= set(content_ids(root))
        found["engine"] |= set(engine_ids(root))
        found["paths"] |= set(paths(root))
    worlds = set().union(*found.values())
    return {"state": worlds.pop() if len(worlds) == 1 else "half-moved",
            **{what: sorted(worlds) for what, worlds in found.items()}}


def listing(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def config():
    try:
        with open("/etc/docker/daemon.json", encoding="utf-8") as file:
            return "remapped" if json.load(file).get("userns-remap") else "plain"
    except FileNotFoundError:
        return "plain"
    except ValueError:
        return "daemon.json is torn"


def world(number):
    return "remapped" if number >= FIRST_SUBORDINATE else "plain"


def content_ids(root):
    """Of every file and directory that belongs to containers."""
    trees = [os.path.join(root, "overlay2", name, "diff") for name in listing(os.path.join(root, "overlay2"))]
    trees += [os.path.join(root, "volumes", name, "_data") for name in listing(os.path.join(root, "volumes"))]
    for tree in filter(os.path.isdir, trees):
        for directory, directories, files in os.walk(tree):
            for path in [directory, *(os.path.join(directory, name) for name in directories + files)]:
                info = os.lstat(path)
                yield world(info.st_uid)
                yield world(info.st_gid)


def engine_ids(root):
    """Of the directories that the engine shows to containers' group, and to no one else."""
    for part in ("overlay2", "containers"):
        for name in listing(os.path.join(root, part)):
            info = os.lstat(os.path.join(root, part, name))
            if name != "l":
                yield world(info.st_gid) if info.st_uid == 0 else f"{part}/{name} is owned by {info.st_uid}"


def paths(root):
    """Of the paths in the containers' configurations."""
    for name in listing(os.path.join(root, "containers")):
        with open(os.path.join(root, "containers", name, "config.v2.json"), encoding="utf-8") as file:
            for path in re.findall(rf'"({DATA_ROOT}/[^"]*)"', file.read()):
                yield "remapped" if re.match(rf"{DATA_ROOT}/\d+\.\d+/", path) else "plain"


main()
