"""Whatever instant the module or the host dies at, the change ends in one of its two clean states, and
the engine never ran on anything in between."""

from dataclasses import dataclass

import pytest

import small
from compose import OVERRIDE, PROJECT, SHOP, compose_up
from faults import fault
from hosts import DEBIAN_12, DEBIAN_13, on, on_both
from testbed import host
from testbed.base import wait_for

# The steps of a change, as they stand in its journal (crates/userns_remap/src/step.rs).
STEPS = ["guard", "account", "stop_containers", "stop_engine", "hold", "prove_stopped", "move_root", "own", "shift",
         "rewrite_containers", "configure", "release", "start_engine", "verify_inventory", "start_containers"]
BOOT = "a unit undoes the change, or finishes it; then what ran is started"
WORLDS = {"enabled": ("plain", "remapped"), "disabled": ("remapped", "plain")}


@dataclass(frozen=True)
class Point:
    """Where a change to `state` is cut off: a point of crates/transaction/src/fault.rs."""

    state: str
    name: str

    @property
    def when(self):
        return self.name.partition(":")[0]

    @property
    def at(self):
        return STEPS.index(self.name.partition(":")[2]) if ":" in self.name else -1

    @property
    def outcome(self):
        return "finished" if self.name == "committed" else "undone"

    @property
    def world(self):
        """The state of the data that the change has to end in."""
        return WORLDS[self.state][self.outcome == "finished"]

    @property
    def is_guarded(self):
        """The boot units are there."""
        guard = STEPS.index("guard")
        return self.at > guard or (self.at == guard and self.when in ("applied", "done")) or self.when == "committed"

    @property
    def owes_containers(self):
        """The change has stopped containers, or was about to, and has not brought them back for good."""
        stop = STEPS.index("stop_containers")
        return self.when != "committed" and (self.at > stop or (self.at == stop and self.when != "undone"))


def points(state):
    """Every point of a change, the points of its undoing included."""
    steps = [step for step in STEPS if state == "enabled" or step != "account"]
    names = ["begun", *(f"{when}:{step}" for step in steps for when in ("started", "applied", "done")), "committed",
             *(f"undone:{step}" for step in reversed(steps))]
    return [Point(state, name) for name in names]


ALL = [point for state in WORLDS for point in points(state)]
every_point = pytest.mark.parametrize("point", ALL, ids=lambda point: f"{point.state}-{point.name}")


def alternating(points):
    return [on((DEBIAN_12, DEBIAN_13)[number % 2], point, name=f"{point.state}-{point.name}")
            for number, point in enumerate(points)]


# Those that move data, and so may be cut off with all of it done but nothing of that on record.
MOVING = ("move_root", "own", "shift", "rewrite_containers", "configure")


def kills(state):
    """Every step once."""
    steps = [step for step in STEPS if state == "enabled" or step != "account"]
    return [Point(state, name) for name in (*(f"done:{step}" for step in steps), *(f"applied:{step}" for step in MOVING),
                                            "committed", "undone:move_root")]


def named(points):
    return [(f"{point.state}-{point.name}", point) for point in points]


KILLS = on_both(named(kills("enabled") + kills("disabled")))
# Steps that are only there for compose projects and for what runs outside of user namespaces.
KILLS_OF_COMPOSE = on_both(named([Point(state, name) for state in WORLDS for name in
                                  ("done:overrides", "done:set_host_mode", "applied:set_host_mode")]))
SAMPLE_OF_REBOOTS = alternating([
    Point("enabled", "done:move_root"), Point("enabled", "applied:shift"),
    Point("enabled", "done:start_engine"), Point("disabled", "done:configure"),
])


@pytest.mark.parametrize(("machine", "point"), KILLS, indirect=["machine"])
@fault("the module is killed, at any step", "`userns_remap recover` undoes the change, or finishes it where only tidying up is left",
       ["an interrupted change was "])
def test_a_killed_change_is_finished_or_undone_by_hand(small_workload, point, reads):
    kill_and_recover(small_workload, point, reads)


@pytest.fixture
def compose_host(machine):
    """A compose project, of which one service has to stay in the host's user namespace."""
    if machine.holds != "compose" or machine.inventory() != machine.before:
        small.set_up(machine)
        machine.write(f"{SHOP}/docker-compose.yml", PROJECT)
        machine.write(f"{SHOP}/docker-compose.override.yml", OVERRIDE)
        compose_up(machine)
        machine.before = machine.inventory()
        machine.holds = "compose"
    return machine


@pytest.mark.parametrize(("machine", "point"), KILLS_OF_COMPOSE, indirect=["machine"])
def test_a_killed_change_of_a_compose_project_is_undone_by_hand(compose_host, point):
    machine = compose_host
    options = {"compose_projects": [SHOP]} if point.state == "enabled" else {}
    if machine.is_remapped != (point.state == "disabled"):
        result = machine.remap(state="enabled", compose_projects=[SHOP])
        assert not result.get("failed"), result["msg"]
    before = of_compose(machine)

    assert machine.remap(fault=f"kill@{point.name}", state=point.state, **options) is None
    assert machine.recover() == "an interrupted change was undone"

    assert of_compose(machine) == before
    assert machine.inventory() == machine.before
    assert machine.leftovers() == []


def of_compose(machine):
    """What a change does to the project: its override, and whose user namespace its containers run in."""
    containers = ("firewall", "web")
    return [machine.read(f"{SHOP}/docker-compose.override.yml"),
            *(machine.docker("inspect", "-f", "{{.HostConfig.UsernsMode}}", name) for name in containers),
            *(machine.docker("exec", name, "cat", "/proc/self/uid_map").split()[1] for name in containers)]


@pytest.mark.parametrize(("machine", "point"), alternating([
    Point("enabled", "done:own"), Point("enabled", "done:start_containers"),
    Point("disabled", "done:rewrite_containers"), Point("enabled", "committed")]), indirect=["machine"])
@fault("the module is killed, and run again", "the next run first undoes the change, or finishes it, and then does what it is asked for",
       ["an earlier run was interrupted; it has been "])
def test_the_next_run_first_finishes_or_undoes_a_killed_one_and_says_so(small_workload, point, reads):
    kill_and_run_again(small_workload, point, reads)


@pytest.mark.parametrize(("machine", "point"), SAMPLE_OF_REBOOTS, indirect=["machine"])
@fault("the power fails in the middle", f"before the engine starts again, {BOOT}")
def test_a_host_that_crashes_in_a_change_comes_back_clean(small_host, point):
    cut_off_by(host.crash, small_host, point)


@pytest.mark.parametrize(("machine", "point"), alternating([
    Point("disabled", "done:shift"), Point("enabled", "done:hold")]), indirect=["machine"])
@fault("the host is rebooted in the middle", f"before the engine starts again, {BOOT}")
def test_a_host_that_reboots_in_a_change_comes_back_clean(small_host, point):
    cut_off_by(reboot, small_host, point)


@pytest.fixture
def halted(small_host):
    """A container that its restart policy starts with the engine, stopped by hand."""
    small_host.holds = None
    small_host.docker("run", "-d", "--name", "halted", "--restart", "always", "bulkhead/busybox", "sh", "-c", small.FOREVER)
    small_host.docker("stop", "halted")
    return small_host


@pytest.mark.parametrize("point", [Point("enabled", "done:stop_engine"), Point("enabled", "committed")],
                         ids=["undone", "finished"])
@fault("a container with `restart: always` had been stopped by hand", "it stays down, whatever becomes of the change")
def test_a_container_that_was_stopped_by_hand_stays_down(halted, point):
    before = halted.inventory()
    kill(halted, point)
    assert halted.recover() == f"an interrupted change was {point.outcome}"
    assert halted.inventory() == before


@pytest.mark.soak
@every_point
def test_a_change_killed_at_any_point_is_finished_or_undone_by_hand(small_workload, point):
    kill_and_recover(small_workload, point)


@pytest.mark.soak
@every_point
def test_after_a_kill_at_any_point_the_next_run_succeeds(small_host, point):
    kill_and_run_again(small_host, point)


@pytest.mark.soak
@every_point
def test_a_host_that_crashes_at_any_point_comes_back_clean(small_host, point):
    cut_off_by(host.crash, small_host, point)


@pytest.mark.soak
@every_point
def test_a_host_that_reboots_at_any_point_comes_back_clean(small_host, point):
    cut_off_by(reboot, small_host, point)


def kill_and_recover(machine, point, reads=("an interrupted change was ",)):
    start_from(machine, point)
    kill(machine, point)
    assert machine.recover() == f"{reads[0]}{point.outcome}"
    small.assert_whole(machine, machine.before, point.world)
    small.assert_engine_ran_on_clean_states_only(machine)
    assert machine.recover() == "nothing is open"


def kill_and_run_again(machine, point, reads=("an earlier run was interrupted; it has been ",)):
    start_from(machine, point)
    kill(machine, point)
    result = machine.remap(state=point.state)
    assert result.get("recovered") == point.outcome and result["changed"], result
    assert f"{reads[0]}{point.outcome}" in result["warnings"], result
    small.assert_whole(machine, machine.before, WORLDS[point.state][1])
    small.assert_engine_ran_on_clean_states_only(machine)


def cut_off_by(end_of_host, machine, point):
    start_from(machine, point)
    since = machine.said("date", "+%s.%N")
    if point.when == "undone":
        kill(machine, Point(point.state, "done:start_containers"))
        machine.recover_until_paused(point.name)
    else:
        machine.remap_until_paused(point.name, {"state": point.state})
    end_of_host(machine.name)
    if point.is_guarded and point.name != "undone:guard":
        said = machine.said("journalctl", "-o", "cat", f"--since=@{since}", "-u", "bulkhead-recover",
                            "-u", "bulkhead-restart")
        assert f"an interrupted change was {point.outcome}" in said, said
    else:
        # No boot unit is there (any more): the engine is on its old data, the next run tidies up.
        assert machine.recover() == f"an interrupted change was {point.outcome}"
    if not point.owes_containers:
        # What a reboot does not start by itself stays as the reboot left it.
        machine.docker("start", *small.RUNNING)
    small.assert_whole(machine, machine.before, point.world)
    small.assert_engine_ran_on_clean_states_only(machine)
    assert machine.recover() == "nothing is open"


def reboot(name):
    """An orderly reboot. The module, which waits to be killed, would be only after a minute and a half."""
    before = host.started_at(name)
    host.exec_(name, "systemctl", "--no-block", "reboot")
    wait_for("the shutdown", lambda: host.exec_(name, "systemctl", "is-system-running", check=False).stdout.strip()
             in ("stopping", ""), 10)
    # The kernel keeps 15 characters of a name. The host may be down already.
    host.exec_(name, "pkill", "-KILL", "-x", "userns_remap.fa", check=False)
    # Where that came too early or too late, systemd waits its minute and a half.
    wait_for("the reboot", lambda: host.started_at(name) != before, 100 + host.BOOT_SECONDS)
    host.wait_booted(name)


def start_from(machine, point):
    small.bring(machine, WORLDS[point.state][0])
    small.forget_states(machine)


def kill(machine, point):
    """Kill the module at a point of its change, or of the undoing of one that was killed at its end."""
    if point.when == "undone":
        assert machine.remap(fault="kill@done:start_containers", state=point.state) is None
        assert machine.recover(fault=f"kill@{point.name}") == ""
    else:
        assert machine.remap(fault=f"kill@{point.name}", state=point.state) is None
