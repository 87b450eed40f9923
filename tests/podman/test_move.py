"""Services of one account that get accounts of their own, one after the other, and all of them back."""

import pytest

from services import SERVICES, SHARED, as_it_is, assert_as_it_was
from testbed import host, manifest, rootless

every_service = pytest.mark.parametrize("service", SERVICES)
# A database changes what is in its files whenever it starts; whose they are has to stay.
PASSING = ("ibtmp", "tc.log", "ddl_recovery", "ib_buffer_pool")
CHANGING = ("sha256", "size", "mtime_ns", "nlink", "hardlink_of", "flags")


@pytest.fixture
def moved(machine):
    """Every service under an account of its name, with a row more in the database; `machine.before` is what their
    containers saw of their data before."""
    if machine.holds != "moved":
        machine.set_up()
        machine.before = {name: machine.owned_inside(name) for name in SERVICES}
        machine.results = {name: machine.move(name) for name in SERVICES}
        machine.holds = "moved"
    return machine


def own(machine):
    return {name: name for name in SERVICES}


@every_service
def test_a_service_runs_as_its_own_account(moved, service):
    assert moved.results[service]["changed"]
    moved.wait_healthy(**own(moved))
    assert service in moved.containers(service)
    assert moved.containers(SHARED) == set()


@every_service
def test_a_container_sees_the_same_owners_and_files_as_before(moved, service):
    assert_same_inside(moved, service, service)


def assert_same_inside(machine, service, account):
    before, after = machine.before[service], machine.owned_inside(service, account)
    if service == "shopdb":
        before, after = map(owners, (before, after))
    assert manifest.differences(before, after, rootless.SERVICES[service].grows) == []


def owners(found):
    """Without what a database changes and makes whenever it starts."""
    return {path: {key: value for key, value in entry.items() if key not in CHANGING}
            for path, entry in found.items() if not path.startswith(PASSING)}


def test_the_database_has_all_its_rows(moved):
    assert moved.rows("shopdb") == rootless.ROWS


@every_service
def test_the_old_account_reads_none_of_the_data(moved, service):
    data = moved.data(service, service)
    some = next(path for path, entry in moved.manifest(data).items() if entry["type"] == "file")
    for how in ([], ["podman", "unshare"]):
        for reader in (SHARED, *(name for name in SERVICES if name != service)):
            assert moved.as_(reader, *how, "head", "-c1", f"{data}/{some}", check=False).returncode != 0, reader


def test_no_service_reads_the_secrets_of_another(moved):
    assert moved.can_read("shopdb", "/run/secrets-shopdb/shopdb.env")
    for reader in SERVICES:
        for secret in ("shopdb", "localapp"):
            if reader != secret:
                assert not moved.can_read(reader, f"/run/secrets-{secret}/{secret}.env")
    # Nobody got what it did not name.
    assert moved.sh("ls /run/secrets-webpage /run/secrets-keepid | grep -v : || true") == ""


def test_secrets_came_along(moved):
    assert moved.podman("shopdb", "exec", "shopdb", "printenv", "TOKEN") == "only-for-shopdb"
    assert moved.podman("localapp", "exec", "localapp", "cat", "/run/secrets/localapp-token") == "only-for-localapp"


def test_an_image_that_no_registry_has_came_along_with_its_owners(moved):
    found = moved.podman("localapp", "exec", "localapp", "stat", "-c", "%u:%g %a", "/app/999", "/app/33")
    assert found.splitlines() == ["999:999 644", "33:33 4755"]


def test_a_network_of_its_own_came_along(moved):
    assert "10.99.1.0/24" in moved.podman("localapp", "network", "inspect", "localapp")


def test_only_the_new_accounts_start_the_services_at_boot(moved):
    assert moved.units_of(SHARED) == set()
    for service in ("shopdb", "webpage", "localapp", "keepid"):
        assert moved.units_of(service), service


@every_service
def test_a_second_run_changes_nothing(moved, service):
    before = moved.seen_moved(service)
    result = moved.move(service)
    assert not result["changed"] and result["steps"] == [], result
    assert moved.seen_moved(service) == before


def test_all_services_come_back_with_the_host_and_their_secrets(moved):
    host.reboot(moved.name)
    moved.wait_healthy(**own(moved))
    test_secrets_came_along(moved)
    assert moved.can_read("shopdb", "/run/secrets-shopdb/shopdb.env")
    test_no_service_reads_the_secrets_of_another(moved)
    assert moved.containers(SHARED) == set()


def test_all_services_return_with_what_was_written_since(moved):
    moved.holds = None
    rootless.query(moved.name, "INSERT INTO item VALUES (5000, 'since')", "shopdb")
    rootless.query(moved.name, "CREATE TABLE since (id INT)", "shopdb")
    for service in reversed(SERVICES):
        result = moved.move(service, state="returned")
        assert result["changed"], result
    moved.wait_healthy()
    assert moved.rows() == rootless.ROWS + 1
    assert moved.owned_inside("shopdb")["shop/since.ibd"]["uid"] == 999
    rootless.query(moved.name, "DROP TABLE since")
    for service in SERVICES:
        assert_same_inside(moved, service, SHARED)
        assert moved.containers(service) == set()
        assert not moved.move(service, state="returned")["changed"]
    assert moved.can_read(SHARED, "/run/secrets-container-db/shopdb.env")


@every_service
def test_check_mode_says_all_and_changes_nothing(shared, service):
    before, started = as_it_is(shared, service), shared.started(SHARED)
    result = shared.module(service, check_mode=True)
    assert not result.get("failed"), result["msg"]
    assert result["changed"] and "stop" in result["steps"] and "shift" in result["steps"]
    assert result["diff"]
    assert_as_it_was(shared, service, before)
    assert shared.started(SHARED) == started
