"""An independent reader of trees: what a shift of owners must keep and what it must change.

Run as a program (`python3 manifest.py DIR`, standard library only) it prints one JSON object an entry;
imported, it reads a host's tree, translates a manifest by a Docker map and compares two."""

import errno
import fcntl
import hashlib
import json
import os
import stat
import struct
import sys

TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFSOCK: "socket",
         stat.S_IFIFO: "fifo", stat.S_IFBLK: "block", stat.S_IFCHR: "character"}
ACLS = ("system.posix_acl_access", "system.posix_acl_default")
# Where XFS keeps them, which it shows as well.
ACL_MIRRORS = ("trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT")
ACL_TAGS = {1: "user::", 2: "user", 4: "group::", 8: "group", 16: "mask::", 32: "other::"}
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NOATIME
PIECE = 1 << 16
# linux/fs.h
FS_IOC_GETFLAGS = 0x80086601
FLAGS = {0x1: "s", 0x2: "u", 0x4: "c", 0x8: "S", 0x10: "i", 0x20: "a", 0x40: "d", 0x80: "A", 0x400: "m",
         0x4000: "j", 0x8000: "t", 0x10000: "D", 0x20000: "T", 0x800000: "C", 0x20000000: "P"}


def walk(top):
    """The entries of the tree at `top`, itself as '.', each directory before what is in it."""
    first_name = {}
    for path, at, name in names(top):
        entry = read_entry(at, name)
        # Names of one inode share the first of them; nlink tells of names outside the tree.
        inode = entry.pop("inode")
        entry["hardlink_of"] = first_name.setdefault(inode, path) if entry["type"] != "directory" else path
        yield {"path": path, **entry}


def names(top):
    """Path, descriptor of the directory and name in it of each entry. A path as a whole is never resolved, and
    one descriptor is open at a time, so that nothing lies too deep."""
    at = os.open(top, DIRECTORY)
    try:
        yield ".", at, "."
        levels = [("", iter(sorted(os.listdir(at))))]
        while levels:
            prefix, rest = levels[-1]
            if (name := next(rest, None)) is None:
                levels.pop()
                at = step(at, "..")
                continue
            yield prefix + name, at, name
            if stat.S_ISDIR(os.lstat(name, dir_fd=at).st_mode):
                at = step(at, name)
                levels.append((f"{prefix}{name}/", iter(sorted(os.listdir(at)))))
    finally:
        os.close(at)


def step(at, name):
    there = os.open(name, DIRECTORY, dir_fd=at)
    os.close(at)
    return there


def read_entry(at, name):
    """The entry of that name in the directory that is open as `at`."""
    info = os.lstat(name, dir_fd=at)
    kind = TYPES[stat.S_IFMT(info.st_mode)]
    # The calls for extended attributes take no descriptor of a directory.
    path = f"/proc/self/fd/{at}/{name}"
    entry = {
        "inode": (info.st_dev, info.st_ino),
        "type": kind,
        "uid": info.st_uid,
        "gid": info.st_gid,
        "mode": f"{stat.S_IMODE(info.st_mode):04o}",
        "nlink": info.st_nlink,
        # The size of a directory is the file system's own business.
        "size": info.st_size if kind != "directory" else None,
        "mtime_ns": info.st_mtime_ns,
        "rdev": info.st_rdev,
        "sha256": None,
        "flags": None,
        "target": os.readlink(name, dir_fd=at) if kind == "symlink" else None,
        "xattrs": {},
        "acls": {},
        "capability": None,
    }
    if kind in ("file", "directory"):
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME, dir_fd=at)
        entry["flags"] = flags(fd)
        if kind == "file":
            entry["sha256"] = sha256(fd, info.st_size)
        os.close(fd)
    for attribute in os.listxattr(path, follow_symlinks=False):
        value = os.getxattr(path, attribute, follow_symlinks=False)
        if attribute in ACLS:
            entry["acls"][attribute] = decode_acl(value)
        elif attribute == "security.capability":
            entry["capability"] = decode_capability(value)
        elif attribute not in ACL_MIRRORS:
            entry["xattrs"][attribute] = value.hex()
    return entry


def flags(fd):
    """The letters that lsattr(1) shows for what chattr(1) can set; None where the file system has no flags."""
    value = bytearray(8)
    try:
        fcntl.ioctl(fd, FS_IOC_GETFLAGS, value)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP):
            return None
        raise
    bits = struct.unpack_from("=I", value)[0]
    return "".join(letter for bit, letter in FLAGS.items() if bits & bit)


def sha256(fd, size):
    """Of all pieces that are not empty and of where they lie. Holes are not read: they may be of terabytes."""
    digest, place = hashlib.sha256(), 0
    while place < size:
        try:
            place = max(place, os.lseek(fd, place, os.SEEK_DATA) // PIECE * PIECE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                break
            raise
        piece = os.pread(fd, PIECE, place)
        if piece.strip(b"\0"):
            digest.update(struct.pack("=Q", place) + piece)
        place += PIECE
    return digest.hexdigest()


def decode_acl(value):
    """[tag, permissions, id or None] of each entry; acl(5), linux/posix_acl_xattr.h."""
    entries = [struct.unpack_from("<HHI", value, offset) for offset in range(4, len(value), 8)]
    return [[ACL_TAGS[tag], permissions, number if ACL_TAGS[tag] in ("user", "group") else None]
            for tag, permissions, number in entries]


def decode_capability(value):
    """linux/capability.h. Version 2 names no root: a container honours it in its user
    namespace, too (seen on Linux 6.18), so that a shift has nothing to change."""
    magic, permitted, inheritable, permitted_high, inheritable_high = struct.unpack_from("<5I", value)
    version = magic >> 24
    if version not in (2, 3):
        raise ValueError(f"capability version {version}")
    return {
        "effective": bool(magic & 1),
        "permitted": permitted | permitted_high << 32,
        "inheritable": inheritable | inheritable_high << 32,
        "rootid": struct.unpack_from("<I", value, 20)[0] if version == 3 else None,
    }


def of_host(name, path):
    """The manifest of a tree in a test host: path → entry."""
    from . import host  # this file also runs alone, inside the host

    return parse(host.python(name, __file__, path).stdout)


def parse(lines):
    entries = [json.loads(line) for line in lines.splitlines()]
    return {entry["path"]: entry for entry in entries}


def translate(manifest, start, count):
    """The manifest as it must be after container id n became host id start + n. Raises ValueError
    where an id is outside the map."""
    extents = [(0, start, count)]
    return translate_by(manifest, extents, extents)


def translate_by(manifest, users, groups):
    """As `translate`, by extents (from, to, size) of user ids and of group ids."""
    return {path: translate_entry(entry, users, groups) for path, entry in manifest.items()}


def translate_entry(entry, users, groups):
    def shifted(number, extents):
        for first, to, size in extents:
            if first <= number < first + size:
                return to + number - first
        ranges = ", ".join(f"{first}–{first + size - 1}" for first, _, size in extents)
        raise ValueError(f"{entry['path']}: id {number} is outside {ranges}")

    def shifted_acl(acl):
        sides = {"user": users, "group": groups}
        return [[tag, permissions, shifted(number, sides[tag]) if tag in sides else number]
                for tag, permissions, number in acl]

    def shifted_root(capability):
        if capability is None or capability["rootid"] is None:
            return capability
        return {**capability, "rootid": shifted(capability["rootid"], users)}

    return {
        **entry,
        "uid": shifted(entry["uid"], users),
        "gid": shifted(entry["gid"], groups),
        "acls": {name: shifted_acl(acl) for name, acl in entry["acls"].items()},
        "capability": shifted_root(entry["capability"]),
    }


def differences(expected, found, ignore=()):
    """Every difference, one line each; entries at or below a path of `ignore` are left out."""
    def ignored(path):
        return any(path == prefix or path.startswith(f"{prefix}/") for prefix in ignore)

    lines = []
    for path in sorted(expected.keys() | found.keys()):
        if ignored(path):
            continue
        if path not in found:
            lines.append(f"{path!r}: is gone")
        elif path not in expected:
            lines.append(f"{path!r}: is new")
        else:
            lines += [f"{path!r}: {field} is {found[path][field]}, expected {value}"
                      for field, value in expected[path].items() if found[path][field] != value]
    return lines


if __name__ == "__main__":
    for found_entry in walk(sys.argv[1]):
        print(json.dumps(found_entry))
