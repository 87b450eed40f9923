"""A service that does not come up as the new account runs as the old one again, with what was written meanwhile."""

import pytest

from services import EVERY, SERVICES, SHARED, as_it_is, assert_as_it_was
from testbed import rootless
from testbed.base import wait_for

SERVICE = "webpage"
NOWHERE = "http://127.0.0.1:8091/nothing-there"


def assert_rescued(machine, before, result, words, service=SERVICE):
    assert result.get("failed"), result
    assert words in result["msg"], result["msg"]
    assert "everything was taken back" in result["msg"]
    machine.wait_healthy()
    assert_as_it_was(machine, service, before)


def test_a_database_goes_back_with_the_rows_that_were_written_meanwhile(fresh):
    machine, before = fresh, as_it_is(fresh, "shopdb")
    machine.move_until_paused("done:start", "shopdb", urls=[NOWHERE], timeout=5)
    row = "INSERT INTO item VALUES (5001, 'meanwhile')"
    wait_for("the database", lambda: rootless.query(machine.name, row, "shopdb") == "", 30)
    result = machine.resume()
    assert_rescued(machine, before, result, f"{NOWHERE} answers 404", "shopdb")
    assert machine.rows() == rootless.ROWS + 1


def test_a_service_whose_port_does_not_answer_goes_back(shared, before):
    assert_rescued(shared, before, shared.module(SERVICE, ports=[9], timeout=5), "port 9")


def test_a_service_that_cannot_start_goes_back(fresh):
    machine = fresh
    # A setting of the new account's that no container can live with.
    machine.write(f"/var/lib/containers/{SERVICE}/.config/containers/containers.conf",
                  '[containers]\nlog_driver = "none-such"\n')
    machine.sh(f"chown -R {SERVICE}: /var/lib/containers/{SERVICE}/.config")
    before = as_it_is(machine, SERVICE)
    assert_rescued(machine, before, machine.module(SERVICE, timeout=15), SERVICE)


@pytest.mark.parametrize("machine", EVERY[1:], indirect=True, scope="session")
def test_a_service_that_gets_unhealthy_goes_back(shared, before):
    machine = shared
    machine.move_until_paused("done:write_units", SERVICE, timeout=15)
    unit = f"/etc/containers/systemd/users/$(id -u {SERVICE})/{SERVICE}.container"
    machine.sh(f"sed -i 's/^HealthCmd=.*/HealthCmd=false/' {unit}; as {SERVICE} systemctl --user daemon-reload")
    assert_rescued(machine, before, machine.resume(), f"container {SERVICE} is")


def test_a_failure_at_the_end_leaves_all_that_is_not_the_services(shared, before):
    others = set(shared.started(SHARED).splitlines())
    result = shared.module(SERVICE, fault="fail@applied:verify")
    assert_rescued(shared, before, result, "failed on request")
    # A service in a pod has two containers.
    count = {"debian12": 1, "debian13": 2}[shared.image]
    assert len(others & set(shared.started(SHARED).splitlines())) == len(others) - count


@pytest.mark.soak
@pytest.mark.parametrize("service", SERVICES)
def test_a_failure_of_any_step_takes_all_back(shared, service):
    before = as_it_is(shared, service)
    for step in dict.fromkeys(shared.move(service, check_mode=True)["steps"]):
        result = shared.module(service, fault=f"fail@applied:{step}")
        assert_rescued(shared, before, result, "failed on request", service)
