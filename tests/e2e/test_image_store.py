"""What lies in containerd's image store is outside the data root: it is told, and refused before anything stops."""

import pytest

from faults import refused
from hosts import DEBIAN_13, NEWEST
from machine import CONFIG
from test_refusals import is_refused

# Docker 20.10 has no such store.
pytestmark = pytest.mark.parametrize("machine", [DEBIAN_13, NEWEST], indirect=True, scope="session")

FEATURE = '{"features": {"containerd-snapshotter": true}}'
RESTART = "systemctl reset-failed docker; systemctl restart docker"


@pytest.fixture
def asked_for(small_host):
    """The configuration asks for the store; the engine has not read that yet."""
    small_host.write(CONFIG, FEATURE)
    yield small_host
    small_host.sh(f"rm {CONFIG}")


@pytest.fixture
def in_use(asked_for):
    asked_for.sh(f"{RESTART}; docker ps -aq")
    yield asked_for
    asked_for.sh(f"rm {CONFIG}; {RESTART}; docker start dns worker; touch {CONFIG}")


@refused("containerd's image store, configured", ["containerd-snapshotter", "Docker 29 refuses to start", "docker save"])
def test_the_wish_is_refused(asked_for, reads):
    assert asked_for.info()["engine"]["containerd_image_store"] is False
    is_refused(asked_for, reads, state="enabled")


@refused("containerd's image store, in use", ["lie in containerd's image store (overlayfs)", "docker load"])
def test_the_store_in_use_is_refused(in_use, reads):
    assert in_use.info()["engine"]["containerd_image_store"] is True
    is_refused(in_use, reads, state="enabled")
