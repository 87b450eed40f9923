"""A tree of everything is shifted, shifted again, and restored: an independent reader sees, each time, exactly
what the map says. The limit of open files is the usual one, and so is that of a path's length."""

import os
from collections import Counter
from dataclasses import dataclass

import pytest

import everything
import tree as trees
from programs import ours
from testbed import manifest

EVERYTHING = ("immutable=lift", "outside_links=keep")
FILE_SYSTEMS = ("ext4", "xfs", "btrfs")


@dataclass(frozen=True)
class Map:
    """Extents (from, to, size)."""

    users: tuple
    groups: tuple
    options: tuple = ()

    def option(self):
        sides = (("u", self.users), ("g", self.groups))
        return "map=" + ",".join(f"{kind}:{first}:{to}:{size}" for kind, side in sides for first, to, size in side)


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
    "unmapped kept": Map(users=((0, 300_000, 2000),), groups=((0, 700_000, 500), (60_000, 800_000, 10)),
                         options=("unmapped=keep",)),
}


def read(top):
    return {entry["path"]: entry for entry in manifest.walk(top)}


def same(expected, found):
    """Fails with the first differences, for a tree has thousands."""
    lines = manifest.differences(expected, found)
    assert not lines, "\n".join([f"{len(lines)} differences", *(line[:300] for line in lines[:10])])


def expected(before, map):
    """Ids that no extent covers stay; so does the owner of a file that has a name outside."""
    users, groups = (side + ((0, 0, 2**32),) for side in (map.users, map.groups))
    after = manifest.translate_by(before, users, groups)
    names = Counter(entry["hardlink_of"] for entry in before.values())
    for path, entry in before.items():
        if entry["type"] != "directory" and entry["nlink"] > names[entry["hardlink_of"]]:
            after[path] = entry
    return after


@dataclass
class Journey:
    """A tree there and back again: results, and manifests after each."""

    map: Map
    results: dict
    trees: dict
    outside: dict

    @classmethod
    def run(cls, top, map):
        journey = cls(map, {}, {"before": read(top / "tree")}, {"before": read(top / "outside")})
        runs = {"shifted": map.option(), "again": map.option(), "restored": "state=restored",
                "restored again": "state=restored"}
        for stage, option in runs.items():
            ran, result = ours(top / "tree", top / "state", option, *EVERYTHING, *map.options,
                               under=["prlimit", "--nofile=1024"])
            assert ran.status == 0, f"{stage}: {ran.output[:2000]}"
            journey.results[stage] = result
            journey.trees[stage] = read(top / "tree")
            journey.outside[stage] = read(top / "outside")
        return journey


@pytest.fixture(scope="module", params=[(kind, name) for kind in FILE_SYSTEMS for name in MAPS],
                ids=lambda pair: "-".join(pair).replace(" ", "-"))
def journey(request, file_system):
    kind, name = request.param
    top = file_system(kind) / name.replace(" ", "-")
    top.mkdir()
    everything.build(top, kind)
    return Journey.run(top, MAPS[name])


def test_a_shift_gives_each_id_what_the_map_makes_of_it_and_keeps_all_else(journey):
    before = journey.trees["before"]
    same(expected(before, journey.map), journey.trees["shifted"])
    assert journey.results["shifted"]["changed"] is True


def test_a_second_shift_changes_nothing_and_says_so(journey):
    same(journey.trees["shifted"], journey.trees["again"])
    assert journey.results["again"]["changed"] is False


def test_a_restore_brings_back_everything(journey):
    same(journey.trees["before"], journey.trees["restored"])
    assert journey.results["restored"]["changed"] is True


def test_a_second_restore_changes_nothing_and_says_so(journey):
    same(journey.trees["before"], journey.trees["restored again"])
    assert journey.results["restored again"]["changed"] is False


def test_what_also_has_a_name_outside_is_never_touched(journey):
    assert journey.outside["before"]
    for stage, outside in journey.outside.items():
        same(journey.outside["before"], outside)


@pytest.mark.xfail(strict=True, reason="the kernel shows a capability of root 0 as one of no root, and the shift "
                                       "takes it for lost, or does not bring it back")
@pytest.mark.parametrize("flags", [0, trees.IMMUTABLE], ids=["plain", "immutable"])
def test_a_capability_whose_root_becomes_0_is_restored(file_system, flags, request):
    top = file_system("ext4") / request.node.name
    top.mkdir()
    (top / "outside").mkdir()
    trees.directory(top / "tree", 100_000)
    trees.flag(trees.capability(trees.file(top / "tree" / "file", 100_000), 100_000), flags)
    journey = Journey.run(top, Map(((100_000, 0, 65_536),), ((100_000, 0, 65_536),)))
    test_a_restore_brings_back_everything(journey)


def test_a_directory_of_very_many_entries_is_shifted_and_restored(file_system):
    top = file_system("ext4") / "wide"
    top.mkdir()
    (top / "outside").mkdir()
    trees.wide(top / "tree", int(os.environ.get("BULKHEAD_WIDE", 100_000)), everything.OWNERS)
    journey = Journey.run(top, MAPS["apart"])
    test_a_shift_gives_each_id_what_the_map_makes_of_it_and_keeps_all_else(journey)
    test_a_restore_brings_back_everything(journey)
