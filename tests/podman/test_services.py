"""What the services under the shared account are, before any of them moves."""

import pytest

from services import SHARED
from testbed import host, rootless

# What the host names the owner of a file by what the container names it.
OWNERS = {
    "shopdb": {"ibdata1": (999, 999)},
    "webpage": {"0": (0, 0), "33": (33, 33), "65534": (65534, 65534)},
    "localapp": {".": (33, 33), "owners/dir-999/file": (999, 999), "owners/mixed-uid-gid": (33, 999)},
    "keepid": {"0": (0, 0), "990": (990, 990), "991": (991, 991), "60000": (60000, 60000), "own": (990, 985),
               "mixed": (990, 5)},
    "sysapp": {"log": (0, 0)},
}


@pytest.mark.parametrize("service", rootless.SERVICES)
def test_each_container_sees_the_owners_it_gave(shared, service):
    found = shared.owned_inside(service)
    assert {path: (found[path]["uid"], found[path]["gid"]) for path in OWNERS[service]} == OWNERS[service]


def test_the_database_has_its_rows_and_files_that_are_not_its_accounts(shared):
    assert shared.rows() == rootless.ROWS
    assert shared.manifest("/var/lib/shopdb")["ibdata1"]["uid"] == 300998


def test_the_volume_holds_what_a_shift_of_owners_can_get_wrong(shared):
    found = shared.owned_inside("localapp")
    assert found["owners/both"]["mode"] == "6751"
    assert found["owners/capable"]["capability"]["rootid"] == 0
    assert ["user", 5] in [[tag, number] for tag, _, number in found["owners/acl"]["acls"]["system.posix_acl_access"]]


def test_secrets_are_the_shared_accounts(shared):
    assert shared.can_read(SHARED, "/run/secrets-container-db/localapp.env")
    assert not shared.can_read("admin", "/run/secrets-container-db/localapp.env")
    assert shared.podman(SHARED, "exec", "shopdb", "printenv", "TOKEN") == "only-for-shopdb"
    assert shared.podman(SHARED, "exec", "localapp", "cat", "/run/secrets/localapp-token") == "only-for-localapp"


def test_no_service_is_denied_anything(shared):
    assert shared.permission_errors(SHARED) == []


# After a power cut Podman itself may take longer than a busy machine has time for.
@pytest.mark.parametrize("end_of_host", [host.reboot, pytest.param(host.crash, marks=pytest.mark.soak)])
def test_all_services_come_back_with_the_host(shared, end_of_host):
    end_of_host(shared.name)
    shared.wait_healthy()
    assert shared.rows() == rootless.ROWS
