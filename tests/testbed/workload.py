"""The workload of a test host: a DNS server with a web page, a database, an application that depends
on it, a stopped container, and volumes with everything that a shift of owners can get wrong."""

import hashlib
import json
import subprocess
from pathlib import Path

from . import engine, host, images
from .base import HERE, Failure, wait_for

DNS_PORT, WEB_PORT = 5353, 8080
NAME, ADDRESS = "bulkhead.test", "192.0.2.53"
ROWS = 1000
OWNERS = HERE / "owners.sh"
PROJECT = "com.docker.compose.project=shop"

# name → arguments of `docker create`; in the order of their dependencies
CONTAINERS = {
    "dns": ["--restart", "unless-stopped", "-v", "dnsdata:/data",
            "-p", f"{DNS_PORT}:53/udp", "-p", f"{DNS_PORT}:53/tcp", "-p", f"{WEB_PORT}:80", "bulkhead/dns"],
    "db": ["--restart", "always", "--network", "appnet", "-v", "dbdata:/var/lib/mysql",
           "--label", PROJECT, "--label", "com.docker.compose.service=db", "bulkhead/db"],
    # /state is an anonymous volume
    "app": ["--network", "appnet", "-v", "/state",
            "--label", PROJECT, "--label", "com.docker.compose.service=app",
            "--label", "com.docker.compose.depends_on=db:service_started:false",
            "bulkhead/busybox", "sh", "-c", "trap exit TERM; while :; do date >>/state/log; sleep 1; done"],
    # sleep as process 1 ignores SIGTERM: it takes the whole stop time-out to end
    "sidecar": ["--network", "container:app", "--stop-timeout", "2", "bulkhead/busybox", "sleep", "1000000"],
    "idle": ["bulkhead/busybox", "true"],
}
# What userns-remap refuses.
REFUSED = {
    "privileged": ["--privileged", "bulkhead/busybox", "sleep", "1000000"],
    "hostnet": ["--network", "host", "--restart", "unless-stopped", "--stop-timeout", "2",
                "bulkhead/busybox", "sleep", "1000000"],
}
# Owners, modes and a deletion in a container's own layer.
LAYER = """
[ ! -e /layer ] || exit 0
mkdir /layer
for id in 0 5 33 999 65534; do echo $id >/layer/$id; chown $id:$id /layer/$id; done
chmod 4755 /layer/33; chmod 2755 /layer/999; rm -r /srv
"""


def recipe():
    """The hash of everything but the images that decides what `up` makes."""
    return hashlib.sha256(Path(__file__).read_bytes() + OWNERS.read_bytes()).hexdigest()


def load_images(name):
    """Copy the workload images from our engine into the host's."""
    recipe = images.build_workloads()
    there = host.exec_(name, "docker", "image", "inspect", "-f", f'{{{{index .Config.Labels "{images.LABEL}"}}}}',
                       *images.workload_images(), check=False).stdout.split()
    if there == [recipe] * len(images.workload_images()):
        return
    save = ["docker", "-H", f"unix://{engine.SOCKET}", "save", *images.workload_images()]
    with subprocess.Popen(save, stdout=subprocess.PIPE) as saving:
        host.exec_(name, "docker", "load", stdin=saving.stdout)
    if saving.returncode:
        raise Failure(f"{' '.join(save)}: exit {saving.returncode}")


def up(name):
    """Bring the workload up; what is there already is started where it ought to run."""
    load_images(name)
    if host.exec_(name, "docker", "network", "inspect", "appnet", check=False).returncode:
        host.exec_(name, "docker", "network", "create", "appnet")
    if host.exec_(name, "docker", "volume", "inspect", "dnsdata", check=False).returncode:
        host.exec_(name, "docker", "volume", "create", "dnsdata")
        data = host.exec_(name, "docker", "volume", "inspect", "-f", "{{.Mountpoint}}", "dnsdata").stdout.strip()
        host.exec_(name, "sh", "-eu", "-s", f"{data}/owners", input=OWNERS.read_text(encoding="utf-8"))
    present = host.exec_(name, "docker", "ps", "-a", "--format", "{{.Names}}").stdout.split()
    for container, arguments in CONTAINERS.items():
        if container not in present:
            host.exec_(name, "docker", "create", "--name", container, *arguments)
        host.exec_(name, "docker", "start", container)
    wait_for(f"the workload of {name} (see `testbed workload check {name}`)", lambda: healthy(check(name)), 90)
    host.exec_(name, "docker", "exec", "-i", "dns", "sh", "-eu", "-s", input=LAYER)


def refused(name):
    """Add a privileged and a host-network container, which cannot run remapped."""
    for container, arguments in REFUSED.items():
        host.exec_(name, "docker", "create", "--name", container, *arguments)
    # A privileged container needs capabilities that the test host does not have.
    host.exec_(name, "docker", "start", "hostnet")


def healthy(state):
    return (state["dns"] == ADDRESS and "bulkhead dns" in state["web"] and state["rows"] == ROWS
            and {entry["name"] for entry in state["containers"] if entry["running"]} >= set(CONTAINERS) - {"idle"})


def check(name):
    """The workload as its users and the host's administrator see it."""
    rows = database(name, "SELECT COUNT(*) FROM item")
    return {
        "dns": said(name, "dig", "+short", "+time=1", "+tries=1", "-p", DNS_PORT, "@127.0.0.1", NAME),
        "web": said(name, "curl", "-s", "--max-time", "2", f"http://127.0.0.1:{WEB_PORT}/"),
        "rows": int(rows) if rows.isdigit() else None,
        "containers": containers(name),
        "images": sorted(set(said(name, "docker", "image", "ls", "-aq", "--no-trunc").split())),
        "volumes": sorted(said(name, "docker", "volume", "ls", "-q").split()),
        "networks": sorted(said(name, "docker", "network", "ls", "-q", "--no-trunc", "--filter",
                                "type=custom").split()),
        "remapped": "name=userns" in said(name, "docker", "info", "-f", "{{json .SecurityOptions}}"),
    }


def said(name, *argv):
    """Standard output, stripped, whatever the exit code."""
    return host.exec_(name, *argv, check=False).stdout.strip()


def database(name, statement):
    """What the database answers to an SQL statement, or ''."""
    return said(name, "docker", "exec", "db", "mariadb", "-N", "shop", "-e", statement)


def containers(name):
    """Id, name, image and state of every container."""
    ids = said(name, "docker", "ps", "-aq", "--no-trunc").split()
    if not ids:
        return []
    found = json.loads(said(name, "docker", "inspect", *ids) or "[]")
    return sorted(
        ({"id": entry["Id"], "name": entry["Name"].removeprefix("/"), "image": entry["Image"],
          "running": entry["State"]["Running"], "created": entry["Created"],
          "restart": entry["HostConfig"]["RestartPolicy"]["Name"]} for entry in found),
        key=lambda entry: entry["name"])
