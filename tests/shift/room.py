"""Where a probe builds its tree, and what it can see there."""

import os
import stat

from testbed import manifest
from tree import directory, file


class Room:
    """A directory `tree` with a file that any shift changes, in a directory that is enough of an operating system to
    be started in."""

    def __init__(self, top):
        self.top, self.root, self.tree = top, top / "root", top / "root" / "tree"
        for place in ("bin", "dev", "etc", "lib", "proc", "root", "run", "sbin", "sys", "tmp", "usr/lib", "var"):
            (self.root / place).mkdir(parents=True)
        (self.root / "usr/lib/os-release").write_text("ID=test\n", encoding="ascii")
        file(directory(self.tree, 5) / "witness", 5)

    def another(self):
        """A room as empty, next door."""
        top = self.top / "another"
        top.mkdir()
        return Room(top)


def read(tree):
    """The manifest but for times: fuidshift makes a file in the tree, and removes it again."""
    return {entry["path"]: {**entry, "mtime_ns": None} for entry in manifest.walk(tree)}


def owner(path):
    info = os.lstat(path)
    return info.st_uid, info.st_gid


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def changed_since(tree, before):
    """The names whose change time is another."""
    return [name for name, then in before.items() if (tree / name).lstat().st_ctime_ns != then]


def change_times(tree):
    return {path.relative_to(tree): path.lstat().st_ctime_ns for path in (tree, *sorted(tree.rglob("*")))}
