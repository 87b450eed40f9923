"""A running Docker host switches to user namespaces and back, without anything being created again.

Brings up throwaway hosts, one of Debian 12 and one of Debian 13, runs the two playbooks against them and
shows, host by host, what was there before, after the first and after the second. It checks what it shows:
the exit code tells whether all of it is as it should be."""

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "tools")]

from session import session  # noqa: E402
from testbed import host, pristine, workload  # noqa: E402
from testbed.base import Failure, wait_for  # noqa: E402

REPOSITORY = TESTS.parent
SCRATCH = REPOSITORY / "build" / "demo"
HOSTS = {"demo12": "debian12", "demo13": "debian13"}
WIDTH = 100

# As an operator would have written it: to be merged with, and to come back byte for byte.
DAEMON_JSON = '{ "log-driver": "json-file",\n  "log-opts": {"max-size": "10m"} }\n'
ROWS_ADDED = 50
# What the containers were down for.
DOWN = {"containers down": "total", "  to stop": "stop", "  to move the data root": "move", "  to shift owners": "shift",
        "  to start": "start"}


def main():
    started = time.monotonic()
    with session():
        try:
            wrong = story()
        finally:
            each(host.down)
    print(f"\n{time.monotonic() - started:.0f} seconds in all.", end=" ")
    print(f"{len(wrong)} things are not as they should be:" if wrong else "All is as it should be.")
    print("\n".join(wrong))
    return bool(wrong)


def story():
    title("Two hosts with a DNS server, a web page, a database and an application that needs it")
    for name, image in HOSTS.items():
        say(f"tests/testbed/testbed host up {name} --image {image} --workload")
    each(lambda name: pristine.up(name, HOSTS[name]))
    each(configure)
    inventory()
    before = each(observe)

    title("User namespaces on")
    enabled = playbook("userns_enable.yml")
    remapped = each(observe)

    title("Life goes on: rows are inserted, a file is written, a container with a volume is made")
    each(live_on)

    title("User namespaces off")
    disabled = playbook("userns_rollback.yml")
    after = each(observe)

    title("What was, what became of it, and what came back")
    wrong = []
    for name in HOSTS:
        wrong += [f"{name}: {text}" for text in expectations(before[name], remapped[name], after[name])]
        wrong += [f"{name}: no down time was reported" for result in (enabled, disabled) if name not in result]
        table(before[name], remapped[name], after[name], enabled.get(name, {}), disabled.get(name, {}))
    return wrong


# What happens to the hosts


def configure(name):
    """One host has a configuration of its own already, the other has none."""
    if name == "demo13":
        host.exec_(name, "sh", "-c", "mkdir -p /etc/docker && cat >/etc/docker/daemon.json", input=DAEMON_JSON)


def live_on(name):
    workload.database(name, f"INSERT INTO item SELECT seq + 1000, 'later' FROM seq_1_to_{ROWS_ADDED}")
    host.exec_(name, "docker", "exec", "-u", "999:999", "db", "sh", "-c", "echo later >/var/lib/mysql/later")
    host.exec_(name, "docker", "run", "-d", "--name", "later", "--stop-signal", "KILL", "-v", "laterdata:/data", "bulkhead/busybox",
               "sh", "-c", "echo later >/data/file; exec sleep 1000000")


def inventory():
    SCRATCH.mkdir(parents=True, exist_ok=True)
    known = json.loads(host.inventory())["all"]["hosts"]
    ours = {name: known[name] for name in HOSTS}
    (SCRATCH / "hosts.json").write_text(json.dumps({"docker_hosts": {"hosts": ours}}, indent=2))


def playbook(name):
    """Runs a playbook on all hosts; returns the module's result by host."""
    # -v prints the results; what changes nothing is left out.
    quiet = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_DISPLAY_OK_HOSTS": "no", "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "no"}
    command = ["ansible-playbook", "-v", "-i", "build/demo/hosts.json", f"playbooks/{name}"]
    say(shlex.join(command))
    results = {}
    with subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **quiet}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in map(str.rstrip, process.stdout):
            found = re.fullmatch(r"changed: \[(\w+)\] => (\{.*\})", line)
            if found and "downtime" in (result := json.loads(found[2])):
                results[found[1]] = result
            show(line)
    return results


def show(line):
    """A line of Ansible's output, without results and ornaments."""
    if not line or line.startswith(("Using", "included")):
        return
    if line.startswith("changed:"):
        line = line.partition(" =>")[0]
    line = re.sub(r"( )+\**", r"\1", line)
    print(textwrap.fill(line, WIDTH - 2, initial_indent="  ", subsequent_indent="      "), flush=True)


# What is to be seen of them


def observe(name):
    """The host as its users and its administrator see it."""
    # A database replays its log after a restart.
    wait_for(f"the database of {name}", lambda: workload.database(name, "SELECT 1"), 60)
    seen = workload.check(name)
    on_disk = workload.said(name, "docker", "volume", "inspect", "-f", "{{.Mountpoint}}", "dbdata") + "/shop/item.ibd"
    return {
        **seen,
        "containers": {entry["id"]: entry["running"] for entry in seen["containers"]},
        "host": f"{name}, Docker {workload.said(name, 'docker', 'version', '-f', '{{.Server.Version}}')}",
        "uid_map": workload.said(name, "docker", "exec", "db", "cat", "/proc/self/uid_map").split(),
        "inside": workload.said(name, "docker", "exec", "db", "stat", "-c", "%u:%g", "/var/lib/mysql/shop/item.ibd"),
        "on_disk": workload.said(name, "stat", "-c", "%u:%g", on_disk),
        "later": workload.said(name, "docker", "exec", "db", "stat", "-c", "%u:%g", "/var/lib/mysql/later"),
        "daemon.json": host.exec_(name, "cat", "/etc/docker/daemon.json", check=False).stdout,
    }


def expectations(before, remapped, after):
    """What is not as it should be."""
    start = int(remapped["uid_map"][1])
    kept = {
        "containers are not the same, or do not run as before": before["containers"] == remapped["containers"],
        "images are not the same": before["images"] == remapped["images"] == after["images"],
        "networks are not the same": before["networks"] == remapped["networks"] == after["networks"],
        "volumes are not the same": before["volumes"] == remapped["volumes"],
        "there is no user namespace": remapped["remapped"] and start > 0,
        "the user namespace is still there": not after["remapped"] and after["uid_map"] == before["uid_map"],
        "owners inside containers changed": before["inside"] == remapped["inside"] == after["inside"],
        "owners on disk are not start + id": remapped["on_disk"] == shifted(before["on_disk"], start),
        "owners on disk did not come back": after["on_disk"] == before["on_disk"],
        "DNS answers differently": before["dns"] == remapped["dns"] == after["dns"] == workload.ADDRESS,
        "the web page is different": before["web"] == remapped["web"] == after["web"] != "",
        "rows are missing while remapped": remapped["rows"] == before["rows"] == workload.ROWS,
        "rows written while remapped are missing": after["rows"] == before["rows"] + ROWS_ADDED,
        "the file written while remapped is missing": after["later"] == "999:999",
        "daemon.json does not name the user namespace": "userns-remap" in remapped["daemon.json"],
        "daemon.json lost a key": "max-size" in remapped["daemon.json"] or not before["daemon.json"],
        "daemon.json is not what it was": before["daemon.json"] == after["daemon.json"],
        "a volume made while remapped is missing": set(after["volumes"]) - set(before["volumes"]) == {"laterdata"},
        "a container made while remapped is missing, or another":
            before["containers"].items() <= after["containers"].items()
            and len(after["containers"]) == len(before["containers"]) + 1 and all_new_run(before, after),
    }
    return [text for text, holds in kept.items() if not holds]


def shifted(owners, start):
    return ":".join(str(int(number) + start) for number in owners.split(":"))


def all_new_run(before, after):
    return all(runs for number, runs in after["containers"].items() if number not in before["containers"])


# How it is shown


def table(before, remapped, after, enabled, disabled):
    states = [before, remapped, after]

    def same(what):
        """The count, and whether it is the same set as before, or what came to it."""
        ids = [set(state[what]) for state in states]
        return [str(len(ids[0]))] + [f"{len(now)}, {difference(ids[0], now)}" for now in ids[1:]]

    rows = {
        "": ["before", "user namespaces on", "and off again"],
        "containers": same("containers"),
        "  of them running": [str(sum(state["containers"].values())) for state in states],
        "images": same("images"),
        "networks (user-made)": same("networks"),
        "volumes": same("volumes"),
        "root in a container is": [f"uid {state['uid_map'][1]} of the host" for state in states],
        "a database file, inside": [state["inside"] for state in states],
        "the same file, on disk": [state["on_disk"] for state in states],
        "DNS answer": [state["dns"] for state in states],
        "web page": [state["web"] for state in states],
        "database rows": [str(before["rows"]), f"{remapped['rows']}, then {ROWS_ADDED} more", str(after["rows"])],
        "daemon.json": [f"{len(before['daemon.json'])} bytes" if before["daemon.json"] else "none",
                        "with userns-remap" if "userns-remap" in remapped["daemon.json"] else "WITHOUT userns-remap",
                        "as before" if after["daemon.json"] == before["daemon.json"] else "CHANGED"],
        **{label: ["", *(seconds(result, part) for result in (enabled, disabled))] for label, part in DOWN.items()},
    }
    print(f"\n{before['host']}")
    for label, cells in rows.items():
        print(f"  {label:<24}" + "".join(f"{cell:<24.23}" for cell in cells).rstrip())


def difference(before, now):
    gone, new = before - now, now - before
    if gone:
        return f"{len(gone)} LOST"
    return f"the same + {len(new)}" if new else "the same"


def seconds(result, part):
    return f"{result['downtime'][part]} s" if "downtime" in result else "?"


def title(text):
    print(f"\n── {text} " + "─" * (WIDTH - 5 - len(text)), flush=True)


def say(command):
    print(f"\n$ {command}", flush=True)


def each(do):
    """Does it on all hosts at once; the results by host."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(HOSTS, pool.map(do, HOSTS)))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"demo: {failure}")
