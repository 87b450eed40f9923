#!/usr/bin/env python3
"""Runs in a test host: which clean state the engine's data is in, or what is half-moved.

`record-state PHASE` appends a line of JSON to /var/log/engine-states: docker.service calls it before
every start and after every stop. Without PHASE it prints the line."""

import functools
import json
import os
import pwd
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
    """`state` is the one that every other part agrees on, else `half-moved`; `user` is whose ids are in use.

    The parts are told as the names of the accounts that the ids belong to."""
    roots = {DATA_ROOT: "plain", **{os.path.join(DATA_ROOT, name): root_world(name) for name in listing(DATA_ROOT)
                                    if re.fullmatch(r"\d+\.\d+", name)}}
    filled = {path: world for path, world in roots.items() if parts(path)}
    found = {"root": set(), "config": {config()}, "ids": set(), "engine": set(), "paths": set()}
    if len(filled) > 1 and parts(DATA_ROOT) == ENGINE_PARTS:
        # A copy is in the making, or was made: the plain root stays whole, the engine sees the one configured.
        if any(set(look(DATA_ROOT)) != {"plain"} for look in LOOKS.values()):
            return {"state": "half-moved", "kept": {what: sorted(set(look(DATA_ROOT))) for what, look in LOOKS.items()}}
        filled = {path: world for path, world in filled.items() if world in found["config"]}
    found["root"] |= set(filled.values())
    for root in filled:
        for what, look in LOOKS.items():
            found[what] |= set(look(root))
    worlds = set().union(*found.values())
    user = worlds.pop() if len(worlds) == 1 else None
    return {"state": "half-moved" if user is None else "plain" if user == "plain" else "remapped", "user": user,
            **{what: sorted(worlds) for what, worlds in found.items()}}


def parts(root):
    """Which of the engine's parts hold anything; a link at an old place leads to what is in use."""
    paths = {part: os.path.join(root, part) for part in ENGINE_PARTS}
    return tuple(part for part, path in paths.items() if listing(path) and not os.path.islink(path))


def listing(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def config():
    try:
        with open("/etc/docker/daemon.json", encoding="utf-8") as file:
            value = json.load(file).get("userns-remap", "").split(":")[0]
            return {"": "plain", "default": "dockremap"}.get(value, name_of(value))
    except FileNotFoundError:
        return "plain"
    except ValueError:
        return "daemon.json is torn"


def name_of(user):
    """The login name of what may be a uid."""
    try:
        return pwd.getpwuid(int(user)).pw_name
    except (ValueError, KeyError):
        return user


@functools.cache
def world(number, kind):
    """Whose subordinate id it is, by /etc/subuid or /etc/subgid."""
    if number < FIRST_SUBORDINATE:
        return "plain"
    with open(f"/etc/sub{kind}", encoding="utf-8") as file:
        for line in file:
            owner, start, count = line.strip().split(":")
            if int(start) <= number < int(start) + int(count):
                return name_of(owner)
    return f"{kind} {number} is nobody's"


def root_world(name):
    uid, gid = map(int, name.split("."))
    worlds = {world(uid, "uid"), world(gid, "gid")}
    return worlds.pop() if len(worlds) == 1 else f"{name} is of two accounts"


def content_ids(root):
    """Of every file and directory that belongs to containers."""
    trees = [os.path.join(root, "overlay2", name, "diff") for name in listing(os.path.join(root, "overlay2"))]
    trees += [os.path.join(root, "volumes", name, "_data") for name in listing(os.path.join(root, "volumes"))]
    for tree in filter(os.path.isdir, trees):
        for directory, directories, files in os.walk(tree):
            for path in [directory, *(os.path.join(directory, name) for name in directories + files)]:
                # A remapped engine makes it as host root, too.
                if path.endswith("-init/diff/etc/mtab"):
                    continue
                info = os.lstat(path)
                yield world(info.st_uid, "uid")
                yield world(info.st_gid, "gid")


def engine_ids(root):
    """Of the directories that the engine shows to containers' group, and to no one else."""
    for part in ("overlay2", "containers"):
        for name in listing(os.path.join(root, part)):
            info = os.lstat(os.path.join(root, part, name))
            if name != "l":
                yield world(info.st_gid, "gid") if info.st_uid == 0 else f"{part}/{name} is owned by {info.st_uid}"


def paths(root):
    """Of the paths in the containers' configurations."""
    for name in listing(os.path.join(root, "containers")):
        with open(os.path.join(root, "containers", name, "config.v2.json"), encoding="utf-8") as file:
            for path in re.findall(rf'"({DATA_ROOT}/[^"]*)"', file.read()):
                inside = re.match(rf"{DATA_ROOT}/(\d+\.\d+)/", path)
                yield root_world(inside[1]) if inside else "plain"


LOOKS = {"ids": content_ids, "engine": engine_ids, "paths": paths}
main()
