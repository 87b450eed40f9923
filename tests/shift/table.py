"""The table of peers: as docs/facts.md has it, and as a run prints it."""

from programs import REPOSITORY

FACTS = REPOSITORY / "docs" / "facts.md"
FIRST = "| behaviour |"


def read():
    """row → peer → mark, of the table that begins with FIRST."""
    lines = iter(FACTS.read_text(encoding="utf-8").splitlines())
    head = cells(next(line for line in lines if line.startswith(FIRST)))
    next(lines)
    rows = {}
    for line in lines:
        if not line.startswith("|"):
            break
        name, *marks = cells(line)
        rows[name] = {peer: mark.split()[0] for peer, mark in zip(head[1:], marks)}
    return rows


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def show(found, write):
    """Writes what was found, as [row, peer, its version, mark], with the count of y."""
    facts = read()
    peers = [peer for peer in next(iter(facts.values())) if any(peer == other for _, other, *_ in found)]
    marks = {(row, peer): mark for row, peer, _, mark in found}
    versions = {peer: version for _, peer, version, _ in found}
    width = max(map(len, facts))
    for number, peer in enumerate(peers, 1):
        write(f"{number} = {peer} {versions[peer]}")
    lines = {"": [str(number) for number, _ in enumerate(peers, 1)],
             **{row: [marks.get((row, peer), "") for peer in peers] for row in facts},
             "y": [str(sum(marks.get((row, peer)) == "y" for row in facts)) for peer in peers]}
    for head, cells_of_line in lines.items():
        write(f"{head:<{width}}" + "".join(f"{cell:>5}" for cell in cells_of_line))
