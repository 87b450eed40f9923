"""Rootless Podman as it grows on a server: services of every kind under one shared account, which are to get
accounts of their own. What they are stands in the files of rootless/."""

import hashlib
import json
import subprocess
from dataclasses import dataclass

from . import engine, host, images
from .base import HERE, Failure, wait_for

FILES = HERE / "rootless"
THERE = "/usr/local/lib/rootless"
ACCOUNT = "container-db"
ROWS = 1000
FROM_ENGINE = ["bulkhead/db", "bulkhead/busybox"]


@dataclass(frozen=True)
class Service:
    """A service of the shared account, whose container has its name."""

    name: str
    page: str | None  # path of its web server, which answers on the port
    port: int
    directory: str | None = None  # that it binds
    volume: str | None = None
    grows: tuple = ()  # what it writes to, below its data


SERVICES = {service.name: service for service in (
    Service("shopdb", None, 3306, "/var/lib/shopdb"),
    Service("webpage", "/", 8091, "/var/lib/webpage", grows=("log",)),
    Service("localapp", "/999", 8092, volume="localapp-data", grows=("log", "reports")),
    Service("keepid", "/5", 8093, "/var/lib/keepid", grows=("own/log",)),
    Service("sysapp", "/log", 8094, "/var/lib/sysapp", grows=("log",)),
)}


def recipe():
    """The hash of everything but the images that decides what `up` makes."""
    digest = hashlib.sha256((HERE / "owners.sh").read_bytes() + (HERE / "rootless.py").read_bytes())
    for file in sorted(FILES.rglob("*")):
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()


def up(name):
    """Bring the account and its services up, in a host where /var is new, or a copy of one that had them."""
    if host.exec_(name, "id", ACCOUNT, check=False).returncode:
        put_files(name)
        there = f"{THERE}/{host.image_of(name)}"
        is_new = host.exec_(name, "test", "-e", f"/var/lib/containers/{ACCOUNT}", check=False).returncode != 0
        shell(name, f"{THERE}/account.sh")
        if is_new:
            fill(name)
            as_account(name, ACCOUNT, f"{there}/units.sh")
        shell(name, f"{there}/system.sh")
        # As at a boot.
        shell(name, f"systemctl daemon-reload; systemctl stop user@990; loginctl enable-linger {ACCOUNT}; "
                    "systemctl start user@990; systemctl start --no-block sysapp")
    wait_healthy(name)


def fill(name):
    """What the account's services live on: images, directories, a volume, a network, a secret of Podman."""
    shell(name, f"loginctl enable-linger {ACCOUNT}")
    load_images(name)
    for service in SERVICES.values():
        if service.directory:
            host.exec_(name, "install", "-d", "-m", "0700", "-o", ACCOUNT, "-g", ACCOUNT, service.directory)
    as_account(name, ACCOUNT, f"{THERE}/store.sh")
    # Only the host's root may set it.
    shell(name, f"setfattr -h -n trusted.note -v link {volume_data('localapp-data')}/owners/dir-5/dangling")


def put_files(name):
    with subprocess.Popen(["tar", "-C", HERE, "-c", "rootless", "owners.sh"], stdout=subprocess.PIPE) as packing:
        host.exec_(name, "tar", "-C", "/usr/local/lib", "--owner=0", "--group=0", "-x", stdin=packing.stdout)
    shell(name, f"mv /usr/local/lib/owners.sh {THERE}; ln -sf {THERE}/as /usr/local/bin/as")


def load_images(name):
    """Copy the images of the workload from our engine to the shared account."""
    images.build_workloads()
    save = ["docker", "-H", f"unix://{engine.SOCKET}", "save", *FROM_ENGINE]
    with subprocess.Popen(save, stdout=subprocess.PIPE) as saving:
        as_account(name, ACCOUNT, "podman", "load", "-q", stdin=saving.stdout)
    if saving.returncode:
        raise Failure(f"{' '.join(map(str, save))}: exit {saving.returncode}")


def as_account(name, account, *argv, **kwargs):
    """Run a command as an account; keywords as those of `base.run`."""
    return host.exec_(name, "as", account, *argv, **kwargs)


def shell(name, script):
    return host.exec_(name, "sh", "-euc", script)


def volume_data(volume, account=ACCOUNT):
    return f"/var/lib/containers/{account}/.local/share/containers/storage/volumes/{volume}/_data"


def wait_healthy(name, accounts=None, seconds=90, services=tuple(SERVICES)):
    """Wait until the services answer; `accounts` are those of services that are not the shared account's."""
    accounts = accounts or {}
    found = {}

    def healthy():
        found.update({service: problem(name, SERVICES[service], accounts.get(service, ACCOUNT))
                      for service in services})
        return not any(found.values())

    try:
        wait_for("the services", healthy, seconds)
    except Failure as failure:
        raise Failure(f"{failure}: {json.dumps(found)}") from None


def problem(name, service, account=ACCOUNT):
    """What is wrong with a service, or ''."""
    if service.page is None:
        rows = query(name, "SELECT COUNT(*) FROM item", account)
        return "" if rows.isdigit() else f"no rows: {rows}"
    page = f"http://127.0.0.1:{service.port}{service.page}"
    done = host.exec_(name, "curl", "-sSf", "--max-time", "2", "-o", "/dev/null", page, check=False)
    return done.stderr.strip()


def query(name, statement, account=ACCOUNT):
    """What the database answers to an SQL statement, or why it does not."""
    done = as_account(name, account, "podman", "exec", "shopdb", "mariadb", "-N", "shop", "-e", statement, check=False)
    return (done.stdout or done.stderr).strip()
