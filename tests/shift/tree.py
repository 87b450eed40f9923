"""What trees are made of. Owners are pairs (uid, gid), or one number for both."""

import errno
import fcntl
import os
import stat
import struct

# system.posix_acl_access and _default, linux/posix_acl_xattr.h
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NO_ID = 2**32 - 1
# chattr(1), linux/fs.h
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
IMMUTABLE, APPEND, NO_DUMP, NO_ATIME = 0x10, 0x20, 0x40, 0x80


def own(path, owner):
    os.lchown(path, *(owner if isinstance(owner, tuple) else (owner, owner)))
    return path


def file(path, owner=0, mode=0o644, content=b""):
    with open(path, "wb") as new:
        new.write(content)
    own(path, owner)
    os.chmod(path, mode)
    return path


def directory(path, owner=0, mode=0o755):
    os.mkdir(path)
    own(path, owner)
    os.chmod(path, mode)
    return path


def link(path, target, owner=0):
    os.symlink(target, path)
    return own(path, owner)


def node(path, kind, owner=0, device=(0, 0)):
    os.mknod(path, kind | 0o640, os.makedev(*device))
    return own(path, owner)


def acl(path, users=(), groups=(), kind="access"):
    entries = [(USER_OBJ, 6, NO_ID), *((USER, number % 8, number) for number in users), (GROUP_OBJ, 4, NO_ID),
               *((GROUP, number % 8, number) for number in groups), (MASK, 7, NO_ID), (OTHER, 4, NO_ID)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(path, f"system.posix_acl_{kind}", value)
    return path


def capability(path, root=None):
    """CAP_NET_RAW permitted and effective, for all user namespaces or for those of one root: linux/capability.h."""
    magic, root = (0x02000001, b"") if root is None else (0x03000001, struct.pack("<I", root))
    os.setxattr(path, "security.capability", struct.pack("<5I", magic, 1 << 13, 0, 0, 0) + root)
    return path


def flag(path, flags):
    """Adds flags of chattr(1)."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        value = bytearray(8)
        fcntl.ioctl(fd, FS_IOC_GETFLAGS, value)
        now = struct.unpack_from("=I", value)[0]
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("=Q", now | flags))
    finally:
        os.close(fd)
    return path


def deep(top, levels, name, owners):
    """Directories in each other, a file that is not easily changed in the last; made from descriptors, for the path
    may be of any length."""
    at = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for level in range(levels):
        os.mkdir(name, dir_fd=at)
        os.chown(name, *owners[level % len(owners)], dir_fd=at)
        there = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = there
    flag(capability(file(f"/proc/self/fd/{at}/file", owners[-1], 0o6755), owners[-1][0]), IMMUTABLE)
    os.close(at)


def wide(path, count, owners):
    """One directory of so many empty files."""
    directory(path)
    at = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(count):
        os.mknod(f"{number}", stat.S_IFREG | 0o644, dir_fd=at)
        os.chown(f"{number}", *owners[number % len(owners)], dir_fd=at)
    os.close(at)


def xattr(path, name, value):
    """A value too long for the file system is left out."""
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.E2BIG):
            raise
