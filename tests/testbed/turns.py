"""What the short run has of many cases that are alike; the long runs have all of them, on every host."""

import pytest


def take_turns(items, first, second, modules, every=2):
    """Of the cases in `modules` that are there for the hosts with the ids `first` and `second`, every so-manieth is for
    the first alone, and the others are for the second alone."""
    cases = {}
    for item in items:
        host = next((host for host in (first, second) if host in item.name), None)
        if host and item.path.stem in modules and not item.get_closest_marker("soak"):
            cases.setdefault((item.path, item.name.replace(host, "")), {})[host] = item
    both = [case for case in cases.values() if len(case) == 2]
    for number, case in enumerate(both):
        case[second if number % every == 0 else first].add_marker(pytest.mark.soak)


def take_samples(items, tests, every=3):
    """Of the cases of each of `tests` in the short run, every so-manieth stays in it."""
    counts = {}
    for item in items:
        if item.originalname in tests and not item.get_closest_marker("soak"):
            count = counts[item.originalname] = counts.get(item.originalname, -1) + 1
            if count % every:
                item.add_marker(pytest.mark.soak)
