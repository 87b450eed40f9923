"""One probe for each behaviour in the table of docs/facts.md: it builds a bit of tree, runs a peer on it, and looks
what came of it. Its first line says what earns a y; ~ is for the part that is named in the reason."""

import os
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import tracing
from peers import PLAIN, START, CannotSay
from programs import ENVIRONMENT, Map, run
from room import Room, change_times, changed_since, mode, owner, read
from testbed import manifest
from tree import IMMUTABLE, acl, capability, directory, file, flag, link

YES, PARTLY, NO, NOT_APPLICABLE = "y", "~", "–", "n/a"
ROWS = {}


@dataclass
class Verdict:
    mark: str
    reason: str


def row(name):
    def add(probe):
        ROWS[name] = probe
        return probe

    return add


def yes_if(condition, otherwise):
    return Verdict(YES, "") if condition else Verdict(NO, otherwise)


def shift(peer, room, **how):
    """By the plain map. Where nothing at all was shifted, there is nothing to see."""
    done = peer.shift(room.tree, **how)
    assert owner(done.tree / "witness") == (peer.owner(5), peer.owner(5)), done.output
    return done


@row("symlink itself")
def symlink_itself(peer, room):
    """The link gets the owner; what it points to, outside, does not."""
    canary = file(room.top / "canary", 5)
    link(room.tree / "link", canary, 5)
    link(room.tree / "dangling", "nowhere", 5)
    tree = shift(peer, room).tree
    if owner(canary) != (5, 5):
        return Verdict(NO, "what it points to was changed")
    links = {owner(tree / name) for name in ("link", "dangling")}
    return yes_if(links == {(peer.owner(5),) * 2}, f"links are {links}")


@row("skips what is right already")
def skips_what_is_right_already(peer, room):
    """An entry that has the owner it is to get keeps its change time: at a second run or, where that maps what was
    mapped, by a map that sends its id to itself."""
    file(room.tree / "file", 5)
    tree = shift(peer, room).tree
    before = change_times(tree)
    peer.shift(room.tree)
    if not changed_since(tree, before):
        return Verdict(YES, "")
    room = room.another()
    file(room.tree / "file", 5)
    right = file(room.tree / "right", 5000)
    before = right.lstat().st_ctime_ns
    extents = ((0, START, 1000), (5000, 5000, 1))
    try:
        tree = peer.shift(room.tree, Map(extents, extents)).tree
    except CannotSay:
        return Verdict(NO, "a second run changes it again")
    kept = owner(tree / "file")[0] == peer.owner(5) and (tree / "right").lstat().st_ctime_ns == before
    return yes_if(kept, "what is right is changed all the same")


@row("setuid/setgid kept")
def set_id_kept(peer, room):
    """Modes with these bits are what they were."""
    modes = {"user": 0o4755, "group": 0o2711, "both": 0o6775}
    for name, bits in modes.items():
        file(room.tree / name, 5, bits)
    tree = shift(peer, room).tree
    lost = [name for name, bits in modes.items() if mode(tree / name) != bits]
    return yes_if(not lost, f"the kernel's clearing of the bits is not made good: {lost}")


@row("race-safe by descriptor")
def race_safe(peer, room):
    """Nothing in the tree is opened or changed by a name that could be swapped for a link meanwhile; ~ where only
    the change of owner cannot be led out of the tree."""
    folder = room.tree
    for name in ("top", "middle", "bottom"):
        folder = directory(folder / name, 5)
    acl(file(folder / "acl", 5), (5,))
    capability(file(folder / "capability", 5))
    file(folder / "mode", 5, 0o4755)
    log = room.top / "trace"
    done = shift(peer, room, under=tracing.tracer(log))
    kinds, confined = tracing.by_path(log, done.traced)
    if not kinds:
        return Verdict(YES, "")
    if confined:
        return Verdict(PARTLY, "by path, in a chroot")
    if "owner" not in kinds:
        return Verdict(PARTLY, f"by a name that can be swapped: {', '.join(sorted(kinds))}")
    return Verdict(NO, "changes owners by path")


@row("arbitrary id map")
def arbitrary_map(peer, room):
    """Several extents, others for groups than for users; ~ one range only."""
    users, groups = ((0, 300_000, 10), (10, 700_000, 90)), ((0, 800_000, 50), (50, 900_000, 50))
    for number in (0, 9, 10, 60):
        file(room.tree / f"file{number}", number)
    before = read(room.tree)
    try:
        tree = peer.shift(room.tree, Map(users, groups)).tree
    except CannotSay as reason:
        tree = peer.shift(room.tree).tree
        right = owner(tree / "file60") == (START + 60, START + 60)
        return Verdict(PARTLY if right else NO, str(reason))
    expected, found = manifest.translate_by(before, users, groups), read(tree)
    right = all(found[path]["uid"] == entry["uid"] and found[path]["gid"] == entry["gid"]
                for path, entry in expected.items() if path != ".")
    return yes_if(right, "it knows no map" if not peer.maps else "owners are not what the map says")


@row("parallel")
def parallel(peer, room):
    """Changes of owner in two threads overlap in time."""
    for number in range(40):
        folder = directory(room.tree / f"folder{number}", 5)
        for name in range(40):
            file(folder / f"{name}", 5)
    log = room.top / "trace"
    done = shift(peer, room, under=tracing.tracer(log))
    return yes_if(tracing.is_parallel(log, done.traced), "one after the other")


@row("dry run")
def dry_run(peer, room):
    """Says what it would change, and changes nothing; ~ no entry that was there."""
    if not peer.dry_run:
        return Verdict(NO, "there is none")
    file(room.tree / "would-change", 5)
    before = change_times(room.tree)
    done = peer.dry_run(room.tree)
    changed = changed_since(room.tree, before)
    if changed == [Path(".")]:
        return Verdict(PARTLY, "makes a file in the tree, and removes it again")
    return yes_if("would-change" in done.output and not changed, done.output)


@row("guards dangerous paths")
def guards(peer, room):
    """Refuses a directory of the system (the tree, mounted at /opt) unless told otherwise; ~ when told to."""
    if peer.copies:
        return Verdict(NOT_APPLICABLE, "it shifts snapshots of its own, not a path")
    opt = Path("/opt") if peer.place(room.tree) == room.tree else Path("/opt/tree")
    peer.shift(opt, binds=[(peer.place(room.tree), "/opt")])
    if owner(room.tree / "witness") == (5, 5):
        shift(peer, room)
        return Verdict(YES, "")
    if peer.key == "chown" and chown_guards_the_root(room.another()):
        return Verdict(PARTLY, "only /, and only with --preserve-root")
    return Verdict(NO, "shifted")


def chown_guards_the_root(room):
    """In a root of its own."""
    program = shutil.which("chown", path=ENVIRONMENT["PATH"])
    needed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for path in [program, *re.findall(r"/\S+", needed)]:
        (room.root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, room.root / path[1:])
    ran = run(["chroot", room.root, program, "--preserve-root", "-hR", f"{START}:{START}", "/"])
    return ran.status != 0 and owner(room.tree) == (5, 5)


@row("ids in ACLs")
def ids_in_acls(peer, room):
    """Every named user and group, in access and default ACLs; ~ one of each only."""
    acl(file(room.tree / "one", 5), (7,), (8,))
    acl(file(room.tree / "many", 5), (7, 8, 9), (10, 11))
    acl(directory(room.tree / "default", 5), (7, 8), (9,), "default")
    before = read(room.tree)
    after = read(shift(peer, room).tree)
    expected = manifest.translate_by(before, PLAIN.users, PLAIN.groups)
    right = [name for name in ("one", "many", "default") if after[name]["acls"] == expected[name]["acls"]]
    if right == ["one"]:
        return Verdict(PARTLY, f"wrong with two named users: {after['many']['acls']}")
    return yes_if(len(right) == 3, "they keep the ids they had")


@row("unmapped ids left alone or refused")
def unmapped(peer, room):
    """An id outside the map is what it was, or nothing is changed at all."""
    if not peer.maps:
        return Verdict(NOT_APPLICABLE, "it knows no map")
    file(room.tree / "unmapped", 70_000)
    file(room.tree / "file", 5)
    tree = peer.shift(room.tree).tree
    found = owner(tree / "unmapped") if tree.exists() else (70_000, 70_000)
    return yes_if(found == (70_000, 70_000), f"70000 becomes {found[0]}")


@row("counts of what changed")
def counts(peer, room):
    """Its output holds the number of entries that it changed."""
    for number in range(135):
        file(room.tree / f"file-{number}", 5)
    output = shift(peer, room).output
    # With the tree and the witness; by itself, not in a path or an identifier.
    return yes_if(re.search(r"(?<![\w/-])137(?![\w/-])", output), "no number in its output")


@row("hard link once")
def hard_link_once(peer, room):
    """A file of two names is mapped once, where the map would take its new id further; ~ at a cost that grows faster
    than the number of such files."""
    if not peer.maps:
        return Verdict(NOT_APPLICABLE, "it knows no map")
    os.link(file(room.tree / "one", 5), room.tree / "two")
    try:
        extents = ((0, 10, 100),)
        tree = peer.shift(room.tree, Map(extents, extents)).tree
        right = owner(tree / "one") == (15, 15)
    except CannotSay:
        tree = peer.shift(room.tree).tree
        right = owner(tree / "one") == (START + 5, START + 5)
    if not right:
        return Verdict(NO, f"5 became {owner(tree / 'one')[0]}")
    growth = [times_as_long(peer, room, attempt) for attempt in range(3)]
    # In proportion it would be 5; what else the machine does can only add to one of them.
    if min(growth) > 8:
        return Verdict(PARTLY, f"5 times the files take {min(growth):.0f} times the time")
    return Verdict(YES, "")


def times_as_long(peer, room, attempt):
    """How much longer 5 times as many files of two names take."""
    some, many = (seconds_for_links(peer, room.top / f"{attempt}-{count}", count) for count in (8_000, 40_000))
    # What takes no time to speak of does not grow.
    return many / max(some, 0.04)


def seconds_for_links(peer, top, count):
    """In user mode, to shift so many files of two names."""
    top.mkdir()
    room = Room(top)
    at = os.open(room.tree, os.O_RDONLY)
    for number in range(count):
        os.mknod(f"{number}", 0o644, dir_fd=at)
        os.link(f"{number}", f"{number}-2", src_dir_fd=at, dst_dir_fd=at)
    os.close(at)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    shift(peer, room)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


@row("safe to run again")
def safe_to_run_again(peer, room):
    """After a second run all is as after the first."""
    file(directory(room.tree / "folder", 6) / "file", 33, 0o4755)
    capability(acl(file(room.tree / "more", 5), (7,)), 7)
    tree = shift(peer, room).tree
    before = read(tree)
    peer.shift(room.tree)
    differences = manifest.differences(before, read(tree))
    return yes_if(not differences, "; ".join(differences[:2]))


@row("file capabilities kept")
def capabilities_kept(peer, room):
    """A capability of version 2 is what it was."""
    capability(file(room.tree / "file", 5))
    before = read(room.tree)["file"]["capability"]
    after = read(shift(peer, room).tree)["file"]["capability"]
    if after and after["permitted"] == before["permitted"] and after["rootid"]:
        return Verdict(PARTLY, f"of version 3 with root {after['rootid']} then")
    return yes_if(after == before, "gone")


@row("capability rootid shifted")
def capability_root(peer, room):
    """The root of a capability of version 3 is mapped as any user."""
    capability(file(room.tree / "file", 5), 7)
    after = read(shift(peer, room).tree)["file"]["capability"]
    if after and after["rootid"] == START:
        return Verdict(PARTLY, "overwritten by what 0 becomes")
    return yes_if(after and after["rootid"] == START + 7, f"root 7 becomes {after['rootid']}" if after else "gone")


@row("resumes after a crash")
def resumes(peer, room):
    """Killed at any point, the next run leaves exactly what an uncut one leaves; ~ the owners, not all else."""
    verdicts = []
    expected = crash(peer, room)
    assert expected["witness"]["uid"] == peer.owner(5)
    # systemd-nspawn changes the dozen directories around the tree as well; by the 18th call it is in it.
    for calls, numbers in ((tracing.OWNER, (1, 4, 18)), (tracing.REST, (1, 5, 18, 19))):
        for number in numbers:
            room = room.another()
            found = crash(peer, room, calls, number)
            if found is not None:
                verdicts.append(manifest.differences(expected, found))
    if not verdicts:
        return Verdict(NO, "could not be killed")
    lines = sorted(line for lines in verdicts for line in lines)
    if not lines:
        return Verdict(YES, "")
    wrong = [line for line in lines if re.search(": (uid|gid) is|: is gone", line)]
    return Verdict(NO, wrong[0]) if wrong else Verdict(PARTLY, lines[0])


def crash(peer, room, calls=None, number=0):
    """The tree after a run that is killed, and another that is not; None where the first was not killed."""
    for name in range(20):
        path = acl(file(room.tree / f"file{name}", name), (7,))
        os.chmod(path, 0o6755)
        capability(path, 7)
    if calls:
        log = room.top / "trace"
        peer.shift(room.tree, under=tracing.killer(log, calls, number))
        if not tracing.was_killed(log):
            return None
    tree = peer.shift(room.tree).tree
    return read(tree) if tree.exists() else {}


@row("stops at mounts, pseudo-fs")
def stops_at_mounts(peer, room):
    """What is mounted within the tree is not touched; ~ only what the kernel mounts for itself."""
    if peer.copies:
        return Verdict(NOT_APPLICABLE, "its snapshots hold no mounts")
    mounts = {"tmpfs": room.tree / "tmpfs", "devpts": room.tree / "devpts"}
    for kind, point in mounts.items():
        directory(point, 5)
        subprocess.run(["mount", "-t", kind, kind, point], check=True)
    try:
        file(mounts["tmpfs"] / "file", 5)
        shift(peer, room)
        crossed = [kind for kind, name in (("tmpfs", "file"), ("devpts", "ptmx"))
                   if owner(mounts[kind] / name)[0] >= START]
    finally:
        subprocess.run(["umount", *mounts.values()], check=True)
    if crossed == ["tmpfs"]:
        return Verdict(PARTLY, "at those of the kernel only")
    return yes_if(not crossed, f"goes on in {', '.join(crossed)}")


@row("immutable files handled")
def immutable_handled(peer, room):
    """An immutable file is shifted and is immutable again, if it was told so."""
    if peer.copies:
        return Verdict(NOT_APPLICABLE, "its snapshots hold none")
    fixed = flag(file(room.tree / "immutable", 5), IMMUTABLE)
    try:
        peer.shift(room.tree)
        found = read(room.tree)["immutable"]
        return yes_if((found["uid"], found["flags"]) == (peer.owner(5), "i"), "fails in the middle")
    finally:
        subprocess.run(["chattr", "-i", fixed], check=True)


@row("undo")
def undo(peer, room):
    """It has a way back to exactly what was, ids outside the map included; ~ to the owners, not all else."""
    if not peer.back:
        return Verdict(NO, "there is none")
    file(room.tree / "set-id", 6, 0o6755)
    capability(file(room.tree / "capability", 5), 7)
    acl(file(room.tree / "acl", 5), (7,))
    file(room.tree / "unmapped", 70_000)
    before = read(room.tree)
    shift(peer, room)
    peer.back(room.tree)
    lines = manifest.differences(before, read(room.tree))
    if lines and not any(": uid is" in line or ": gid is" in line for line in lines):
        return Verdict(PARTLY, lines[0])
    return yes_if(not lines, lines[0] if lines else "")


@row("leaves nothing out")
def leaves_nothing_out(peer, room):
    """All entries are shifted, the tree itself and those with short names too."""
    for name in ("a", "b", "c", "longer"):
        file(room.tree / name, 5)
        directory(room.tree / f"{name}.d", 5)
    tree = shift(peer, room).tree
    out = sorted(path for path, entry in read(tree).items() if entry["uid"] != peer.owner(5))
    return yes_if(not out, f"leaves out {', '.join(out)}")
