"""A service that does not come up as the new account runs as the old one again, with what was written meanwhile."""

import pytest

from services import EVERY, SHARED, as_it_is, assert_as_it_was
from testbed import rootless
from testbed.base import wait_for

SERVICE = "shopdb"
NEW_ROW = "INSERT INTO item VALUES (5001, 'meanwhile')"


def assert_rescued(machine, before, result, words):
    assert result.get("failed"), result
    assert words in result["msg"], result["msg"]
    machine.wait_healthy()
    assert_as_it_was(machine, SERVICE, before)


def test_a_service_whose_page_does_not_answer_goes_back_with_what_was_written_meanwhile(fresh, before):
    machine = fresh
    machine.move_until_paused("done:start", SERVICE, urls=["http://127.0.0.1:8091/nothing-there"], timeout=5)
    wait_for("the database", lambda: rootless.query(machine.name, NEW_ROW, SERVICE) == "", 30)
    result = machine.resume()
    assert_rescued(machine, before, result, "http://127.0.0.1:8091/nothing-there answers 404")
    assert machine.rows() == rootless.ROWS + 1


def test_a_service_whose_port_does_not_answer_goes_back(shared, before):
    assert_rescued(shared, before, shared.module(SERVICE, ports=[9], timeout=5), "port 9")


def test_a_service_that_cannot_start_goes_back(fresh):
    machine = fresh
    # A setting of the new account's that no container can live with.
    machine.write("/var/lib/containers/shopdb/.config/containers/containers.conf", '[containers]\nlog_driver = "none-such"\n')
    before = as_it_is(machine, SERVICE)
    assert_rescued(machine, before, machine.module(SERVICE, timeout=15), "shopdb")


@pytest.mark.parametrize("machine", EVERY[1:], indirect=True, scope="session")
def test_a_service_that_gets_unhealthy_goes_back(shared, before):
    machine = shared
    machine.move_until_paused("done:write_units", SERVICE, timeout=15)
    check = "/etc/containers/systemd/users/$(id -u shopdb)/shopdb.container.d/10-health.conf"
    machine.sh(f"sed -i 's/^HealthCmd=.*/HealthCmd=false/' {check}; as shopdb systemctl --user daemon-reload")
    assert_rescued(machine, before, machine.resume(), "container shopdb is")


def test_a_failure_at_the_end_leaves_all_that_is_not_the_services(shared, before):
    started = set(shared.started(SHARED).splitlines())
    result = shared.module(SERVICE, fault="fail@applied:verify")
    assert_rescued(shared, before, result, "failed on request")
    # Every other container runs on.
    assert len(started & set(shared.started(SHARED).splitlines())) == len(started) - 1
