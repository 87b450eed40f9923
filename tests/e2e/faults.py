"""Faults, as tests name them: the page docs/faults.md is made of these names and words (tests/tools/faults_table.py)."""

from testbed.fault import fault


def refused(name, words):
    """The fault is found before anything stops."""
    return fault(name, REFUSED, words)


REFUSED = "refused before anything stops; the host is left as it was"
TAKEN_BACK = "everything is taken back: what ran runs again, with its data and the old configuration"
CARRIED_ON = "the change is carried to its end"
