"""A workload as large as a busy host's: 40 containers in 10 networks, 30 volumes, and 200,000 files of every owner and
kind in volumes, layers and an image. Its containers only wait, so that whatever changes on the disk was changed from
outside.

Run as a program inside a host (standard library only), `big.py COUNT DIR…` fills directories with that many files."""

import os
import shlex
import socket
import struct
import sys
from contextlib import chdir
from pathlib import Path

FILES = 200_000
NETWORKS, VOLUMES = 10, 30
IMAGE = "bulkhead/many"
RESTART = ("no", "always", "unless-stopped", "on-failure:3")
# One line of log at its first start, none from then on. As process 1 a shell ignores SIGTERM unless it is told.
WAIT = ["sh", "-c", "[ -e /started ] || { echo started; touch /started; }; trap exit TERM; sleep 1000000 & wait"]
# What stands on others, and so starts after them.
SIDE = {
    "side0": ["--network", "container:web0"],
    "side1": ["--network", "network1", "--link", "web1:peer"],
    "side2": ["--network", "network2", "--volumes-from", "web2"],
    "side3": ["--network", "container:web1", "--restart", "always"],
}
# It stays in the host's user namespace, and shares no volume.
HOST_MODE = {"onhost": ["--userns", "host", "--network", "host", "--restart", "always",
                        "-v", f"volume{VOLUMES - 1}:/data"]}


def containers():
    """name → arguments of `docker create`, each after what it stands on; those called `off…` do not run."""
    found = {f"{'web' if number < 30 else 'off'}{number}": web(number) for number in range(35)} | SIDE | HOST_MODE
    images = ("bulkhead/busybox", IMAGE)
    return {name: [*options, "--label", f"number={at}", images[at % 2], *WAIT]
            for at, (name, options) in enumerate(found.items())}


def web(number):
    options = ["--network", f"network{number % NETWORKS}", "-v", f"volume{number % (VOLUMES - 1)}:/data",
               "--restart", RESTART[number % len(RESTART)]]
    if number % 6 == 0:
        options += ["--health-cmd", "true", "--health-interval", "2s"]
    if number % 5 == 2:
        options += ["--ip", address(number)]
    if number % 5 == 3:
        options += ["-p", f"{8100 + number}:80"]
    if number % 10 == 4:
        options += ["-v", "/anonymous"]
    return options


def address(number):
    """A container's own address in its network, where it was given one."""
    return f"172.30.{number % NETWORKS}.{100 + number}"


def networks():
    """The commands that create them."""
    # The engine tells of a gateway that was not given only after its next start.
    return [["docker", "network", "create", "--subnet", f"172.30.{number}.0/24", "--gateway", f"172.30.{number}.1",
             f"network{number}"] for number in range(NETWORKS)]


def volumes():
    """The commands that create them."""
    return [["docker", "volume", "create", "--label", f"number={number}", f"volume{number}"] for number in range(VOLUMES)]


def create():
    """The commands that create the containers."""
    return [["docker", "create", "--name", name, *arguments] for name, arguments in containers().items()]


def up(name, files=FILES):
    """Set the workload up on a fresh host, whose own containers, volumes and networks go."""
    from . import host  # this file also runs alone, inside the host

    def sh(script):
        return host.exec_(name, "sh", "-eu", "-c", script).stdout

    sh("docker ps -aq | xargs docker rm -fv; docker volume ls -q | xargs docker volume rm; docker network rm appnet")
    many = sh("docker create --name many bulkhead/busybox >/dev/null; docker inspect -f '{{.GraphDriver.Data.UpperDir}}' many")
    fill(name, files // 10, many.split())
    sh(f"docker commit many {IMAGE}; docker rm many")
    sh("\n".join(map(shlex.join, networks() + volumes() + create())))
    places = sh("docker volume ls -q | xargs docker volume inspect -f '{{.Mountpoint}}'; "
                "docker ps -aq | xargs docker inspect -f '{{.GraphDriver.Data.UpperDir}}'")
    fill(name, files - files // 10, places.split())
    start(name)


def fill(name, count, places):
    from . import host

    host.python(name, __file__, count, *places)


def running():
    """The containers that run, in two groups: the second stands on the first."""
    names = [name for name in containers() if not name.startswith("off")]
    return [name for name in names if name not in SIDE], list(SIDE)


def start(name):
    """Start what shall run."""
    from . import host

    for group in running():
        host.exec_(name, "xargs", "-n1", "-P4", "docker", "start", input="\n".join(group))


# Inside the host


def put_files(count, places):
    """That many entries, evenly into the directories by the hundred; the same at every call."""
    share = -(-count // (len(places) * 100)) * 100
    for at, place in enumerate(places):
        top = Path(place, "many")
        top.mkdir()
        for first in range(0, min(share, count - at * share), 100):
            directory = top / str(first // 100)
            directory.mkdir()
            with chdir(directory):
                for number in range(at * share + first, at * share + min(first + 100, share)):
                    put(number)


def put(number):
    """One entry in the working directory: its kind, owner, mode and attributes are its number's."""
    name, kind = str(number), number % 100
    if kind == 1:
        os.symlink(f"../nowhere/{name}", name)
    elif kind == 2:
        os.mkfifo(name)
    elif kind == 3:
        os.mkdir(name, 0o2775)
    elif kind == 4:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
    elif kind in (5, 6):
        os.link(str(number - kind), name)
        return
    else:
        with open(name, "w", encoding="ascii") as file:
            file.write(name if kind % 2 else "")
    # Every uid and gid that a container can have.
    os.lchown(name, number * 7919 % 65536, number * 104729 % 65536)
    if kind == 0:
        os.chmod(name, 0o6751)
    elif kind == 3:
        os.setxattr(name, "system.posix_acl_default", acl(number))
    elif kind in (7, 8, 9):
        os.setxattr(name, "system.posix_acl_access", acl(number))
    elif kind in (10, 11):
        # Version 2 of linux/capability.h: CAP_NET_RAW permitted and effective.
        os.setxattr(name, "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))
    elif kind == 12:
        os.setxattr(name, "user.note", b"kept")


def acl(number):
    """linux/posix_acl_xattr.h: for one user and one group beside the owners."""
    nobody = 2**32 - 1
    entries = [(1, 6, nobody), (2, 4, number % 65536), (4, 4, nobody), (8, 6, number * 31 % 65536), (16, 6, nobody),
               (32, 4, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


if __name__ == "__main__":
    put_files(int(sys.argv[1]), sys.argv[2:])
