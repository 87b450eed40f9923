"""An independent reader of trees: what a shift of owners must keep and what it must change.

Run as a program (`python3 manifest.py DIR`, standard library only) it prints one JSON object an entry;
imported, it reads a host's tree, translates a manifest by a Docker map and compares two."""

import hashlib
import json
import os
import stat
import struct
import sys

TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFSOCK: "socket",
         stat.S_IFIFO: "fifo", stat.S_IFBLK: "block", stat.S_IFCHR: "character"}
ACLS = ("system.posix_acl_access", "system.posix_acl_default")
ACL_TAGS = {1: "user::", 2: "user", 4: "group::", 8: "group", 16: "mask::", 32: "other::"}


def walk(top):
    """The entries of the tree at `top`, itself as '.', sorted by path."""
    first_name = {}
    for path in sorted(paths(top)):
        full = top if path == "." else os.path.join(top, path)
        entry = read_entry(full)
        # Names of one inode share the first of them; nlink tells of names outside the tree.
        inode = entry.pop("inode")
        entry["hardlink_of"] = first_name.setdefault(inode, path) if entry["type"] != "directory" else path
        yield {"path": path, **entry}


def paths(top):
    yield "."
    for directory, directories, files in os.walk(top, onerror=fail):
        for name in directories + files:
            yield os.path.relpath(os.path.join(directory, name), top)


def fail(error):
    raise error


def read_entry(path):
    info = os.lstat(path)
    kind = TYPES[stat.S_IFMT(info.st_mode)]
    regular = kind == "file"
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
        "sha256": sha256(path) if regular else None,
        "target": os.readlink(path) if kind == "symlink" else None,
        "xattrs": {},
        "acls": {},
        "capability": None,
    }
    for name in os.listxattr(path, follow_symlinks=False):
        value = os.getxattr(path, name, follow_symlinks=False)
        if name in ACLS:
            entry["acls"][name] = decode_acl(value)
        elif name == "security.capability":
            entry["capability"] = decode_capability(value)
        else:
            entry["xattrs"][name] = value.hex()
    return entry


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    return {path: translate_entry(entry, start, count) for path, entry in manifest.items()}


def translate_entry(entry, start, count):
    def shifted(number):
        if not 0 <= number < count:
            raise ValueError(f"{entry['path']}: id {number} is outside 0–{count - 1}")
        return start + number

    def shifted_root(capability):
        if capability is None or capability["rootid"] is None:
            return capability
        return {**capability, "rootid": shifted(capability["rootid"])}

    return {
        **entry,
        "uid": shifted(entry["uid"]),
        "gid": shifted(entry["gid"]),
        "acls": {name: [[tag, permissions, number if number is None else shifted(number)]
                        for tag, permissions, number in acl] for name, acl in entry["acls"].items()},
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
