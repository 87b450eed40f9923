"""bench.py RECHOWN: the shift engine beside its peers, into RESULTS.md. Set by the environment:

SIZE       small (the default) or full
CACHE      warm (the default), or cold: inodes and directories are dropped before each run
BENCH_DIR  where the trees are built: on a real file system, /var/tmp by default
TREES, FILE_SYSTEMS, ROUNDS  some of what SIZE stands for
"""

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import trees
from peers import AGAIN, CHOWN, NSPAWN, PEERS, ROOT, SHIFT, SURVEY, furnish, versions, why_not

RESULTS = Path(__file__).parent / "RESULTS.md"
REAL = ("ext4", "xfs", "btrfs")
SIZE, CACHE = os.environ.get("SIZE", "small"), os.environ.get("CACHE", "warm")
BENCH_DIR = os.environ.get("BENCH_DIR", "/var/tmp")
ROUNDS = int(os.environ.get("ROUNDS", 3))
# Whoever takes longer runs in the first round only.
LONG = 10
# No peer's speed shall hang on what the caller's environment holds.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "HOME": "/root"}


@dataclass
class Run:
    seconds: float
    cpu: float  # seconds of all its threads: hardly disturbed by what else runs on the machine
    sync: float  # seconds for what the file system still had to write afterwards
    mebibytes: float
    left_out: int = 0


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended"))
    ours = os.path.abspath(sys.argv[1])
    here = kind_of(BENCH_DIR)
    if here not in REAL:
        sys.exit(f"bench: {BENCH_DIR} lies on {here}: set BENCH_DIR to a directory on one of {', '.join(REAL)}")
    with directory(tempfile.mkdtemp(prefix="bench-", dir=BENCH_DIR)) as scratch:
        report = [head(here, missing(scratch, ours))]
        for kind in os.environ.get("FILE_SYSTEMS", here if SIZE == "small" else " ".join(REAL)).split():
            if kind == here:
                for name in os.environ.get("TREES", " ".join(trees.TREES)).split():
                    if count := trees.TREES[name][2].get(SIZE):
                        add(report, measure(scratch, kind, name, count, ours))
            else:
                # Over this file system: fewer files, only to show what is different there.
                with loop_device(scratch, kind) as point:
                    count = trees.TREES["files"][2]["small"]
                    add(report, measure(point, f"{kind} on a loop device", "files", count, ours))
    say(f"bench: written to {RESULTS}")


def add(report, part):
    """What is measured stays, also when the rest is cut short."""
    report.append(part)
    RESULTS.write_text("\n".join(report), encoding="utf-8")


def missing(scratch, ours):
    """Leaves out who cannot run here. A container cannot be started everywhere."""
    with machine_in(scratch, ours) as machine:
        reason = why_not(NSPAWN, {"machine": machine})
    if reason is None:
        return ""
    PEERS.remove(NSPAWN)
    say(f"{NSPAWN.name} cannot run here: {reason}")
    return f"- {NSPAWN.name} cannot run here: {reason.splitlines()[-1]}\n"


@contextmanager
def machine_in(work, ours):
    """A directory that looks like a system's root."""
    with directory(f"{work}/machine") as machine:
        furnish(machine, ours)
        yield machine


def kind_of(path):
    return subprocess.run(["findmnt", "-no", "FSTYPE", "--target", path], check=True, capture_output=True,
                          text=True).stdout.strip()


@contextmanager
def directory(path):
    """The directory for the length of a block."""
    try:
        yield path
    finally:
        # Much faster than shutil's way on a million files.
        subprocess.run(["rm", "-rf", path], check=True)


@contextmanager
def loop_device(scratch, kind):
    image, point = f"{scratch}/{kind}.img", f"{scratch}/{kind}"
    os.mkdir(point)
    with open(image, "wb") as file:
        file.truncate(16 << 30)
    try:
        subprocess.run([f"mkfs.{kind}", "-q", image], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["mount", "-o", "loop", image, point], check=True)
        try:
            yield point
        finally:
            subprocess.run(["umount", point], check=True)
    finally:
        os.unlink(image)


def measure(work, file_system, name, count, ours):
    """Builds a tree, lets everyone at it in rounds and returns what came of it as Markdown."""
    build, about, _ = trees.TREES[name]
    about = f"{file_system}: {about.format(count)}"
    say(about)
    with machine_in(work, ours) as machine:
        tree = f"{machine}/{name}"
        names = {"tree": tree, "machine": machine, "journal": f"{work}/{name}.journal", "ours": ours}
        build(tree, count)
        entries, owner = trees.count(tree), 0
        runs = {peer.name: [] for peer in PEERS}
        for number in range(ROUNDS):
            for peer in PEERS:
                former = runs[peer.name]
                if former and former[0].seconds > LONG and not is_ours(peer):
                    continue
                if owner != peer.before:
                    trees.restore(tree)
                # By its owner systemd-nspawn tells whether there is anything to do.
                os.chown(machine, 0, 0)
                run, owner = timed(peer, names), peer.after
                run.left_out = trees.left_out(tree, owner)
                if run.left_out > entries / 100:
                    sys.exit(f"bench: {peer.name} has not made {run.left_out} of {entries} owned by {owner}")
                former.append(run)
                say(f"  {number + 1} {peer.name:<36} {run.seconds:8.3f} s {run.mebibytes:5.0f} MiB")
    return table(about, entries, runs) + goals(name, file_system, runs)


def is_ours(peer):
    return "{ours}" in peer.command


def timed(peer, names):
    os.sync()
    if CACHE == "cold":
        Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")
    said = f"{names['journal']}.time"
    # time(1) stands between: a child's peak memory begins with that of the program that started it.
    command = ["time", "-f", "%U %S %M", "-o", said, *(word.format(**names) for word in peer.command)]
    start = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env=ENVIRONMENT, start_new_session=True) as process:
        try:
            _, complaint = process.communicate(peer.stdin)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    seconds = time.monotonic() - start
    if process.returncode:
        sys.exit(f"bench: {peer.name}: exit {process.returncode}: {complaint[-2000:]}")
    os.sync()
    sync = time.monotonic() - start - seconds
    user, system, kibibytes = map(float, Path(said).read_text(encoding="ascii").split())
    return Run(seconds, user + system, sync, kibibytes / 1024)


def middle(runs):
    return median(run.seconds for run in runs)


def synced(runs):
    return median(run.seconds + run.sync for run in runs)


def table(about, entries, runs):
    chown = runs[CHOWN]
    lines = [f"## {about}\n",
             "| | seconds | least – most | × chown | × chown, synced | CPU s | sync after, s | entries/s | peak MiB "
             "| left out | runs |",
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for name, times in runs.items():
        seconds = [run.seconds for run in times]
        lines.append(f"| {name} | {middle(times):.3f} | {min(seconds):.3f} – {max(seconds):.3f} "
                     f"| {middle(times) / middle(chown):.2f} | {synced(times) / synced(chown):.2f} "
                     f"| {median(run.cpu for run in times):.2f} "
                     f"| {median(run.sync for run in times):.2f} | {entries / middle(times):,.0f} "
                     f"| {max(run.mebibytes for run in times):.0f} "
                     f"| {max(run.left_out for run in times)} | {len(times)} |")
    return "\n".join(lines) + "\n"


def goals(name, file_system, runs):
    """What the engine is to reach: speed with one tree, in memory, on the machine's own file system; memory with the
    largest tree too."""
    if CACHE != "warm" or "loop" in file_system or name not in ("files", "debian"):
        return ""
    lines = ["\n| goal | bound | measured | | both synced |", "|---|--:|--:|---|--:|"]
    for text, bound, value, with_sync in [*(speed(runs) if name == "files" else []), memory(runs)]:
        verdict = "met" if value <= bound else f"**missed** by {value / bound - 1:.0%}"
        lines.append(f"| {text} | ≤ {bound:.4g} | {value:.3g} | {verdict} | {with_sync} |")
    return "\n".join(lines) + "\n"


def speed(runs):
    seconds = {peer: middle(times) for peer, times in runs.items()}
    chown, both = seconds[CHOWN], synced(runs[CHOWN])
    without = seconds[SHIFT] - seconds[SURVEY]
    return [
        ("shift without its survey, × chown", 0.9, without / chown, f"{without / both:.3g}"),
        ("shift, × chown", 1.2, seconds[SHIFT] / chown, f"{seconds[SHIFT] / both:.3g}"),
        *[(f"shift, × {peer}", bound, seconds[SHIFT] / seconds[peer], f"{seconds[SHIFT] / synced(runs[peer]):.3g}")
          for peer, bound in [("containers/storage", 1 / 2), ("fuidshift", 1 / 8)]],
        ("nothing to do, × chown", 0.45, seconds[AGAIN] / chown, ""),
        ("nothing to do, the root trusted, s", 0.01, seconds[ROOT], ""),
        # The strategy `idmap` comes here: ≤ 0.05 s.
    ]


def memory(runs):
    ours = [run for peer in PEERS if is_ours(peer) for run in runs[peer.name]]
    return "peak memory, MiB", 64, max(run.mebibytes for run in ours), ""


def head(kind, missing):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    options = [f'{name}="{os.environ[name]}"' for name in ("SIZE", "CACHE", "TREES", "FILE_SYSTEMS", "ROUNDS")
               if name in os.environ]
    return f"""\
# The shift engine beside its peers

Written by `{" ".join(["make bench", *options])}`; do not edit.

- machine: {os.cpu_count()} × {processor()}, {memory} GiB, Linux {platform.release()}; {CACHE} cache; trees on {kind};
  load {os.getloadavg()[0]:.1f} before the start
- peers: {versions()}
- Rounds interleave: everyone once, then everyone again; medians. A peer that takes over {LONG} s runs once. Each run
  had all of the tree to do; what it left undone was counted, and more than 1 % ends the benchmark.
- “CPU” is the time of all threads. Before each run all was synced, and “sync after” is what the file system still
  had to write after it: only ours syncs before it says done.
- “× chown, synced” counts each one's sync with its time, and chown's with chown's.
- “shift” is all of it: survey, journal, change of owners, sync. systemd-nspawn's time has the start of a container
  in it, and the end.
{missing}"""


def processor():
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    main()
