"""Makes the tables of docs/faults.md from the tests that provoke the faults (tests/testbed/fault.py).

faults_table.py DIRECTORY prints what tests there are below it instead, as JSON."""

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "faults.md"
ENGINE_TESTS, VM_TESTS = "tests/e2e", "tests/vm"
JOIN = ",\n"
BEGIN, END = "<!-- Below, `python tests/tools/faults_table.py` writes. -->\n", "<!-- To here. -->\n"


class Collector:
    """What pytest collects."""

    def __init__(self):
        self.items = []

    def pytest_collection_finish(self, session):
        self.items = session.items


def told(item):
    """A test by its file, its line and its name, the name of its case, and what its marks say of faults."""
    marks = reversed(list(item.iter_markers("fault")))
    path, line, _ = item.reportinfo()
    return {"path": str(Path(path).relative_to(REPOSITORY)), "line": line, "test": item.originalname,
            "case": item.callspec.id if hasattr(item, "callspec") else "", "faults": [mark.kwargs for mark in marks]}


def list_tests(directory):
    collector, said = Collector(), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(["--collect-only", "-q", "-m", "soak or not soak", "-p", "no:cacheprovider", "-p", "no:xdist",
                            str(REPOSITORY / directory)], plugins=[collector])
    assert code == 0, said.getvalue()
    print(json.dumps([told(item) for item in collector.items]))


def collect(directory):
    """The tests below it, none of which is run. In a process of its own: two directories have files of one name."""
    done = subprocess.run([sys.executable, __file__, directory], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def rows(tests):
    """Fault, what happens, what is read, and the test, each once, in the order of the tests."""
    found = {}
    for test in sorted(tests, key=lambda test: (test["path"], test["line"])):
        link = f"[{test['test']}](../{test['path']})"
        for fault in test["faults"]:
            found[fault["name"], link] = (*map(fault.get, ("name", "happens", "reads")), link)
    return list(found.values())


def table(titles, lines):
    cells = [titles, ["---"] * len(titles), *([cell.replace("|", r"\|") for cell in line] for line in lines)]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def said(words):
    return " … ".join(f"`{word.strip()}`" for word in words) or "–"


def tables():
    return f"{of_engines(rows(collect(ENGINE_TESTS)))}\n{of_vms(rows(collect(VM_TESTS)))}"


def of_engines(found):
    # The same for all of them is said once.
    common = max((row[1] for row in found), key=[row[1] for row in found].count)
    before = [(name, said(reads)) for name, happens, reads, _ in found if happens == common]
    tests = dict.fromkeys(test for _, happens, _, test in found if happens == common)
    midway = [(name, happens, said(reads), test) for name, happens, reads, test in found if happens != common]
    return (f"## Before anything stops\n\nEach is {common}. The tests are\n{JOIN.join(tests)}.\n\n"
            f"{table(('fault', 'what is read'), before)}\n"
            f"## Under way\n\n{table(('fault', 'what happens', 'what is read', 'test'), midway)}")


def of_vms(found):
    lines = [(name, happens, said(reads), test) for name, happens, reads, test in found]
    return f"## Snapshots of VMs\n\n{table(('fault', 'what happens', 'what is read', 'test'), lines)}"


def page(text, content):
    """The page with its generated part replaced."""
    pattern = re.compile(f"({re.escape(BEGIN)}).*({re.escape(END)})", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}\n{content}\n{match[2]}", text)


def main():
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), tables()), encoding="utf-8")


if __name__ == "__main__":
    list_tests(sys.argv[1]) if sys.argv[1:] else main()
