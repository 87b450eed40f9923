"""Faults, as tests name them: the page docs/faults.md is made of these names and words (tests/tools/faults_table.py)."""

import pytest


def fault(name, happens, reads=()):
    """Marks the test that provokes the fault. `happens` says what becomes of the host; `reads` are words that the
    user reads, which the test takes from the fixture of that name and asserts."""
    return pytest.mark.fault(name=name, happens=happens, reads=reads)


def refused(name, words):
    """The fault is found before anything stops."""
    return fault(name, REFUSED, words)


REFUSED = "refused before anything stops; the host is left as it was"
TAKEN_BACK = "everything is taken back: what ran runs again, with its data and the old configuration"
CARRIED_ON = "the change is carried to its end"
