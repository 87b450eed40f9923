"""The test hosts to parametrize by."""

import os

import pytest

# Another prefix lets a second session run beside one that takes hours.
PREFIX = os.environ.get("BULKHEAD_E2E_PREFIX", "e2e")
DEBIAN_12, DEBIAN_13 = HOSTS = [
    pytest.param((f"{PREFIX}{image[-2:]}", image), id=image) for image in ("debian12", "debian13")]


def on(host, *values, name):
    """A case of its own for one of the hosts: for `parametrize` with `machine` indirect and first."""
    return pytest.param(*host.values, *values, id=f"{host.id}-{name}")
