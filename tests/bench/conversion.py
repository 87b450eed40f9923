"""conversion.py USERNS_REMAP: a big host's way to user namespaces beside other ways there, and beside a plain restart
of its engine, into RESULTS-docker.md. Set by the environment:

IMAGE   the test host's, debian13 by default
FILES   how many lie in volumes, layers and an image, 200,000 by default
ROUNDS  3 by default
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

BENCH = Path(__file__).resolve().parent
sys.path[:0] = [str(BENCH.parent), str(BENCH.parent / "tools")]

from bench import processor  # noqa: E402
from session import session  # noqa: E402
from testbed import base, big, engine, host, manifest, pristine  # noqa: E402

RESULTS = BENCH / "RESULTS-docker.md"
NAME, IMAGE, ROUNDS = "bench", os.environ.get("IMAGE", "debian13"), int(os.environ.get("ROUNDS", 3))
FILES = int(os.environ.get("FILES", big.FILES))
ROOT, START, COUNT = "/var/lib/docker", 165536, 65536
# The volume of the container that stays in the host's user namespace.
KEPT = f"volume{big.VOLUMES - 1}"
GOAL = 1.5


@dataclass
class Run:
    down: float  # seconds for which not all containers ran
    total: float  # seconds from the first command to the last container's health
    written: float  # MiB that reached the disk, of the whole machine
    shift: float = 0  # seconds that ours spent on owners while all was down


# The ways. Each takes the host to where its containers run again, remapped or not, and returns what it said.


def restart():
    sh("systemctl restart docker")
    # Those that join another's network may not be brought back by the engine (seen on 20.10).
    host.exec_(NAME, "docker", "start", *big.SIDE)


def in_place(**options):
    done = host.exec_(NAME, "userns_remap", input=json.dumps({"state": "enabled", **options}), check=False)
    result = json.loads(done.stdout)
    if result.get("failed"):
        sys.exit(f"bench: {result['msg']}")
    return result


def by_hand():
    host.put(NAME, BENCH / "by_hand.py", "/root/by_hand.py")
    host.exec_(NAME, "python3", "/root/by_hand.py", input=json.dumps({
        "volumes": big.volumes(), "networks": big.networks(), "containers": big.create(), "groups": big.running(),
        "kept": [KEPT]}))


RESTART, IN_PLACE, BY_HAND = "`systemctl restart docker`, and no more", "in place, ours", "by hand, done right"
COPY = "copied, ours: the old root is kept"
# way → what it does, and where its volumes' owners begin afterwards; one more way is one more line
WAYS = {RESTART: (restart, 0), IN_PLACE: (in_place, START),
        COPY: (lambda: in_place(carry_over="copy"), START), BY_HAND: (by_hand, START)}


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended"))
    ours = os.path.abspath(sys.argv[1])
    with session():
        try:
            runs = {way: [] for way in WAYS}
            for number in range(ROUNDS):
                for way in WAYS:
                    runs[way].append(measure(way, ours))
                    base.say(f"round {number + 1}: {way}: {runs[way][-1]}")
            left, version = as_written(ours), sh("docker version -f '{{.Server.Version}}'").strip()
        finally:
            host.down(NAME)
    RESULTS.write_text(report(runs, left, version), encoding="utf-8")
    base.say(f"written to {RESULTS}")


def sh(script, **kwargs):
    return host.exec_(NAME, "sh", "-eu", "-c", script, **kwargs).stdout


def set_up(ours):
    """The host anew: every running container has a restart policy, so that a restart of the engine brings it back."""
    host.down(NAME)
    host.up(NAME, IMAGE, pristine.var(IMAGE))
    host.put(NAME, ours, "/usr/local/bin/userns_remap")
    big.up(NAME, FILES)
    sh("docker ps -q | xargs docker update --restart always; systemctl daemon-reload")
    wait_healthy()


def wait_healthy():
    count = sum(map(len, big.running()))

    def healthy():
        states = sh("docker ps --format '{{.Status}}'").splitlines()
        return len(states) == count and not any("starting" in state for state in states)

    base.wait_for("the containers", healthy, 300)


def measure(way, ours):
    act, start = WAYS[way]
    set_up(ours)
    before = volumes()
    subprocess.run(["sync"], check=True)
    written, began = sectors(), time.monotonic()
    watcher = watch()
    said = act() or {}
    wait_healthy()
    total = time.monotonic() - began
    down = float(watcher.communicate("")[0])
    subprocess.run(["sync"], check=True)
    written = (sectors() - written) / 2048
    check(way, before, start)
    return Run(down, total, written, said.get("downtime", {}).get("shift", 0))


def watch():
    """A process in the host that counts for how long not all containers run."""
    host.put(NAME, BENCH / "watch.py", "/root/watch.py")
    watcher = subprocess.Popen(
        ["docker", "-H", f"unix://{engine.SOCKET}", "exec", "-i", host.container(NAME), "python3", "/root/watch.py",
         str(sum(map(len, big.running())))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    watcher.stdout.readline()
    return watcher


def sectors():
    """Of 512 bytes, written to the disk that the hosts lie on (Documentation/admin-guide/iostats.rst)."""
    device = os.stat(engine.ROOT).st_dev
    numbers = str(os.major(device)), str(os.minor(device))
    lines = map(str.split, Path("/proc/diskstats").read_text(encoding="ascii").splitlines())
    return next(int(line[9]) for line in lines if tuple(line[:2]) == numbers)


def volumes():
    """The manifest of the named volumes' data."""
    root = sh("docker info -f '{{.DockerRootDir}}'").strip()
    found = manifest.of_host(NAME, f"{root}/volumes")
    return {path: entry for path, entry in found.items() if path.startswith("volume") and "/_data" in path}


def check(way, before, start):
    """The volumes are what they were, by the map, and a container writes its own and reads it."""
    map_ = [(0, START if start else 0, COUNT)]
    expected = {path: entry if path.startswith(f"{KEPT}/") else manifest.translate_entry(entry, map_, map_)
                for path, entry in before.items()}
    if wrong := manifest.differences(expected, volumes()):
        sys.exit(f"bench: {way}: {len(wrong)} differences in volumes:\n" + "\n".join(wrong[:20]))
    sh("docker exec web1 sh -ec 'echo here >/data/written; grep here /data/written'")


def as_written(ours):
    """What the engine still has after the earlier guide's own steps: daemon.json, restart."""
    set_up(ours)
    sh("""mkdir -p /etc/docker; echo '{"userns-remap": "default"}' >/etc/docker/daemon.json; systemctl restart docker""")
    counts = sh("docker ps -aq | wc -l; docker image ls -aq | wc -l; docker volume ls -q | wc -l; "
                "docker network ls -q --filter type=custom | wc -l").split()
    return "{} containers, {} images, {} volumes, {} networks".format(*counts)


def report(runs, left, version):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    plain = median(run.down for run in runs[RESTART])
    lines = [f"""\
# To user namespaces, beside other ways there

Written by `{shlex.join(["make", "bench-docker", *options()])}`; do not edit.

- machine: {os.cpu_count()} × {processor()}, {memory} GiB, Linux {os.uname().release}; load
  {os.getloadavg()[0]:.1f} at the end; host {IMAGE}, Docker {version}
- the host: {sum(map(len, big.running()))} of 40 containers running, all with a restart policy, 10 networks, 30
  volumes, {FILES:,} files. It is made anew before each run; rounds interleave; medians of {ROUNDS}.
- "Down" is for how long fewer containers ran than before, looked at from beside every 20 ms; "total" is from the first
  command to the last container's health. "Written" is what the disk of the whole machine took until all was
  synced: only a quiet machine gives a number of worth.
- After each run the manifest of all named volumes was compared, and a container wrote its own and read it. In place the
  containers, their own layers, anonymous volumes and logs are the same, too. By hand they are new ones: what was in
  them is gone.
- A restart leaves containers down that join another's network (on Docker 20.10): they are started after it, and are
  down until then.
- The earlier guide as it was written (daemon.json, restart) is not timed: the engine then has
  {left}.

| | down, s | least – most | × restart | total, s | written, MiB | runs |
|---|--:|--:|--:|--:|--:|--:|"""]
    for way, of_way in runs.items():
        down = [run.down for run in of_way]
        lines.append(f"| {way} | {median(down):.1f} | {min(down):.1f} – {max(down):.1f} | {median(down) / plain:.2f} "
                     f"| {median(run.total for run in of_way):.1f} | {median(run.written for run in of_way):.0f} "
                     f"| {len(of_way)} |")
    shift = median(run.shift for run in runs[IN_PLACE])
    bound, value = GOAL * plain + shift, median(run.down for run in runs[IN_PLACE])
    verdict = "met" if value <= bound else f"**missed** by {value / bound - 1:.0%}"
    lines += ["", "| goal | bound | measured | |", "|---|--:|--:|---|",
              f"| down in place, s: {GOAL} × restart + the shift ({shift:.1f} s) | ≤ {bound:.1f} | {value:.1f} | {verdict} |"]
    return "\n".join(lines) + "\n"


def options():
    return [f"{name}={os.environ[name]}" for name in ("IMAGE", "FILES", "ROUNDS") if name in os.environ]


if __name__ == "__main__":
    main()
