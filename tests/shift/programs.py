"""How programs are run on trees: where nothing they mount lasts, and not for ever."""

import json
import os
import platform
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = Path(os.environ.get("BULKHEAD_RECHOWN_EXE",
                           REPOSITORY / "plugins" / "module_bin" / platform.machine() / "volume_rechown"))
# Mounts each path of a pair on the next, then runs what follows.
ISOLATE = 'while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done; shift; exec "$@"'
# None of it shall hang on what the caller's environment holds.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
SECONDS = 60


@dataclass(frozen=True)
class Map:
    """Extents (from, to, size) of ids."""

    users: tuple
    groups: tuple

    def words(self):
        sides = (("u", self.users), ("g", self.groups))
        return [f"{kind}:{first}:{to}:{size}" for kind, side in sides for first, to, size in side]

    def option(self):
        """As volume_rechown takes it."""
        return f"map={','.join(self.words())}"


@dataclass
class Ran:
    status: int
    output: str


def run(command, *binds, stdin="", seconds=SECONDS):
    """Runs a command in a mount namespace of its own, with the pairs of `binds` mounted in it."""
    pairs = [str(path) for bind in binds for path in bind]
    isolated = ["unshare", "--mount", "sh", "-ec", ISOLATE, "isolate", *pairs, "--", *map(str, command)]
    with subprocess.Popen(isolated, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", env=ENVIRONMENT, start_new_session=True) as process:
        try:
            output, _ = process.communicate(stdin, timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return Ran(process.returncode, output)


def ours(tree, state, *options, binds=(), under=()):
    """Runs volume_rechown, with its records in the directory `state`; (what ran, its result)."""
    state.mkdir(exist_ok=True)
    Path("/var/lib/bulkhead").mkdir(mode=0o700, parents=True, exist_ok=True)
    ran = run([*under, OURS, f"path={tree}", "--json", *options], (state, "/var/lib/bulkhead"), *binds)
    try:
        return ran, json.loads(ran.output)
    except json.JSONDecodeError:
        return ran, {}
