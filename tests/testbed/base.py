"""What every part of the testbed shares: where things lie, and how a command is run."""

import fcntl
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("BULKHEAD_CACHE", "/var/cache/bulkhead"))


class Failure(Exception):
    """Something the user can act on; its text is the whole message."""


def say(text):
    print(f"testbed: {text}", file=sys.stderr, flush=True)


def run(*argv, check=True, **kwargs):
    """Run a command with its output captured as text; a failure carries what it said."""
    kwargs.setdefault("stdin", None if "input" in kwargs else subprocess.DEVNULL)
    done = subprocess.run([str(arg) for arg in argv], check=False, capture_output=True, text=True, **kwargs)
    if check and done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-4000:]
        raise Failure(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{said}")
    return done


def wait_for(what, probe, seconds):
    """Call `probe` until it returns something true, which is returned."""
    end = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(0.1)


@contextmanager
def lock(name):
    """One process at a time does what `name` stands for."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
