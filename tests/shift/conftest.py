"""File systems to build trees on."""

import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import table  # noqa: E402
from loop import loop_device  # noqa: E402
from programs import OURS  # noqa: E402


@pytest.fixture(scope="session")
def file_system():
    """Makes a file system of a kind at its first call, and says where it is: under a short path, for podman and
    sockets take no long ones."""
    # What is mounted shall not outlive a time-out.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended"))
    assert OURS.exists(), f"there is no {OURS}: make build"
    points = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="shift-", dir="/var/tmp")))

        def make(kind):
            if kind not in points:
                points[kind] = stack.enter_context(loop_device(scratch, kind))
            return points[kind]

        yield make


def pytest_terminal_summary(terminalreporter):
    """The table of peers, as it was seen."""
    reports = [report for outcome in ("passed", "failed", "skipped") for report in terminalreporter.getreports(outcome)]
    cells = [value for report in reports for name, value in getattr(report, "user_properties", []) if name == "cell"]
    if cells:
        table.show(cells, terminalreporter.write_line)
