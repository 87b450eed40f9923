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


def on(host, *values, name, marks=()):
    """A case of its own for one of the hosts: for `parametrize` with `machine` indirect and first."""
    return pytest.param(*host.values, *values, id=f"{host.id}-{name}", marks=marks)


def on_both(cases):
    """Cases `(name, *values)` for both Debians: each in turn for the one, and in the long runs for the other."""
    return [on(host, *values, name=name, marks=() if (number + turn) % 2 else pytest.mark.soak)
            for number, (name, *values) in enumerate(cases) for turn, host in enumerate(HOSTS)]
