"""Lists a tree, by nothing of the crate under test: manifest.py ROOT [OFFSET]

With OFFSET, ids are shown as a shift of 0..65535 by OFFSET has to leave them.
"""

import hashlib
import os
import stat
import struct
import sys

root = os.fsencode(sys.argv[1])
offset = int(sys.argv[2]) if len(sys.argv) > 2 else 0


def shifted(number):
    return number + offset if number < 65536 else number


def acl(value):
    assert struct.unpack_from("<I", value) == (2,)
    entries = struct.iter_unpack("<HHI", value[4:])
    return [(tag, bits, shifted(number) if tag in (2, 8) else 0) for tag, bits, number in entries]


def capability(value):
    if value[3] != 3:
        return value.hex()
    return value[:20].hex(), shifted(struct.unpack_from("<I", value, 20)[0])


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
        path[len(root):], oct(entry.st_mode), shifted(entry.st_uid), shifted(entry.st_gid),
        entry.st_nlink, entry.st_rdev, entry.st_mtime_ns, content, list(attributes(path)),
    )


show(root)
for directory, directories, files in os.walk(root):
    directories.sort()
    for name in sorted(directories + files):
        show(os.path.join(directory, name))
