"""Lists a tree, by nothing of the crate under test: manifest.py ROOT [EXTENTS]

With EXTENTS, `[u:|g:]container:host:size` separated by commas, ids are shown as a shift by them has to leave them.
"""

import fcntl
import hashlib
import os
import stat
import struct
import sys

root = os.fsencode(sys.argv[1])
texts = sys.argv[2].split(",") if len(sys.argv) > 2 else []
FS_IOC_GETFLAGS = 0x80086601
IMMUTABLE_OR_APPEND_ONLY = 0x30


def extents(other):
    """Those that are not for the other kind of id."""
    return [tuple(map(int, text.split(":")[-3:])) for text in texts if not text.startswith(other)]


UIDS, GIDS = extents("g"), extents("u")


def shifted(number, maps=UIDS):
    for container, host, size in maps:
        if container <= number < container + size:
            return number - container + host
    return number


def acl(value):
    assert struct.unpack_from("<I", value) == (2,)
    maps = {2: UIDS, 8: GIDS}
    entries = struct.iter_unpack("<HHI", value[4:])
    return [(tag, bits, shifted(number, maps[tag]) if tag in maps else 0) for tag, bits, number in entries]


def capability(value):
    """Flags, capabilities and the root id, which revision 2 has none of; nor shows the kernel a 0."""
    root = shifted(struct.unpack_from("<I", value, 20)[0]) if value[3] == 3 else 0
    return value[0], value[4:20].hex(), root


def flags(path, entry):
    if not stat.S_ISREG(entry.st_mode) and not stat.S_ISDIR(entry.st_mode):
        return 0
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        value = fcntl.ioctl(file, FS_IOC_GETFLAGS, bytes(8))
    finally:
        os.close(file)
    return int.from_bytes(value, sys.byteorder) & IMMUTABLE_OR_APPEND_ONLY


def attributes(path):
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        value = os.getxattr(path, name, follow_symlinks=False)
        if name.startswith("system.posix_acl"):
            value = acl(value)
        elif name == "security.capability":
            value = capability(value)
        yield name, value


def show(path):
    entry = os.lstat(path)
    content = ""
    if stat.S_ISREG(entry.st_mode):
        with open(path, "rb") as file:
            content = hashlib.sha256(file.read()).hexdigest()
    elif stat.S_ISLNK(entry.st_mode):
        content = os.readlink(path)
    print(
        path[len(root):], oct(entry.st_mode), shifted(entry.st_uid), shifted(entry.st_gid, GIDS),
        entry.st_nlink, entry.st_rdev, entry.st_mtime_ns, content, flags(path, entry), list(attributes(path)),
    )


show(root)
for directory, directories, files in os.walk(root):
    directories.sort()
    for name in sorted(directories + files):
        show(os.path.join(directory, name))
