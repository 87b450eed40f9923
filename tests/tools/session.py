"""The testbed's engine for the length of a block."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from testbed import engine, host  # noqa: E402


@contextmanager
def session():
    """The engine runs within. Where it did not run before, it is stopped at the end, and hosts that were not
    there before are removed; an engine that ran already is left to whoever started it."""
    if engine.answers():
        yield
        return
    engine.up()
    before = host.names()
    try:
        yield
    finally:
        for name in set(host.names()).difference(before):
            host.down(name)
        engine.down()
