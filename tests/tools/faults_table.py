"""Makes the tables of docs/faults.md from the tests that provoke the faults (tests/e2e/faults.py)."""

import contextlib
import io
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "faults.md"
TESTS = "tests/e2e"
JOIN = ",\n"
BEGIN, END = "<!-- Below, `python tests/tools/faults_table.py` writes. -->\n", "<!-- To here. -->\n"


class Collector:
    """What pytest collects."""

    def __init__(self):
        self.items = []

    def pytest_collection_finish(self, session):
        self.items = session.items


def collect(*paths):
    """The tests below `paths`, none of which is run."""
    collector, said = Collector(), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(["--collect-only", "-q", "-m", "soak or not soak", "-p", "no:cacheprovider", "-p", "no:xdist",
                            *(str(REPOSITORY / path) for path in paths)], plugins=[collector])
    assert code == 0, said.getvalue()
    return collector.items


def rows(items):
    """Fault, what happens, what is read, and the test, each once, in the order of the tests."""
    found = {}
    for item in sorted(items, key=lambda item: item.reportinfo()[:2]):
        if mark := item.get_closest_marker("fault"):
            path = item.path.relative_to(REPOSITORY)
            test = f"[{item.originalname}](../{path})"
            found[mark.kwargs["name"], test] = (*map(mark.kwargs.get, ("name", "happens", "reads")), test)
    return list(found.values())


def table(titles, lines):
    cells = [titles, ["---"] * len(titles), *([cell.replace("|", r"\|") for cell in line] for line in lines)]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def said(words):
    return " … ".join(f"`{word.strip()}`" for word in words) or "–"


def tables(found):
    # The same for all of them is said once.
    common = max((row[1] for row in found), key=[row[1] for row in found].count)
    before = [(name, said(reads)) for name, happens, reads, _ in found if happens == common]
    tests = dict.fromkeys(test for _, happens, _, test in found if happens == common)
    midway = [(name, happens, said(reads), test) for name, happens, reads, test in found if happens != common]
    return (f"## Before anything stops\n\nEach is {common}. The tests are\n{JOIN.join(tests)}.\n\n"
            f"{table(('fault', 'what is read'), before)}\n"
            f"## Under way\n\n{table(('fault', 'what happens', 'what is read', 'test'), midway)}")


def page(text, content):
    """The page with its generated part replaced."""
    pattern = re.compile(f"({re.escape(BEGIN)}).*({re.escape(END)})", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}\n{content}\n{match[2]}", text)


def main():
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), tables(rows(collect(TESTS)))), encoding="utf-8")


if __name__ == "__main__":
    main()
