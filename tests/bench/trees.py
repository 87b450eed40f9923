"""The trees a benchmark shifts. All of them begin as root's. Files are empty: no peer reads what is in them."""

import os
import stat
import struct
import subprocess

# system.posix_acl_access, version 2: user::rw-, user:1000:r--, group::r--, mask::r--, other::r--
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry) for entry in
    [(1, 6, 2**32 - 1), (2, 4, 1000), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 4, 2**32 - 1)])
# security.capability, version 2: CAP_NET_RAW permitted and effective
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


def fill(directory, first, count):
    os.makedirs(directory, exist_ok=True)
    at = os.open(directory, os.O_DIRECTORY)
    for number in range(first, first + count):
        os.mknod(f"file{number}", stat.S_IFREG | 0o644, dir_fd=at)
    os.close(at)


def directories(tree, count):
    """A hundred to each directory above them."""
    return [f"{tree}/{number // 100}/{number}" for number in range(count)]


def files(tree, count):
    for number, directory in enumerate(directories(tree, count // 100)):
        fill(directory, number * 100, 100)


def links(tree, pairs):
    """Each file's second name is in another directory."""
    files(f"{tree}/first", pairs)
    for first in directories(f"{tree}/first", pairs // 100):
        second = first.replace("/first/", "/second/")
        os.makedirs(second)
        for name in os.listdir(first):
            os.link(f"{first}/{name}", f"{second}/{name}")


def wide(tree, count):
    fill(tree, 0, count)


def attributes(tree, count):
    files(tree, count)
    restore(tree)


def restore(tree):
    """Makes the owner root again, and gives every tenth file of `attributes` what it had: a change of owner takes
    the capability, and peers change the ACL, or not."""
    subprocess.run(["chown", "-hR", "0:0", tree], check=True)
    if not tree.endswith("/attributes"):
        return
    for place, _, names in os.walk(tree):
        for name in names:
            if name.endswith("0"):
                os.setxattr(f"{place}/{name}", "system.posix_acl_access", ACL)
                os.setxattr(f"{place}/{name}", "security.capability", CAPABILITY)


def debian(tree, copies):
    """Copies of this machine's programs and libraries."""
    os.makedirs(tree)
    for number in range(copies):
        os.mkdir(f"{tree}/{number}")
        sources = [path for path in ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/share", "/etc") if os.path.isdir(path)]
        # Without the contents, which would take gigabytes: --attributes-only keeps links, modes and attributes.
        subprocess.run(["cp", "-a", "--attributes-only", *sources, f"{tree}/{number}"], check=True)
    restore(tree)


# tree → builder, what it is, and its count by size of the benchmark
TREES = {
    "files": (files, "{:,} files, 100 to a directory", {"small": 200_000, "full": 1_000_000}),
    "links": (links, "{:,} files of two names each", {"small": 20_000, "full": 100_000}),
    "wide": (wide, "one directory of {:,} files", {"small": 100_000, "full": 500_000}),
    "attributes": (attributes, "{:,} files, every tenth with an ACL and a capability",
                   {"small": 50_000, "full": 200_000}),
    "debian": (debian, "the names, modes and links of this machine's Debian × {:,}", {"full": 20}),
}


def count(tree, *tests):
    """How many entries pass the tests of find(1), the root left out, as containers/storage leaves it out."""
    with subprocess.Popen(["find", tree, "-mindepth", "1", *tests, "-printf", "."], stdout=subprocess.PIPE) as found:
        return sum(len(block) for block in iter(lambda: found.stdout.read(1 << 16), b""))


def left_out(tree, owner):
    """How many entries do not have that user and group."""
    return count(tree, "(", "!", "-uid", str(owner), "-o", "!", "-gid", str(owner), ")")
