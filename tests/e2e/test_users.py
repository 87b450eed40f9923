"""Whose ids containers get: every format of `user`, several ranges, from one account to another, ranges that were
changed by hand, and where new ranges come from."""

import json

import pytest

import small
from hosts import DEBIAN_12, DEBIAN_13, on
from machine import CONFIG, DATA_ROOT
from test_refusals import is_refused, obstacle

SHOP = ("id -u shop || { groupadd --gid 1500 shop; useradd --system --uid 1500 --gid shop shop; }; "
        "sed -i /^shop:/d /etc/subuid /etc/subgid")
# Two ranges for users, two others for groups.
RANGES = ("printf 'shop:400000:1000\nshop:600000:64536\n' >>/etc/subuid; "
          "printf 'shop:500000:30000\nshop:700000:35536\n' >>/etc/subgid")
MAPS = {"uid": [[0, 400000, 1000], [1000, 600000, 64536]], "gid": [[0, 500000, 30000], [30000, 700000, 35536]]}
ROOT = f"{DATA_ROOT}/400000.500000"
# The steps of a change between two accounts that have their ranges.
STEPS = ["guard", "stop_containers", "stop_engine", "hold", "prove_stopped", "move_root", "own", "shift",
         "rewrite_containers", "configure", "release", "start_engine", "verify_inventory", "start_containers"]


@pytest.fixture
def shop_host(small_host):
    """A plain engine, and an account without ranges."""
    small_host.sh(SHOP)
    yield small_host
    # Whatever ranges there are now, and accounts, the next test makes its own.
    small_host.holds = None


def remap(machine, **options):
    result = machine.remap(**{"state": "enabled", **options})
    assert not result.get("failed"), result["msg"]
    return result


def maps(machine, container="dns"):
    """The maps of a container, as the kernel has them."""
    text = {kind: machine.docker("exec", container, "cat", f"/proc/self/{kind}_map") for kind in ("uid", "gid")}
    return {kind: [[int(word) for word in line.split()] for line in lines.splitlines()] for kind, lines in text.items()}


def returned(result):
    return {kind: [[extent[key] for key in ("container", "host", "size")] for extent in result[f"{kind}_map"]]
            for kind in ("uid", "gid")}


def write(machine, stage):
    """Files of ids on both sides of where the ranges break, in a volume and in a layer."""
    machine.docker("exec", "dns", "sh", "-euc",
                   f"for d in /data/stages /stages; do mkdir -p $d; for id in 0 999 1000 30000 65534; do "
                   f"touch $d/{stage}-$id; chown $id:$id $d/{stage}-$id; done; done")


def view(machine):
    return machine.docker("exec", "dns", "sh", "-c", "stat -c '%n %u:%g' /data/stages/* /stages/*").splitlines()


def test_the_engine_takes_every_format_that_is_taken(shop_host):
    machine = shop_host
    result = remap(machine, user="shop")
    root, found = machine.engine_root, maps(machine)
    assert returned(result) == found
    for user in ("shop:staff", "1500", "1500:50", "shop"):
        # The same ids: only the file changes, and the engine reads it when it starts again.
        assert remap(machine, user=user)["steps"] == ["configure"]
        assert json.loads(machine.read(CONFIG))["userns-remap"] == user
        machine.sh("systemctl reset-failed docker; systemctl restart docker; docker start dns worker")
        assert (machine.engine_root, maps(machine)) == (root, found), user
        assert remap(machine, user=user)["changed"] is False
    small.assert_whole(machine, machine.before, "remapped")
    remap(machine, state="disabled")
    small.assert_whole(machine, machine.before, "plain")
    assert not machine.exists(CONFIG)


REFUSED = {
    "root": ("", "", {"user": "root"}, ["user=root is root", "turns remapping off"]),
    "root by number": ("", "", {"user": "0:0"}, ["user=0:0 is root"]),
    "nobody": ("", "", {"user": "carol"}, ["there is no account carol"]),
    "a number that is no account": ("", "", {"user": "4242:0"}, ["there is no account 4242"]),
    "no format": ("", "", {"user": "shop:shop:shop"}, ["user=shop:shop:shop is none of default, user, user:group"]),
    "a group that is not there": ("", "", {"user": "shop:crew"}, ["a group crew, and there is none"]),
    "an account without its group": (
        "useradd --system --no-user-group --gid users lonely", "userdel lonely", {"user": "lonely"},
        ["a group lonely, and there is none", "user=lonely:GROUP"]),
    "a group without its account": (
        "groupadd --system dockremap", "groupdel dockremap", {}, ["a group dockremap, but no account"]),
    "lines of both kinds": (
        "printf '1500:400000:65536\nshop:500000:65536\n' >>/etc/subuid", "sed -i '/^1500:/d; /^shop:/d' /etc/subuid",
        {"user": "shop"}, ["/etc/subuid has lines for both shop and its uid"]),
    "a line at which the engine stops": (
        "echo shop:1:2:3 >>/etc/subgid", "sed -i /^shop:/d /etc/subgid", {},
        ["of /etc/subgid is not owner:start:count", "shop:1:2:3"]),
    "no room": (
        "cp -p /etc/login.defs /run; printf 'SUB_UID_MIN 90000\nSUB_UID_MAX 170000\n' >>/etc/login.defs",
        "cp -p /run/login.defs /etc", {}, ["100000 and 170000", "admin:100000:65536", "/etc/login.defs"]),
}


@pytest.mark.parametrize(("arrange", "remove", "options", "words"), REFUSED.values(), ids=REFUSED)
def test_what_the_engine_would_not_take_is_refused_before_anything_stops(small_host, arrange, remove, options, words):
    small_host.sh(SHOP)
    with obstacle(small_host, arrange, remove):
        is_refused(small_host, words, state="enabled", **options)


def test_several_ranges_are_used_in_the_order_of_the_files(shop_host):
    machine = shop_host
    machine.sh(RANGES)
    write(machine, "plain")
    inside = view(machine)
    result = remap(machine, user="shop")
    assert machine.engine_root == ROOT
    assert returned(result) == maps(machine) == maps(machine, "worker") == MAPS
    small.assert_whole(machine, machine.before, "remapped")
    assert view(machine) == inside
    on_disk = machine.said("stat", "-c", "%u:%g", *(f"{ROOT}/volumes/dnsdata/_data/stages/plain-{number}"
                                                   for number in (0, 999, 1000, 30000, 65534)))
    assert on_disk.split() == ["400000:500000", "400999:500999", "600000:501000", "629000:700000", "664534:735534"]
    write(machine, "remapped")
    inside = view(machine)
    remap(machine, state="disabled")
    small.assert_whole(machine, machine.before, "plain")
    assert view(machine) == inside


def test_from_one_account_to_another_and_back(shop_host):
    machine = shop_host
    machine.sh(RANGES)
    original = '{ "shutdown-timeout" : 14 }'
    machine.write(CONFIG, original)
    write(machine, "plain")
    for user, options in (("dockremap", {}), ("shop", {"user": "shop"}), ("dockremap", {"user": "default"}),
                          ("plain", {"state": "disabled"})):
        seen = view(machine)
        result = remap(machine, **options)
        assert result["data_root"]["after"] == machine.engine_root
        assert small.state(machine)["user"] == user
        small.assert_whole(machine, machine.before, "plain" if user == "plain" else "remapped")
        assert view(machine) == seen
        write(machine, f"as-{user}")
    assert machine.read(CONFIG) == original
    assert machine.sh(f"ls {DATA_ROOT} | grep -E '^[0-9]+[.][0-9]+$' || true") == ""
    small.assert_engine_ran_on_clean_states_only(machine)


@pytest.fixture
def host_of_dockremap(remapped_host):
    """Remapped as dockremap, with a second account to go to."""
    remapped_host.sh(f"grep -q ^shop: /etc/subuid || {{ {SHOP}; {RANGES}; }}")
    small.forget_states(remapped_host)
    return remapped_host


KILLS = [*(f"done:{step}" for step in STEPS), "started:move_root", "applied:shift", "undone:shift", "undone:move_root",
         "committed"]


@pytest.mark.parametrize(("machine", "point"), [on((DEBIAN_12, DEBIAN_13)[number % 2], point, name=point)
                                                for number, point in enumerate(KILLS)], indirect=["machine"])
def test_a_killed_change_between_accounts_is_finished_or_undone(host_of_dockremap, point):
    machine = host_of_dockremap
    wish = {"state": "enabled", "user": "shop"}
    if point.startswith("undone:"):
        assert machine.remap(fault="kill@done:start_containers", **wish) is None
        assert machine.recover(fault=f"kill@{point}") == ""
    else:
        assert machine.remap(fault=f"kill@{point}", **wish) is None
    finished = point == "committed"
    assert machine.recover() == f"an interrupted change was {'finished' if finished else 'undone'}"
    small.assert_whole(machine, machine.before, "remapped")
    assert small.state(machine)["user"] == ("shop" if finished else "dockremap")
    small.assert_engine_ran_on_clean_states_only(machine)


def test_ranges_that_were_changed_by_hand(host_of_dockremap):
    machine = host_of_dockremap
    machine.holds = None
    start, _ = machine.subordinate_range
    # The new range overlaps the old one.
    machine.sh(f"sed -i s/^dockremap:{start}:/dockremap:{start + 5}:/ /etc/subuid /etc/subgid")
    write(machine, "old")
    inside = view(machine)
    result = remap(machine)
    assert machine.engine_root == f"{DATA_ROOT}/{start + 5}.{start + 5}"
    assert returned(result) == maps(machine)
    small.assert_whole(machine, machine.before, "remapped")
    assert view(machine) == inside
    # The way back needs only what the engine uses, which a container tells, or what was kept.
    machine.sh("sed -i s/^dockremap:/dockremap:9/ /etc/subuid /etc/subgid; docker stop dns worker")
    remap(machine, state="disabled")
    machine.docker("start", "dns", "worker")
    small.assert_whole(machine, machine.before, "plain")
    assert view(machine) == inside


def test_an_account_without_ranges_gets_one_within_the_bounds_of_login_defs(small_host):
    machine = small_host
    machine.holds = None
    machine.sh("useradd --system --user-group dockremap; sed -i '/^SUB_[UG]ID_M/d' /etc/login.defs; "
               "printf 'SUB_UID_MIN 3000000\nSUB_GID_MIN 3100000\nSUB_UID_COUNT 70000\n' >>/etc/login.defs")
    remap(machine)
    assert maps(machine) == {"uid": [[0, 3100000, 70000]], "gid": [[0, 3100000, 70000]]}
    assert machine.subordinate_range == (3100000, 70000)
    small.assert_whole(machine, machine.before, "remapped")


LATE = """\
[Service]
ExecStartPre=/bin/sh -c 'grep -q ^dockremap:7000000: /etc/subuid || echo dockremap:7000000:9 >>/etc/subuid'
"""
# Before the real one on the path of the module.
QUICKER = """#!/bin/sh
grep -q ^carol: /etc/subgid || echo carol:165600:9 >>/etc/subgid
exec /usr/sbin/usermod "$@"
"""


@pytest.mark.parametrize(("path", "text", "words"), [
    pytest.param("/etc/systemd/system/docker.service.d/20-late.conf", LATE,
                 ["with the user ids 0:165536:65536,65536:7000000:9 and the group ids 0:165536:65536, not with "
                  "0:165536:65536 and"], id="by-the-engine"),
    pytest.param("/usr/local/sbin/usermod", QUICKER,
                 ["in /etc/subgid the range 165536:65536 overlaps 165600:9 of carol"], id="by-another-account"),
])
def test_ranges_that_changed_after_they_were_chosen_are_seen_and_all_is_taken_back(small_host, path, text, words):
    machine = small_host
    machine.holds = None
    machine.write(path, text, mode="0755")
    machine.sh("systemctl daemon-reload")
    result = machine.remap(state="enabled")
    assert result["failed"] and [word for word in words if word not in result["msg"]] == [], result["msg"]
    assert machine.run("id", "dockremap", check=False).returncode == 1
    small.assert_whole(machine, machine.before, "plain")


def test_a_lock_of_the_accounts_files_is_heeded_while_its_process_lives(small_host):
    machine = small_host
    machine.sh("sleep 1000 >/dev/null 2>&1 & printf $! >/etc/subgid.lock")
    holder = machine.read("/etc/subgid.lock")
    result = machine.remap(state="enabled")
    assert result["failed"] and f"/etc/subgid.lock is held by process {holder}" in result["msg"], result
    assert machine.run("id", "dockremap", check=False).returncode == 1
    small.assert_whole(machine, machine.before, "plain")
    assert small.states(machine) == []
    machine.sh(f"kill {holder}; while kill -0 {holder} 2>/dev/null; do sleep 0.1; done")
    remap(machine)
    assert not machine.exists("/etc/subgid.lock")
    small.assert_whole(machine, machine.before, "remapped")
