"""What an operator allows, adopts or has linked before the change: and what is refused without it."""

import json

import pytest

import small
from hosts import DEBIAN_13, on
from machine import CONFIG, DATA_ROOT
from testbed.base import wait_for

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
    # Of the same subnet, perhaps, as one that comes back.
    bridge = f"/sys/class/net/br-{machine.docker('network', 'inspect', '-f', '{{.Id}}', 'appnet')[:12]}"
    assert machine.exists(bridge)
    foretold = succeeds(machine, state="enabled", masked_data="adopt", check_mode=True)
    assert f"set {root} aside" in json.dumps(foretold["diff"])

    result = succeeds(machine, state="enabled", masked_data="adopt")
    assert result["restarted"] == ["keeper"], "the guide stopped the others by hand"
    assert not machine.exists(bridge)
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


@pytest.mark.parametrize("fault", ["fail@done:shift", "kill@done:set_root_aside"], ids=[
    "fails", "enabled-done:set_root_aside"])
def test_an_adoption_that_fails_or_is_killed_brings_back_what_was_set_aside(machine, plain_inventory, fault):
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
    stale = f"{DATA_ROOT}/165536.165536"
    machine.sh(f"mkdir -p {stale}/volumes/old; touch {stale}/volumes/old/file")
    assert "masked_data=set_aside" in machine.remap(state="enabled")["msg"]
    result = succeeds(machine, state="enabled", masked_data="set_aside")
    assert machine.exists(f"{result['set_aside']}/volumes/old/file")
    small.assert_whole(machine, machine.before, "remapped")
    succeeds(machine, state="disabled")
    assert machine.exists(f"{result['set_aside']}/volumes/old/file")
    small.assert_whole(machine, machine.before, "plain")
    machine.sh(f"rm -r {result['set_aside']}")


# Kernel parameters. The kernel hides this one in a user namespace (net/ipv6/route.c); 6.18 allows the usual ones.

REFUSED = "net.ipv6.route.gc_timeout"
TUNED = f"""\
version: "3.7"
services:
  tuned:
    image: bulkhead/busybox
    container_name: tuned
    stop_grace_period: 1s
    sysctls: {{{REFUSED}: "61", net.core.somaxconn: "512"}}
    command: sleep 1000000
"""


def test_a_kernel_parameter_is_tried_before_anything_stops(small_host):
    machine = small_host
    machine.holds = None
    machine.sh(f"docker run -d --name allowed --sysctl net.core.somaxconn=512 --sysctl net.ipv4.route.flush=1 "
               f"--sysctl net.ipv4.conf.eth0.route_localnet=1 {SLEEP}; "
               f"docker run -d --name refused --sysctl {REFUSED}=61 {SLEEP}")
    traces = machine.traces()
    result = machine.remap(state="enabled")
    assert machine.traces() == traces
    assert "No such file or directory" in result["msg"] and result["msg"].count("sets net.") == 1, result["msg"]
    assert f"container refused sets {REFUSED}" in result["msg"]
    machine.sh("docker rm -f refused")
    # What was foretold is so: the engine runs it.
    succeeds(machine, state="enabled")
    assert machine.docker("exec", "allowed", "cat", "/proc/sys/net/core/somaxconn") == "512"
    assert machine.run("docker", "run", "--rm", "--sysctl", f"{REFUSED}=61", "bulkhead/busybox", "true",
                       check=False).returncode != 0


def test_compose_services_lose_what_the_kernel_refuses_and_get_it_back(small_host):
    machine = small_host
    machine.holds = None
    machine.write("/opt/tuned/docker-compose.yml", TUNED)
    is_v2 = machine.run("docker", "compose", "version", check=False).returncode == 0
    compose = "docker compose" if is_v2 else "docker-compose"
    machine.sh(f"cd /opt/tuned; {compose} up -d")
    before = machine.inventory()
    assert f"container tuned sets {REFUSED}" in machine.remap(state="enabled")["msg"]
    if not is_v2:
        said = machine.remap(state="enabled", compose_projects=["/opt/tuned"])["msg"]
        assert "docker-compose 1.29 has no way" in said and "by hand" in said
        assert not machine.exists("/opt/tuned/docker-compose.override.yml")
        return
    result = machine.remap(state="enabled", compose_projects=["/opt/tuned"], fault="fail@done:set_sysctls")
    assert result["failed"] and machine.inventory() == before
    assert json.loads(machine.docker("inspect", "-f", "{{json .HostConfig.Sysctls}}", "tuned"))[REFUSED] == "61"
    succeeds(machine, state="enabled", compose_projects=["/opt/tuned"])
    assert machine.inventory() == before
    assert machine.read("/opt/tuned/docker-compose.override.yml") == "services:\n  tuned:\n    sysctls: !reset []\n"
    assert machine.docker("exec", "tuned", "cat", "/proc/self/uid_map").split()[1] != "0"
    succeeds(machine, state="disabled")
    assert not machine.exists("/opt/tuned/docker-compose.override.yml")
    assert machine.inventory() == before
    assert machine.docker("exec", "tuned", "cat", f"/proc/sys/{REFUSED.replace('.', '/')}") == "61"


@pytest.mark.parametrize(("machine", "state"), [on(DEBIAN_13, state, name=f"{state}-done:set_sysctls")
                                                for state in ("enabled", "disabled")], indirect=["machine"])
def test_a_killed_change_of_kernel_parameters_is_undone(small_host, state):
    machine = small_host
    machine.holds = None
    machine.write("/opt/tuned/docker-compose.yml", TUNED)
    machine.sh("cd /opt/tuned; docker compose up -d")
    options = {"compose_projects": ["/opt/tuned"]}
    if state == "disabled":
        succeeds(machine, state="enabled", **options)
        options = {}
    before, sysctls = machine.inventory(), machine.docker("inspect", "-f", "{{json .HostConfig.Sysctls}}", "tuned")
    assert machine.remap(state=state, fault="kill@done:set_sysctls", **options) is None
    assert "undone" in machine.recover()
    assert machine.inventory() == before
    assert machine.docker("inspect", "-f", "{{json .HostConfig.Sysctls}}", "tuned") == sysctls


# Builds


@pytest.mark.parametrize(("builder", "words"), [("0", "is a step of docker build"), ("1", "an image is being built")])
def test_a_build_stands_in_the_way(small_host, builder, words):
    machine = small_host
    machine.write("/root/build/Dockerfile", "FROM bulkhead/busybox\nRUN sleep 1000\n")
    machine.sh(f"DOCKER_BUILDKIT={builder} setsid docker build --no-cache /root/build >/root/build/said 2>&1 & "
               "echo $! >/root/build/pid")
    wait_for("the build", lambda: machine.run("pgrep", "-f", "sleep 1000$", check=False).returncode == 0, 30)
    result = machine.remap(state="enabled")
    machine.sh("kill $(cat /root/build/pid)")
    # The builder deletes the step's container some time after.
    wait_for("its end", lambda: len(machine.docker("ps", "-aq").split()) == len(small.CONTAINERS), 30)
    machine.sh("rm -r /root/build")
    assert result.get("failed") and words in result["msg"], result


# compat_links

JOBS = {"/etc/cron.d/rows": f"0 3 * * * root cat {DATA_ROOT}/volumes/*/_data/rows >/backup\n",
        "/etc/logrotate.d/containers": f"{DATA_ROOT}/containers/*/*.log {{\n  copytruncate\n}}\n",
        "/etc/cron.d/all": f"0 4 * * * root tar c {DATA_ROOT} >/backup.tar\n",
        "/etc/cron.d/volumes": f"0 5 * * * root tar c {DATA_ROOT}/volumes >/backup.tar\n"}


@pytest.fixture
def host_with_jobs(small_host):
    machine = small_host
    for path, text in JOBS.items():
        machine.write(path, text)
    machine.sh(f"echo precious >{ROWS}")
    yield machine
    machine.sh(f"rm {' '.join(JOBS)}; rm -f {DATA_ROOT}/volumes/workdata/_data/rows")


def links(machine):
    return machine.said("find", DATA_ROOT, "-maxdepth", "1", "-type", "l", "-printf", "%f\n").split()


@pytest.mark.parametrize("state", ["enabled", "disabled"], ids=lambda state: f"{state}-done:compat_links")
def test_a_killed_change_of_links_is_undone(host_with_jobs, state):
    machine = host_with_jobs
    if state == "disabled":
        succeeds(machine, state="enabled", compat_links=True)
    before = sorted(links(machine))
    assert machine.remap(state=state, compat_links=True, fault="kill@done:compat_links") is None
    assert "undone" in machine.recover()
    assert sorted(links(machine)) == before
    small.assert_whole(machine, machine.before, "plain" if state == "enabled" else "remapped")


def test_what_names_the_old_places_finds_the_data_by_links(host_with_jobs):
    machine = host_with_jobs
    remedies = {found["file"]: found["remedy"] for found in machine.info()["references"]}
    assert remedies["/etc/cron.d/rows"] == remedies["/etc/logrotate.d/containers"] == "compat_links"
    assert "<uid>.<gid>" in remedies["/etc/cron.d/all"] and "slash" in remedies["/etc/cron.d/volumes"]

    failed = machine.remap(state="enabled", compat_links=True, fault="fail@done:compat_links")
    assert failed["failed"] and links(machine) == []
    small.assert_whole(machine, machine.before, "plain")

    result = succeeds(machine, state="enabled", compat_links=True)
    assert sorted(links(machine)) == ["containers", "volumes"]
    told = [warning.split()[0] for warning in result["warnings"] if "links do not help" in warning]
    told = [place for place in told if place.startswith("/etc/cron.d/")]
    assert told == ["/etc/cron.d/all:1", "/etc/cron.d/volumes:1"]
    assert machine.sh(f"cat {DATA_ROOT}/volumes/*/_data/rows") == "precious"
    machine.sh(f"ls {DATA_ROOT}/containers/*/*.log; systemctl reset-failed docker; systemctl restart docker; "
               "docker start dns worker")
    small.assert_whole(machine, machine.before, "remapped")
    assert machine.info()["masked"] == []
    assert succeeds(machine, state="enabled", compat_links=True)["changed"] is False
    # A link that somebody took away, or a job that came later, needs no stop.
    machine.sh(f"rm {DATA_ROOT}/containers")
    assert succeeds(machine, state="enabled", compat_links=True)["steps"] == ["compat_links"]
    assert sorted(links(machine)) == ["containers", "volumes"]

    failed = machine.remap(state="disabled", fault="fail@done:shift")
    assert failed["failed"] and sorted(links(machine)) == ["containers", "volumes"]
    small.assert_whole(machine, machine.before, "remapped")
    succeeds(machine, state="disabled")
    assert links(machine) == []
    small.assert_whole(machine, machine.before, "plain")
