"""The mark of a test that provokes a fault: docs/faults.md is made of these (tests/tools/faults_table.py)."""

import pytest


def fault(name, happens, reads=()):
    """Marks the test that provokes the fault. `happens` says what becomes of the host; `reads` are words that the
    user reads, which the test takes from the fixture of that name and asserts."""
    return pytest.mark.fault(name=name, happens=happens, reads=reads)
