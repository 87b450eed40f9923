"""Every peer's column of the table in docs/facts.md, row by row, is what a probe of that behaviour sees."""

import subprocess

import pytest

import table
from peers import PEERS
from probes import ROWS
from room import Room

TABLE = table.read()


@pytest.fixture(scope="module")
def run_peer(file_system):
    """The peers, each made at its first use, and ended at the end."""
    made = {}

    def make(kind):
        if kind not in made:
            made[kind] = kind(file_system("ext4"))
        return made[kind]

    yield make
    for peer in made.values():
        peer.close()


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("kind", PEERS, ids=lambda kind: kind.name.replace(" ", "-"))
def test_the_table_says_what_is_seen(kind, row, run_peer, file_system, record_property):
    peer = run_peer(kind)
    top = file_system("ext4") / f"{peer.key}-{list(ROWS).index(row)}"
    top.mkdir()
    if reason := peer.missing():
        record_property("cell", (row, kind.name, f"not run here: {reason}", "?"))
        pytest.skip(reason)
    try:
        verdict = ROWS[row](peer, Room(top))
    finally:
        subprocess.run(["rm", "-rf", top], check=True)
    record_property("cell", (row, kind.name, peer.version(), verdict.mark))
    record_property("reason", verdict.reason)
    assert verdict.mark == TABLE[row][kind.name], verdict.reason


def test_the_table_has_these_rows_and_columns_and_no_others():
    assert list(TABLE) == list(ROWS)
    assert all(set(cells) == {kind.name for kind in PEERS} for cells in TABLE.values())
