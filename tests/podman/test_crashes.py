"""Whatever instant a move is cut off at, the service runs in the end as one of the two accounts, with its data, and
nothing of the other's is left."""

import pytest

from services import EVERY, IN_PROGRESS, SERVICES, SHARED, as_it_is, assert_as_it_was
from testbed import host, rootless
from testbed.base import wait_for

UNDONE, FINISHED = "an interrupted move was undone", "an interrupted move was finished"
# The service with the most steps.
SERVICE = "localapp"
# Points of crates/transaction/src/fault.rs in a move of it, every other one for each Debian.
SAMPLE = ["applied:stop", "applied:shift", "started:move_data", "started:move_data", "done:write_units", "applied:volume", "done:start",
          "committed", "committed"]

# Where even what ends an interrupted move at boot is not there yet.
NOTHING_DONE = ("begun", "started:guard")


def every_other(points):
    return [pytest.param(*EVERY[number % 2].values, point, id=f"{EVERY[number % 2].id}-{point}")
            for number, point in enumerate(points)]


@pytest.mark.parametrize(("machine", "point"), every_other(SAMPLE), indirect=["machine"])
def test_a_killed_move_is_undone_or_finished_by_hand(shared, before, point):
    kill_and_recover(shared, before, point)


@pytest.mark.soak
@pytest.mark.parametrize("service", SERVICES)
def test_a_move_killed_at_any_point_is_undone_or_finished_by_hand(shared, service):
    seen = as_it_is(shared, service)
    for point in points(shared, service):
        kill_and_recover(shared, seen, point, service)


def points(machine, service, **options):
    """Every point of a move, or of the way back."""
    steps = list(dict.fromkeys(machine.move(service, check_mode=True, **options)["steps"]))
    return ["begun", *(f"{when}:{step}" for step in steps for when in ("started", "applied", "done")), "committed"]


def kill_and_recover(machine, before, point, service=SERVICE):
    assert machine.module(service, fault=f"kill@{point}") is None, point
    if point == "committed":
        assert machine.recover() == FINISHED
        machine.wait_healthy(**{service: service})
        assert service in machine.containers(service) and service not in machine.containers(SHARED)
        machine.move(service, state="returned")
    else:
        assert machine.recover() == UNDONE, point
    machine.wait_healthy()
    assert_as_it_was(machine, service, before)
    assert machine.recover() == "nothing is open"


def test_a_unit_that_is_stopped_while_it_starts_leaves_nothing_behind(shared, before):
    """Its container is there by then, and does not run."""
    machine = shared
    machine.move_until_paused("applied:write_units", SERVICE)
    made = ("create", "--name", SERVICE, "--volume", "localapp-data:/data", "localhost/localapp:1")
    # On 4.3 the units do not label what they make.
    labels = {"debian12": (), "debian13": ("--label", "PODMAN_SYSTEMD_UNIT=localapp.service")}
    machine.podman(SERVICE, *made[:1], *labels[machine.image], *made[1:])
    machine.sh("pkill -KILL -x podman_service.")
    assert machine.recover() == UNDONE
    machine.wait_healthy()
    assert_as_it_was(machine, SERVICE, before)


def test_a_podman_that_was_ended_in_its_first_call_after_boot_is_no_obstacle(shared, before):
    machine = shared
    machine.sh(f"""
        as {SERVICE} podman info >/dev/null
        cd /run/user/$(id -u {SERVICE})/libpod/tmp
        kill -KILL $(cat pause.pid)
        rm -f alive""")
    said = machine.run("as", SERVICE, "podman", "info", check=False)
    assert "cannot re-exec process" in said.stderr, said
    assert machine.module(SERVICE, fault="kill@done:volume") is None
    assert machine.recover() == UNDONE
    assert_as_it_was(machine, SERVICE, before)


@pytest.mark.parametrize(("machine", "point"), every_other(["done:hide_units", "applied:start"]), indirect=["machine"])
def test_the_next_run_first_undoes_a_killed_one_and_says_so(fresh, point):
    machine = fresh
    assert machine.module(SERVICE, fault=f"kill@{point}") is None
    result = machine.move(SERVICE)
    assert "an earlier move was interrupted; it has been undone" in result["warnings"]
    assert result["changed"]
    machine.wait_healthy(localapp=SERVICE)


@pytest.mark.parametrize(("machine", "point"), every_other(["applied:shift", "done:stop"]), indirect=["machine"])
def test_a_host_that_crashes_in_a_move_comes_back_with_the_service_as_it_was(shared, before, point):
    cut_off_by(host.crash, shared, before, point)


@pytest.mark.parametrize(("machine", "point"), every_other(["done:start", "applied:write_units"]), indirect=["machine"])
def test_a_host_that_reboots_in_a_move_comes_back_with_the_service_as_it_was(shared, before, point):
    cut_off_by(reboot, shared, before, point)


@pytest.mark.soak
@pytest.mark.parametrize("end_of_host", ["crash", "reboot"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_host_that_goes_down_at_any_point_of_a_move_comes_back(shared, service, end_of_host):
    seen = as_it_is(shared, service)
    for point in points(shared, service):
        if point != "committed":
            cut_off_by({"crash": host.crash, "reboot": reboot}[end_of_host], shared, seen, point, service)


def cut_off_by(end_of_host, machine, before, point, service=SERVICE):
    machine.move_until_paused(point, service)
    end_of_host(machine.name)
    if point in NOTHING_DONE:
        assert machine.recover() == UNDONE, point
    wait_for(f"the recovery from {point}", lambda: not machine.exists(IN_PROGRESS)
             and not machine.is_active("bulkhead-podman-service"), 120)
    if end_of_host is host.crash:
        machine.start_wanted()
    machine.wait_healthy()
    assert_as_it_was(machine, service, before)
    assert machine.recover() == "nothing is open"


def reboot(name):
    """An orderly reboot. The module, which waits to be killed, would be only after a minute and a half."""
    before = host.started_at(name)
    host.exec_(name, "systemctl", "--no-block", "reboot")
    wait_for("the shutdown", lambda: host.exec_(name, "systemctl", "is-system-running", check=False).stdout.strip()
             in ("stopping", ""), 10)
    host.exec_(name, "pkill", "-KILL", "-x", "podman_service.", check=False)
    wait_for("the reboot", lambda: host.started_at(name) != before, 100 + host.BOOT_SECONDS)
    host.wait_booted(name)


@pytest.mark.parametrize("machine", EVERY[1:], indirect=True, scope="session")
def test_a_way_back_that_is_killed_leaves_the_service_moved(fresh):
    machine = fresh
    machine.move(SERVICE)
    for point in ("applied:stop", "applied:shift", "applied:show_units"):
        assert machine.module(SERVICE, fault=f"kill@{point}", state="returned") is None
        assert machine.recover() == UNDONE, point
        machine.wait_healthy(localapp=SERVICE)
        assert SERVICE in machine.containers(SERVICE)
    machine.move(SERVICE, state="returned")
    machine.wait_healthy()
