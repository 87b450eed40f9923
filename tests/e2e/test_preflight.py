"""What an operator allows, adopts or has linked before the change: and what is refused without it."""

import json

import pytest

import small
from machine import CONFIG, DATA_ROOT

SLEEP = "--stop-timeout 1 bulkhead/busybox sleep 1000000"


def succeeds(machine, **options):
    result = machine.remap(**options)
    assert not result.get("failed"), result["msg"]
    return result


# allow_loss


@pytest.fixture
def host_with_fleeting(small_host):
    machine = small_host
    machine.holds = None
    machine.sh(f"docker run -d --rm --name fleeting -v /scratch -v kept:/kept {SLEEP}")
    return machine


def anonymous_volumes(machine):
    return [name for name in machine.docker("volume", "ls", "-q").split() if len(name) == 64]


def test_a_container_run_with_rm_goes_only_where_its_loss_is_allowed(host_with_fleeting):
    machine = host_with_fleeting
    before, (volume,) = machine.inventory(), anonymous_volumes(machine)
    assert "container fleeting was started with --rm" in machine.remap(state="enabled")["msg"]
    expected = [{"name": "fleeting", "volumes": [volume]}]
    foretold = succeeds(machine, state="enabled", allow_loss=["fleeting"], check_mode=True)
    assert foretold["lost"] == expected
    assert "are deleted: fleeting" in json.dumps(foretold["diff"])
    result = succeeds(machine, state="enabled", allow_loss=["fleeting"])
    assert result["lost"] == expected
    del before["containers"]["fleeting"]
    before["running"].remove("fleeting")
    before["volumes"].remove(volume)
    assert machine.inventory() == before
    # The name is nobody's by now.
    assert succeeds(machine, state="enabled", allow_loss=["fleeting"])["changed"] is False


def test_a_change_that_fails_says_what_the_stop_has_deleted(host_with_fleeting):
    machine = host_with_fleeting
    result = machine.remap(state="enabled", allow_loss=["fleeting"], fault="fail@done:shift")
    assert result["failed"], result
    assert any("container fleeting is gone" in warning for warning in result["warnings"]), result["warnings"]
    assert {"dns", "worker"} == machine.inventory()["running"]
    assert small.state(machine)["state"] == "plain"


# masked_data

ROWS = f"{DATA_ROOT}/volumes/workdata/_data/rows"
WORKER = f"docker run -d --name worker -v workdata:/data {SLEEP}"


@pytest.fixture
def plain_inventory(small_host):
    """What the engine had before somebody followed a guide: stop all, write daemon.json, restart, run anew."""
    machine = small_host
    machine.holds = None
    machine.sh(f"docker run -d --name keeper --restart always {SLEEP}")
    machine.sh(f"echo precious >{ROWS}; chown 999:999 {ROWS}")
    before = machine.inventory()
    machine.sh("docker save bulkhead/busybox >/tmp/image; docker stop $(docker ps -q)")
    machine.write(CONFIG, '{"userns-remap": "default"}\n')
    machine.sh(f"systemctl restart docker; docker load </tmp/image; {WORKER}; docker network create appnet")
    # The same name, and nothing in it.
    assert machine.docker("exec", "worker", "ls", "/data") == ""
    machine.docker("exec", "worker", "sh", "-c", "echo since >/data/new")
    return before


def test_what_a_guide_left_out_of_sight_is_adopted(machine, plain_inventory):
    root, start = machine.engine_root, machine.subordinate_range[0]
    told = succeeds(machine, state="enabled")
    assert not told["changed"] and any("masked_data=adopt" in warning for warning in told["warnings"])
    (masked,) = machine.info()["masked"]
    assert masked["path"] == DATA_ROOT and "volumes" in masked["entries"]
    foretold = succeeds(machine, state="enabled", masked_data="adopt", check_mode=True)
    assert f"set {root} aside" in json.dumps(foretold["diff"])

    result = succeeds(machine, state="enabled", masked_data="adopt")
    assert result["restarted"] == ["keeper"], "the guide stopped the others by hand"
    found = machine.inventory()
    assert found == plain_inventory | {"running": {"keeper"}}
    machine.docker("start", "worker", "dns")
    assert machine.docker("exec", "worker", "cat", "/data/rows") == "precious"
    assert machine.docker("exec", "worker", "stat", "-c", "%u:%g", "/data/rows") == "999:999"
    assert machine.said("stat", "-c", "%u", f"{root}/volumes/workdata/_data/rows") == str(start + 999)
    assert small.state(machine)["state"] == "remapped"
    assert succeeds(machine, state="enabled", masked_data="adopt")["changed"] is False

    aside = result["set_aside"]
    assert machine.read(f"{aside}/volumes/workdata/_data/new") == "since\n"
    back = succeeds(machine, state="disabled")
    assert any(aside in warning for warning in back["warnings"])
    assert machine.inventory() == plain_inventory
    assert machine.read(ROWS) == "precious\n"
    assert machine.read(f"{aside}/volumes/workdata/_data/new") == "since\n"
    assert json.loads(machine.read(CONFIG)) == {}


@pytest.mark.parametrize("fault", ["fail@done:set_aside", "fail@done:shift", "kill@done:move_root"])
def test_an_adoption_that_fails_brings_back_what_was_set_aside(machine, plain_inventory, fault):
    before = machine.inventory()
    owners = machine.said("find", DATA_ROOT, "-maxdepth", "2", "-printf", "%p %U:%G %m\n")
    result = machine.remap(state="enabled", masked_data="adopt", fault=fault)
    if fault.startswith("kill"):
        assert result is None
        assert "undone" in machine.recover()
    else:
        assert result["failed"], result
    assert machine.inventory() == before
    assert machine.docker("exec", "worker", "cat", "/data/new") == "since"
    assert machine.read(ROWS) == "precious\n"
    assert machine.said("stat", "-c", "%u", ROWS) == "999"
    assert sorted(machine.said("find", DATA_ROOT, "-maxdepth", "2", "-printf", "%p %U:%G %m\n").splitlines()) == \
        sorted(owners.splitlines())
    assert machine.leftovers() == []


def test_a_stale_root_is_set_aside(small_host):
    machine = small_host
    machine.holds = None
    stale = f"{DATA_ROOT}/165536.165536"
    machine.sh(f"mkdir -p {stale}/volumes/old; touch {stale}/volumes/old/file")
    assert "masked_data=set_aside" in machine.remap(state="enabled")["msg"]
    result = succeeds(machine, state="enabled", masked_data="set_aside")
    assert machine.exists(f"{result['set_aside']}/volumes/old/file")
    small.assert_whole(machine, machine.before, "remapped")
    succeeds(machine, state="disabled")
    assert machine.exists(f"{result['set_aside']}/volumes/old/file")
    small.assert_whole(machine, machine.before, "plain")
