"""A tree of everything is shifted, shifted again, and restored: an independent reader sees, each time, exactly
what the map says. The limit of open files is the usual one, and so is that of a path's length."""

import os
import subprocess
from collections import Counter
from dataclasses import dataclass

import pytest

import everything
import tree as trees
from programs import Map, ours
from testbed import manifest

OPTIONS = ("immutable=lift", "outside_links=keep", "unmapped=keep")
FILE_SYSTEMS = ("ext4", "xfs", "btrfs")


MAPS = {
    # Rootless Podman's, with a place in the middle for one account, and other groups than users.
    "apart": Map(users=((0, 300_000, 1000), (1000, 5_000_000, 1), (1001, 301_000, 64_535)),
                 groups=((0, 700_000, 500), (500, 900_000, 65_036))),
    # Each id is made one that is itself made another.
    "overlapping": Map(users=((0, 1000, 65_536),), groups=((0, 33, 65_536),)),
    # Ids change places, so that a tree that is shifted looks as it did before.
    "exchanged": Map(users=((0, 0, 1), (1, 1001, 999), (1000, 1000, 1), (1001, 1, 999), (2000, 2000, 63_536)),
                     groups=((0, 500, 500), (500, 0, 500), (1000, 1000, 64_536))),
    # The users 60000 and up, and half of the groups, stay.
    "unmapped kept": Map(users=((0, 300_000, 2000),), groups=((0, 700_000, 500), (60_000, 800_000, 10))),
}


def read(top):
    return {entry["path"]: entry for entry in manifest.walk(top)}


def expected(before, map):
    """Ids that no extent covers stay; so does the owner of a file that has a name outside."""
    users, groups = (side + ((0, 0, 2**32),) for side in (map.users, map.groups))
    after = manifest.translate_by(before, users, groups)
    names = Counter(entry["hardlink_of"] for entry in before.values())
    for path, entry in before.items():
        if entry["type"] != "directory" and entry["nlink"] > names[entry["hardlink_of"]]:
            after[path] = entry
    return after


def room(top):
    """With an outside that is empty."""
    (top / "outside").mkdir(parents=True)
    return top


@dataclass
class Journey:
    """A tree there and back again: what each stage said, and what then was not as it must be."""

    results: dict
    differences: dict
    outside: dict

    @classmethod
    def run(cls, top, map):
        journey = cls({}, {}, {})
        before, outside = read(top / "tree"), read(top / "outside")
        shifted = expected(before, map)
        for stage, option, tree in (("shifted", map.option(), shifted), ("again", map.option(), shifted),
                                    ("restored", "state=restored", before),
                                    ("restored again", "state=restored", before)):
            ran, result = ours(top / "tree", top / "state", option, *OPTIONS,
                               under=["prlimit", "--nofile=1024"])
            assert ran.status == 0, f"{stage}: {ran.output[:2000]}"
            journey.results[stage] = result
            journey.differences[stage] = manifest.differences(tree, read(top / "tree"))
            journey.outside[stage] = manifest.differences(outside, read(top / "outside"))
        return journey

    def check(self, stage, changed):
        lines = self.differences[stage]
        # A tree has thousands of entries.
        assert not lines, "\n".join([f"{len(lines)} differences", *(line[:300] for line in lines[:10])])
        assert self.results[stage]["changed"] is changed


@pytest.fixture(scope="module", params=[(kind, name) for kind in FILE_SYSTEMS for name in MAPS],
                ids=lambda pair: "-".join(pair).replace(" ", "-"))
def journey(request, file_system):
    kind, name = request.param
    top = file_system(kind) / name.replace(" ", "-")
    top.mkdir()
    everything.build(top, kind)
    return Journey.run(top, MAPS[name])


def test_a_shift_gives_each_id_what_the_map_makes_of_it_and_keeps_all_else(journey):
    journey.check("shifted", changed=True)


def test_a_second_shift_changes_nothing_and_says_so(journey):
    journey.check("again", changed=False)


def test_a_restore_brings_back_everything(journey):
    journey.check("restored", changed=True)


def test_a_second_restore_changes_nothing_and_says_so(journey):
    journey.check("restored again", changed=False)


def test_what_also_has_a_name_outside_is_never_touched(journey):
    assert journey.outside == dict.fromkeys(journey.results, [])


@pytest.mark.xfail(strict=True, reason="the kernel shows a capability of root 0 as one of no root, and the shift "
                                       "takes it for lost, or does not bring it back")
@pytest.mark.parametrize("flags", [0, trees.IMMUTABLE], ids=["plain", "immutable"])
def test_a_capability_whose_root_becomes_0_is_restored(file_system, flags, request):
    top = room(file_system("ext4") / request.node.name)
    trees.directory(top / "tree", 100_000)
    trees.flag(trees.capability(trees.file(top / "tree" / "file", 100_000), 100_000), flags)
    journey = Journey.run(top, Map(((100_000, 0, 65_536),), ((100_000, 0, 65_536),)))
    journey.check("restored", changed=True)


@pytest.mark.xfail(strict=True, reason="nothing looks for read-only subvolumes before the first change")
def test_a_read_only_subvolume_is_refused_before_any_change(file_system):
    top = room(file_system("btrfs") / "read-only")
    trees.directory(top / "tree", 5)
    everything.subvolume(top / "tree" / "subvolume")
    command = ["btrfs", "-q", "subvolume", "snapshot", "-r", top / "tree" / "subvolume", top / "tree" / "snapshot"]
    subprocess.run(command, check=True)
    before = read(top / "tree")
    ran, _ = ours(top / "tree", top / "state", "map=0:100000:65536")
    assert ran.status != 0
    assert not manifest.differences(before, read(top / "tree"))


def test_a_directory_of_very_many_entries_is_shifted_and_restored(file_system):
    top = room(file_system("ext4") / "wide")
    trees.wide(top / "tree", int(os.environ.get("BULKHEAD_WIDE", 100_000)), everything.OWNERS)
    journey = Journey.run(top, MAPS["apart"])
    journey.check("shifted", changed=True)
    journey.check("restored", changed=True)
