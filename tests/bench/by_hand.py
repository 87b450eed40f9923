"""Runs in a test host: what the earlier guide's steps come to when nothing may be lost of volumes and images. Saves the
images, stops all, copies the volumes into a fresh remapped root, gives their files the mapped owners, loads the images
and creates networks and containers again. What was in the containers' own layers is gone, as are their ids and logs.

Read from standard input as JSON: the commands that create `networks`, `volumes` and `containers`, `groups` of
containers to start, and the volumes that are `kept` as they are, for a container in the host's namespace."""

import json
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

ROOT, START, COUNT = "/var/lib/docker", 165536, 65536
NEW = f"{ROOT}/{START}.{START}"
SAVED = "/var/tmp/images.tar"


def main():
    commands = json.load(sys.stdin)
    images = said("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
    run("docker", "save", "-o", SAVED, *images)
    run("useradd", "-r", "-s", "/usr/sbin/nologin", "dockremap")
    for file in ("/etc/subuid", "/etc/subgid"):
        with open(file, "a", encoding="ascii") as lines:
            lines.write(f"dockremap:{START}:{COUNT}\n")
    run("docker", "stop", *said("docker", "ps", "-q"))
    run("systemctl", "stop", "docker.socket", "docker.service")
    Path("/etc/docker").mkdir(exist_ok=True)
    Path("/etc/docker/daemon.json").write_text('{"userns-remap": "default"}\n', encoding="ascii")
    run("systemctl", "start", "docker.socket", "docker.service")
    for command in commands["volumes"]:
        run(*command)
    for volume in said("docker", "volume", "ls", "-q"):
        run("cp", "-a", f"{ROOT}/volumes/{volume}/_data/.", f"{NEW}/volumes/{volume}/_data")
        if volume not in commands["kept"]:
            shift(f"{NEW}/volumes/{volume}/_data")
    run("docker", "load", "-i", SAVED)
    for command in commands["networks"] + commands["containers"]:
        run(*command)
    for group in commands["groups"]:
        subprocess.run(["xargs", "-n1", "-P4", "docker", "start"], input="\n".join(group), text=True, check=True,
                       stdout=subprocess.DEVNULL)


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def said(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def shift(top):
    """Every owner by the map. What a change of owner takes, and the ids in ACLs, have to be put back."""
    seen = set()
    for directory, directories, files in os.walk(top):
        for path in [directory, *(os.path.join(directory, name) for name in directories + files)]:
            info = os.lstat(path)
            if info.st_ino in seen:
                continue
            seen.add(info.st_ino)
            values = {name: os.getxattr(path, name, follow_symlinks=False)
                      for name in os.listxattr(path, follow_symlinks=False)}
            os.lchown(path, info.st_uid + START, info.st_gid + START)
            if not stat.S_ISLNK(info.st_mode):
                os.chmod(path, stat.S_IMODE(info.st_mode))
            for name, value in values.items():
                os.setxattr(path, name, mapped(value) if "acl" in name else value, follow_symlinks=False)


def mapped(acl):
    """linux/posix_acl_xattr.h: tags 2 and 8 name a user and a group."""
    entries = [struct.unpack_from("<HHI", acl, offset) for offset in range(4, len(acl), 8)]
    return acl[:4] + b"".join(struct.pack("<HHI", tag, permissions, number + START if tag in (2, 8) else number)
                              for tag, permissions, number in entries)


main()
