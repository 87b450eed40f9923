"""The test hosts to parametrize by."""

import os

import pytest

# Another prefix lets a second session run beside one that takes hours.
PREFIX = os.environ.get("BULKHEAD_E2E_PREFIX", "e2e")
DEBIAN_12, DEBIAN_13, NEWEST = EVERY = [
    pytest.param((f"{PREFIX}{image.removeprefix('debian')}", image), id=image)
    for image in ("debian12", "debian13", "testing")]
HOSTS = [DEBIAN_12, DEBIAN_13]
# For the `pytestmark` of what has to be seen on the newest engine of Debian's archives as well.
every_engine = pytest.mark.parametrize("machine", EVERY, indirect=True, scope="session")


def on(host, *values, name):
    """A case of its own for one of the hosts: for `parametrize` with `machine` indirect and first."""
    return pytest.param(*host.values, *values, id=f"{host.id}-{name}")
