"""Everyone who re-owns trees: how each is called, there and, where it can, back."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from containerd import Containerd
from programs import ENVIRONMENT, OURS, Map, ours, run

# systemd-nspawn takes ranges that begin at multiples of their size, and only of this size.
START, SIZE = 524_288, 65_536
PLAIN = Map(((0, START, SIZE),), ((0, START, SIZE),))


class CannotSay(Exception):
    """The peer has no words for such a map."""


@dataclass
class Done:
    """What ran, where the tree is then, and what matched its path meanwhile."""

    tree: Path
    status: int
    output: str
    traced: str


class Peer:
    """`shift` runs it on a tree. `back` and `dry_run` are None where it has no such thing."""

    package = ""
    program = ""
    maps = True  # or else it makes all owners the same one
    copies = False  # what it shifts is a snapshot of its own
    back = dry_run = None

    def __init__(self, scratch):
        self.scratch = scratch / self.key
        self.scratch.mkdir()

    @property
    def key(self):
        return type(self).__name__.lower()

    def missing(self):
        return None if shutil.which(self.program, path=ENVIRONMENT["PATH"]) else f"there is no {self.program}"

    def version(self):
        return subprocess.run(["dpkg-query", "-Wf", "${Version}", self.package], capture_output=True,
                              text=True).stdout or "of another packager"

    def owner(self, number):
        """What a shift by the plain map makes of an id."""
        return START + number if self.maps else START

    def place(self, tree):
        """What to name, of where a tree is, to this peer."""
        return tree

    def shift(self, tree, map=PLAIN, under=(), binds=()):
        return self.run(tree, self.command(tree, map), under, binds)

    def run(self, tree, command, under=(), binds=(), stdin=""):
        ran = run([*under, *command], *binds, stdin=stdin)
        return Done(tree, ran.status, ran.output, re.escape(str(tree)))

    def close(self):
        """Ends what still runs."""


class Chown(Peer):
    name, package, program, maps = "GNU chown -hR", "coreutils", "chown", False

    def command(self, tree, _map):
        return ["chown", "-hR", f"{START}:{START}", tree]


class Fuidshift(Peer):
    name, package, program = "fuidshift", "lxd-tools", "fuidshift"

    def command(self, tree, map):
        return ["fuidshift", tree, *map.words()]

    def back(self, tree):
        return self.run(tree, ["fuidshift", "-r", tree, *PLAIN.words()])

    def dry_run(self, tree):
        return self.run(tree, ["fuidshift", "-t", tree, *PLAIN.words()])


class Storage(Peer):
    """The program within podman that containers/storage starts anew for a layer, under this name."""

    name, package, program = "containers/storage", "podman", "podman"

    def command(self, tree, _map):
        return ["bash", "-c", 'exec -a storage-chown-by-maps podman "$0"', tree]

    def shift(self, tree, map=PLAIN, under=(), binds=()):
        to = [self.side(map.users), self.side(map.groups)]
        return self.run(tree, self.command(tree, map), under, binds, json.dumps([[], [], *to]))

    def back(self, tree):
        to = [self.side(PLAIN.users), self.side(PLAIN.groups)]
        return self.run(tree, self.command(tree, PLAIN), stdin=json.dumps([*to, [], []]))

    @staticmethod
    def side(extents):
        return [{"container_id": first, "host_id": to, "size": size} for first, to, size in extents]


class Nspawn(Peer):
    """Shifts before it starts the container; what becomes of that does not matter here."""

    name, package, program = "systemd-nspawn", "systemd-container", "systemd-nspawn"

    def place(self, tree):
        return tree.parent

    def command(self, tree, map):
        if map.users != map.groups or len(map.users) != 1 or map.users[0][::2] != (0, SIZE):
            raise CannotSay(f"it takes one range of {SIZE} ids for users and groups alike")
        return self.to(tree, map.users[0][1])

    def to(self, tree, start):
        return ["systemd-nspawn", "--quiet", "--keep-unit", "--register=no", f"--directory={self.place(tree)}",
                f"--private-users={start}:{SIZE}", "--private-users-ownership=chown", "/bin/true"]

    def back(self, tree):
        return self.run(tree, self.to(tree, 0))


class Podman(Peer):
    """Changes owners before it starts the container; what becomes of that does not matter here."""

    name, package, program, maps = "podman :U", "podman", "podman", False

    def command(self, tree, _map):
        root = self.scratch / "empty"
        root.mkdir(exist_ok=True)
        stores = [f"--{name}={self.scratch / name}" for name in ("root", "runroot", "tmpdir")]
        return ["podman", *stores, "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none",
                "run", "--rm", "--network=none", f"--user={START}:{START}", f"--volume={tree}:/volume:U", "--rootfs",
                root, "/bin/true"]


class Ctr(Peer):
    """containerd's client shifts a snapshot of an image, into one of its own."""

    name, package, program, copies = "containerd", "containerd", "ctr", True

    def __init__(self, scratch):
        super().__init__(scratch)
        self.daemon = Containerd(self.scratch)

    def shift(self, tree, map=PLAIN, under=(), binds=()):
        options = []
        for kind, extents in (("uid", map.users), ("gid", map.groups)):
            if len(extents) != 1:
                raise CannotSay("it takes one extent of user ids and one of group ids")
            options.append(f"--{kind}map={'{}:{}:{}'.format(*extents[0])}")
        ran, snapshot = self.daemon.run(tree, options, under)
        return Done(snapshot, ran.status, ran.output, r"/\S*/containerd-mount\d+/tree")

    def close(self):
        self.daemon.close()


class Ours(Peer):
    name, program = "volume_rechown", str(OURS)

    def version(self):
        return subprocess.run([OURS, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]

    def shift(self, tree, map=PLAIN, under=(), binds=()):
        return self.with_options(tree, map.option(), under=under, binds=binds)

    def back(self, tree):
        return self.with_options(tree, "state=restored")

    def dry_run(self, tree):
        return self.with_options(tree, PLAIN.option(), "--check", "--diff")

    def with_options(self, tree, *options, under=(), binds=()):
        options = ("immutable=lift", "unmapped=keep", *options)
        ran, _ = ours(tree, self.scratch / "state", *options, under=under, binds=binds)
        return Done(tree, ran.status, ran.output, re.escape(str(tree)))


PEERS = (Fuidshift, Storage, Nspawn, Podman, Ctr, Chown, Ours)
