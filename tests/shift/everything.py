"""A tree with one of every kind of thing, and an outside with a name of one of its files.

User ids are 0–1999 and 60000–65535, group ids 0–999 and 60000–65535."""

import os
import stat
import subprocess

from tree import (APPEND, IMMUTABLE, NO_ATIME, NO_DUMP, acl, capability, deep, directory, file, flag, link, node, own,
                  xattr)

USERS = (0, 1, 33, 999, 1000, 1001, 1999, 60000, 65534, 65535)
GROUPS = (0, 5, 33, 499, 500, 999, 60001, 65534, 65535)
OWNERS = [(user, group) for user in USERS for group in GROUPS]
TERABYTE = 1 << 40


def build(top, kind):
    """Makes `top`/tree and `top`/outside on a file system of that kind."""
    tree, outside = top / "tree", top / "outside"
    directory(tree, (1000, 500), 0o2775)
    directory(outside)
    for part in (owners, modes, attributes, contents, nodes, names, depths):
        part(directory(tree / part.__name__, (33, 33)))
    hard_links(directory(tree / "hard_links", (1, 5)), outside)
    if kind == "btrfs":
        subvolume(tree / "subvolume")
        subvolume(tree / "subvolume" / "nested")
    times(tree)
    # Nothing can be changed below an immutable directory any more.
    fixed(directory(tree / "fixed", (999, 499)), outside)
    return tree


def owners(top):
    for user, group in OWNERS:
        file(top / f"{user}-{group}", (user, group), content=f"{user}".encode())
        directory(top / f"{user}-{group}.d", (user, group), 0o700)


def modes(top):
    for bits in range(8):
        file(top / f"file-{bits}", OWNERS[bits * 5], bits << 9 | 0o751)
        directory(top / f"directory-{bits}", OWNERS[bits * 7], bits << 9 | 0o751)
    for number, kind in enumerate((stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)):
        os.chmod(node(top / f"special-{number}", kind, (33, 5), (7, 200)), 0o6754)
    file(top / "unreadable", (33, 33), 0)
    directory(top / "closed", (33, 33), 0)


def attributes(top):
    capability(file(top / "capability", (0, 5), 0o755))
    for root in (0, 999, 1000, 65535):
        capability(file(top / f"capability-of-{root}", (root, 33), 0o755), root)
    # Many, and in no order.
    acl(file(top / "acl", (1, 5)), USERS[::-1], GROUPS[::-1])
    acl(file(top / "acl-of-groups", (1, 5)), groups=GROUPS)
    acl(file(top / "acl-of-many", (1, 5)), range(1000, 1120), range(400, 500))
    inheriting = directory(top / "inheriting", (33, 33))
    acl(acl(inheriting, USERS, GROUPS), USERS[::2], GROUPS[::2], "default")
    file(inheriting / "inherited", (1, 1))
    everything = file(top / "everything", (1000, 500), 0o755)
    acl(everything, (5, 33, 1999), (5, 999))
    os.chmod(everything, 0o6775)
    capability(everything, 1000)
    for name in ("user.note", "user.empty", "trusted.note", "security.note"):
        xattr(everything, name, b"" if name.endswith("empty") else b"\0kept\xff")
    xattr(everything, "user.long", b"long" * 700)
    folder = directory(top / "folder", (33, 60001))
    for name in ("user.note", "trusted.overlay.opaque"):
        xattr(folder, name, b"y")
    xattr(link(top / "link", "nowhere", (5, 5)), "trusted.note", b"kept")
    acl(node(top / "pipe", stat.S_IFIFO, (5, 5)), (5, 33), (5,))


def contents(top):
    file(top / "text", (33, 33), content=b"content\n" * 10_000)
    for name, size in (("sparse", 1 << 30), ("huge", TERABYTE)):
        with open(file(top / name, (999, 999)), "r+b") as new:
            new.write(b"begin")
            new.seek(size // 3)
            new.write(b"middle")
            new.truncate(size)
    file(top / "hole", (33, 33))
    os.truncate(top / "hole", 1 << 20)


def nodes(top):
    node(top / "null", stat.S_IFCHR, (1, 5), (1, 3))
    node(top / "loop", stat.S_IFBLK, (33, 33), (7, 200))
    node(top / "whiteout", stat.S_IFCHR, (1000, 500))
    node(top / "pipe", stat.S_IFIFO, (1001, 999))
    node(top / "socket", stat.S_IFSOCK, (65534, 65534))
    link(top / "dangling", "nowhere/at/all", (5, 33))
    link(top / "absolute", "/etc/passwd", (33, 5))
    link(top / "up", "../..", (1, 1))
    link(top / "itself", "itself", (999, 499))
    link(os.fsencode(top / "odd"), b"\xff\xfe", (1999, 999))


def names(top):
    for number, name in enumerate([b"\xff\xfe", b"new\nline", b"-rf", b" ", b"%41", b"'\"", b"a\\b", b"*", b"n" * 255,
                                   "ä€𝄞".encode()]):
        file(os.path.join(os.fsencode(top), name), OWNERS[number])
    odd = directory(os.path.join(os.fsencode(top), b"d\xc3\x28"), (33, 33))
    # Of what is journaled by its path.
    file(os.path.join(odd, b"set\xffid\n"), (33, 33), 0o6755)


def depths(top):
    """Beyond PATH_MAX (4096), by long names and by more levels than a process may have open files."""
    deep(top, 30, "n" * 200, OWNERS)
    deep(top, 3000, "d", OWNERS)


def hard_links(top, outside):
    first, second = directory(top / "first", (1, 1)), directory(top / "second", (1, 1))
    os.link(file(first / "plain", (33, 33), content=b"plain"), second / "plain")
    os.link(second / "plain", top / "third")
    os.link(capability(file(first / "capable", (0, 5), 0o4755), 999), second / "capable")
    os.link(node(first / "pipe", stat.S_IFIFO, (999, 499)), second / "pipe")
    os.link(link(first / "link", "nowhere", (999, 499)), second / "link", follow_symlinks=False)
    for name in ("one", "two"):
        os.link(file(first / f"outside-{name}", (1000, 500), 0o4755), outside / name)
    os.link(outside / "two", second / "outside-two")


def subvolume(path):
    """With files whose inode numbers are those of the files in the next."""
    subprocess.run(["btrfs", "-q", "subvolume", "create", path], check=True)
    own(path, (33, 500))
    capability(file(path / "file", (1, 999), 0o755))
    os.link(path / "file", path / "second-name")


def fixed(top, outside):
    for name, flags in (("immutable", IMMUTABLE), ("append", APPEND), ("both", IMMUTABLE | APPEND),
                        ("other", NO_DUMP | NO_ATIME), ("more", IMMUTABLE | NO_DUMP)):
        flag(file(top / name, (33, 500), content=b"fixed"), flags)
        inner = directory(top / f"{name}.d", (999, 499), 0o2755)
        capability(file(inner / "file", (1000, 5), 0o4755), 999)
        flag(inner, flags)
    everything = file(top / "everything", (1, 5), 0o755)
    acl(everything, (5, 33), (5, 999))
    os.chmod(everything, 0o4755)
    os.link(everything, top / "everything-too")
    flag(capability(everything, 1000), IMMUTABLE)
    os.link(file(top / "outside", (1, 5), 0o4755), outside / "immutable")
    flag(top / "outside", IMMUTABLE)


def times(tree):
    """Times that no clock gives."""
    for number, name in enumerate(sorted(os.listdir(tree))):
        for path in (tree / name, *sorted((tree / name).iterdir())):
            os.utime(path, ns=(10**18 + number, 981_173_106_123_456_789 + number), follow_symlinks=False)
