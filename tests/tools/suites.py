"""Runs the test suites one after the other, all or those named, and sums what they count.

What each says goes to build/tests/NAME.log as well, the sum to build/tests/summary. A suite that ends badly
without counting a failure, or that counts nothing, is one failure."""

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable
from xml.etree import ElementTree

from session import session

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "build" / "tests"


@dataclass(frozen=True)
class Suite:
    command: list  # {xml} in it becomes the place of a JUnit report
    count: Callable  # of the exit code, the log's text and the report's path: (passed, failed)
    minutes: int = 15


def whole(status, _log, _report):
    """The suite is one test."""
    return int(status == 0), 0


def lines(pattern):
    """Adds up the closing lines that match."""
    def count(_status, log, _report):
        found = re.findall(pattern, log, re.MULTILINE)
        return sum(int(passed) for passed, _ in found), sum(int(failed) for _, failed in found)

    return count


def junit(_status, _log, report):
    """The cases of a JUnit report; an error in a fixture is a failure, what was skipped is neither."""
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return 0, 0
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    return len(cases) - len(bad) - len(skipped), len(bad)


def pytest(path, *options, minutes=15, environment=None):
    always = ["-q", "-p", "no:cacheprovider", "--junitxml={xml}"]
    variables = [f"{name}={value}" for name, value in (environment or {}).items()]
    return Suite(["env", *variables, "python", "-m", "pytest", *always, *options, path], junit, minutes)


RUST_TESTS = lines(r"^test result: \w+\. (\d+) passed; (\d+) failed")
# One worker to a host.
HOSTS_SIDE_BY_SIDE = ("-n", "3")
SUITES = {
    "lint": Suite(["make", "-s", "lint"], whole),
    "cargo": Suite(["cargo", "test", "--workspace", "--no-fail-fast"], RUST_TESTS),
    "compliance": Suite(["make", "-s", "compliance"], whole),
    "ansible": pytest("tests/ansible"),
    "testbed": pytest("tests/testbed"),
    # The older report has room for the reasons behind the table of peers.
    "shift": pytest("tests/shift", "-o", "junit_family=legacy"),
    "molecule-default": Suite(["molecule", "test"], whole),
    "molecule-debian12": Suite(["molecule", "test", "--scenario-name", "debian12"], whole),
    "molecule-vm_snapshot": Suite(["molecule", "test", "--scenario-name", "vm_snapshot"], whole),
    "molecule-dedicated_users": Suite(["molecule", "test", "--scenario-name", "dedicated_users"], whole),
    "e2e": pytest("tests/e2e", *HOSTS_SIDE_BY_SIDE, minutes=60),
    "vm": pytest("tests/vm", "-n", "2", minutes=40),
    "podman": pytest("tests/podman", "-n", "2", minutes=30),
    "demo": Suite(["python", "tests/demo/demo.py"], whole),
}
# What a short run only samples.
MORE = ["BULKHEAD_KILLS=300", "BULKHEAD_SWAPPED_SHIFTS=10000", "PROPTEST_CASES=20000"]
ON_DEMAND = {
    "soak": pytest("tests/e2e", *HOSTS_SIDE_BY_SIDE, "-m", "soak", minutes=600),
    "soak-vm": pytest("tests/vm", "-n", "2", "-m", "soak", minutes=300),
    "soak-podman": pytest("tests/podman", "-n", "2", "-m", "soak", minutes=300),
    "torture": Suite(["env", *MORE, "cargo", "test", "-p", "rechown", "--no-fail-fast"], RUST_TESTS, minutes=60),
    "soak-shift": pytest("tests/shift", "-k", "very_many", minutes=60, environment={"BULKHEAD_WIDE": "1000000"}),
}


def main():
    known = {**SUITES, **ON_DEMAND}
    names = sys.argv[1:] or list(SUITES)
    if unknown := set(names) - set(known):
        sys.exit(f"no such suite: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "summary").unlink(missing_ok=True)
    with session():
        results = [(name, *run(name, known[name])) for name in names]
    for name, passed, failed, seconds in results:
        print(f"{name:<20} {passed:>5} passed {failed:>4} failed {seconds:>6.0f} s")
    failures = sum(failed for _, _, failed, _ in results)
    summary = f"{sum(passed for _, passed, _, _ in results)} passed, {failures} failed"
    (RESULTS / "summary").write_text(f"{summary}\n")
    print(summary)
    return failures > 0


def run(name, suite):
    """Passed, failed and seconds of the suite."""
    print(f"===== {name}", flush=True)
    log, report = RESULTS / f"{name}.log", RESULTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    command = [argument.format(xml=report) for argument in suite.command]
    start = time.monotonic()
    with open(log, "w", encoding="utf-8") as file:
        # timeout(1) also ends what the suite started.
        with subprocess.Popen(["timeout", "--kill-after=60", f"{suite.minutes}m", *command], cwd=REPOSITORY,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              encoding="utf-8", errors="replace") as process:
            for line in process.stdout:
                file.write(line)
                print(line, end="", flush=True)
    passed, failed = suite.count(process.returncode, log.read_text(encoding="utf-8"), report)
    if process.returncode and not failed or not passed + failed:
        failed += 1
        print(f"{name} ended with exit code {process.returncode}", flush=True)
    return passed, failed, time.monotonic() - start


if __name__ == "__main__":
    sys.exit(main())
