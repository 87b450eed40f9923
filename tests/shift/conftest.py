"""File systems to build trees on."""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loop import loop_device  # noqa: E402


@pytest.fixture(scope="session")
def file_system(tmp_path_factory):
    """Makes a file system of a kind at its first call, and says where it is."""
    points = {}
    with ExitStack() as stack:
        def make(kind):
            if kind not in points:
                points[kind] = stack.enter_context(loop_device(tmp_path_factory.mktemp("loop"), kind))
            return points[kind]

        yield make
