"""A container that is set to stay in the host's user namespace does so, with what it wrote, both ways."""

import pytest

import small
from compose import OVERRIDE, PROJECT, SHOP, compose_up
from hosts import every_engine

pytestmark = every_engine

NAME = "onhost"
RUN = ("docker run -d --name onhost --userns=host --network host -v hostdata:/data --stop-timeout 1 "
       "bulkhead/busybox sh -c 'trap exit TERM; while :; do sleep 0.2; done'")
WRITE = "mkdir -p /own; for id in 0 33 999; do touch /own/$id /data/$id; chown $id:$id /own/$id /data/$id; done"


@pytest.fixture
def host_with_onhost(small_host):
    machine = small_host
    machine.holds = None
    machine.sh(RUN)
    machine.docker("exec", NAME, "sh", "-c", WRITE)
    return machine


def owners(machine, *paths):
    """The owners on disk of what lies in directories."""
    return [machine.said("find", path, "-mindepth", "1", "-printf", "%f %U:%G\n").splitlines() for path in paths]


def test_it_lives_on_in_the_hosts_namespace_with_its_layer_and_volume_unshifted(host_with_onhost):
    machine = host_with_onhost
    before = machine.inventory()
    machine.sh("useradd --system --user-group other")
    for state, user in (("enabled", "default"), ("enabled", "other"), ("disabled", "default")):
        result = machine.remap(state=state, user=user)
        assert result["changed"] and not result.get("failed"), result["msg"]
        assert machine.inventory() == before
        assert machine.docker("exec", NAME, "cat", "/proc/self/uid_map").split() == ["0", "0", "4294967295"]
        written = owners(machine, f"{machine.layer(NAME)}/own", f"{machine.engine_root}/volumes/hostdata/_data")
        assert [sorted(found) for found in written] == [["0 0:0", "33 33:33", "999 999:999"]] * 2
        assert machine.docker("exec", NAME, "stat", "-c", "%u", "/own/33", "/data/999").split() == ["33", "999"]
        remapped = machine.docker("exec", "worker", "cat", "/proc/self/uid_map").split()[1]
        assert (remapped != "0") == (state == "enabled")


def test_a_volume_shared_with_a_remapped_container_is_refused(host_with_onhost):
    machine = host_with_onhost
    machine.sh("docker create --name sharer -v hostdata:/data bulkhead/busybox true")
    result = machine.remap(state="enabled")
    assert result.get("failed"), result
    assert "container sharer shares the volume hostdata with onhost" in result["msg"]
    assert small.state(machine)["state"] == "plain"


@pytest.fixture
def host_with_onhost_to_be(small_host):
    machine = small_host
    machine.holds = None
    machine.sh(RUN.replace("--userns=host ", ""))
    machine.docker("exec", NAME, "sh", "-c", WRITE)
    return machine


def test_a_container_is_set_to_the_hosts_namespace_without_being_made_anew(host_with_onhost_to_be):
    machine = host_with_onhost_to_be
    before = machine.inventory()
    assert "container onhost uses the host's network" in machine.remap(state="enabled")["msg"]
    for state in ("enabled", "disabled"):
        result = machine.remap(state=state, **({"host_mode": [NAME]} if state == "enabled" else {}))
        assert not result.get("failed"), result["msg"]
        assert machine.inventory() == before
        mode = "host" if state == "enabled" else ""
        assert machine.docker("inspect", "-f", "{{.HostConfig.UsernsMode}}", NAME) == mode
        assert machine.docker("exec", NAME, "cat", "/proc/self/uid_map").split() == ["0", "0", "4294967295"]
        # What it writes meanwhile has the host's ids too.
        machine.docker("exec", NAME, "sh", "-c", f"touch /own/{state}; chown 65533:65533 /own/{state}")
        written = owners(machine, f"{machine.layer(NAME)}/own", f"{machine.engine_root}/volumes/hostdata/_data")
        assert {"0 0:0", "33 33:33", "999 999:999", f"{state} 65533:65533"} <= set(written[0])
        assert set(written[1]) == {"0 0:0", "33 33:33", "999 999:999"}
    assert machine.remap(state="disabled")["changed"] is False


def test_a_change_that_fails_sets_it_back(host_with_onhost_to_be):
    machine = host_with_onhost_to_be
    result = machine.remap(state="enabled", host_mode=[NAME], fault="fail@done:set_host_mode")
    assert result["failed"], result
    assert machine.docker("inspect", "-f", "{{.HostConfig.UsernsMode}}", NAME) == ""
    assert machine.docker("exec", NAME, "true") == ""
    assert small.state(machine)["state"] == "plain"


def test_compose_services_that_need_it_stay_in_the_hosts_namespace(small_host):
    machine = small_host
    machine.holds = None
    machine.write(f"{SHOP}/docker-compose.yml", PROJECT)
    machine.write(f"{SHOP}/docker-compose.override.yml", OVERRIDE)
    compose_up(machine)
    before = machine.inventory()
    assert machine.remap(state="enabled")["failed"]
    result = machine.remap(state="enabled", compose_projects=[SHOP])
    assert not result.get("failed"), result["msg"]
    assert machine.inventory() == before
    assert machine.docker("exec", "firewall", "cat", "/proc/self/uid_map").split() == ["0", "0", "4294967295"]
    assert machine.docker("exec", "web", "cat", "/proc/self/uid_map").split()[1] != "0"
    text = machine.read(f"{SHOP}/docker-compose.override.yml")
    assert text == OVERRIDE + '  firewall:\n    userns_mode: "host"\n'
    # Compose agrees: it may make the container anew, since its file changed, but it runs.
    compose_up(machine)
    assert machine.docker("exec", "firewall", "cat", "/proc/self/uid_map").split() == ["0", "0", "4294967295"]
    result = machine.remap(state="disabled")
    assert not result.get("failed"), result["msg"]
    assert machine.read(f"{SHOP}/docker-compose.override.yml") == OVERRIDE
    assert machine.docker("exec", "web", "cat", "/proc/self/uid_map").split() == ["0", "0", "4294967295"]
