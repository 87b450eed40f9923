"""A host with services of one shared account as the tests use it: accounts, what they own and may read, what runs."""

import json
import os
import platform
from pathlib import Path

import pytest

from testbed import engine, host, manifest, pristine, rootless
from testbed.base import wait_for
from testbed.place import Host

REPOSITORY = Path(__file__).resolve().parents[2]
EXECUTABLE = Path(os.environ.get(
    "BULKHEAD_EXE", REPOSITORY / "plugins" / "module_bin" / platform.machine() / "podman_service"))
FAULTS = Path(os.environ.get("BULKHEAD_FAULTS_EXE", REPOSITORY / "build" / "faults" / "podman_service"))

# Another prefix lets a second session run beside one that takes hours.
PREFIX = os.environ.get("BULKHEAD_PODMAN_PREFIX", "podman")
DEBIAN_12, DEBIAN_13 = EVERY = [
    pytest.param((f"{PREFIX}{image.removeprefix('debian')}", image), id=image) for image in ("debian12", "debian13")]
SHARED = rootless.ACCOUNT
SERVICES = tuple(rootless.SERVICES)
# The units of each service. On Debian 12 the user's are those that Podman writes.
UNITS = {
    "debian12": {name: [f"container-{name}.service"] for name in SERVICES} | {"sysapp": ["sysapp.service"]},
    "debian13": {name: [f"{name}.container"] for name in SERVICES} | {
        "webpage": ["webpage.pod", "webpage.container"],
        "localapp": ["localapp.container", "localapp.volume", "localapp.network", "localapp-report.container",
                     "localapp-report.timer"]},
}
# The container of a service that runs for a moment only, at times that no test knows.
BY_TIMER = "localapp-report"
IN_PROGRESS = "/var/lib/bulkhead/podman_service/in-progress"
# Where unit files and settings are.
PLACES = ("/etc/containers", "/etc/systemd/system", "/etc/tmpfiles.d", "/var/lib/containers/*/.config")


class Services(Host):
    """The test host `name`, made from the host image `image`, with the services of `testbed.rootless`."""

    def __init__(self, name, image):
        super().__init__(name)
        self.image = image
        # What a test may count on finding.
        self.holds = None

    def set_up(self):
        """Make the host anew, with all services under the shared account."""
        self.holds = None
        host.down(self.name)
        pristine.up(self.name, self.image, work=rootless)
        self.put(EXECUTABLE, "/usr/local/bin/podman_service")
        self.put(FAULTS, "/usr/local/bin/podman_service.faults")
        # Each service's own, by its name.
        for name in SERVICES:
            self.add_account(name)

    def wait_healthy(self, **accounts):
        """Wait until all services answer; `accounts` are those of services that have one of their own."""
        rootless.wait_healthy(self.name, accounts)

    # The module

    def options(self, service, **more):
        units = UNITS[self.image][service]
        return {"name": service, "from": SHARED, "to": service, "units": units, "timeout": 60, **more}

    def module(self, service, fault=None, check_mode=False, **more):
        """Run the module by hand; its result, or None where it was killed before it gave one."""
        options = self.options(service, **more, _ansible_check_mode=check_mode, _ansible_diff=True)
        command = ["env", f"BULKHEAD_FAULT={fault}", "podman_service.faults"] if fault else ["podman_service"]
        done = self.run(*command, input=json.dumps(options), check=False)
        assert done.stdout or fault and done.returncode == 137, done
        return json.loads(done.stdout) if done.stdout else None

    def move(self, service, **more):
        """The result of a run that has to succeed."""
        result = self.module(service, **more)
        assert not result.get("failed"), result["msg"]
        return result

    def move_until_paused(self, point, service, **more):
        """Start the module, have it wait at `point`, and leave it there."""
        self.sh("rm -f /run/bulkhead-paused")
        self.write("/run/arguments.json", json.dumps(self.options(service, **more)))
        command = "podman_service.faults /run/arguments.json >/run/said 2>&1"
        engine.docker("exec", "-d", "-e", f"BULKHEAD_FAULT=pause@{point}", host.container(self.name), "sh", "-c",
                      command)
        wait_for(f"the module pausing at {point}", lambda: self.read("/run/bulkhead-paused") == point, 120)

    def resume(self):
        """Let it go on, and take its result."""
        self.sh("rm /run/bulkhead-paused")
        wait_for("the result", lambda: (self.read("/run/said") or "").endswith("}\n"), 180)
        return json.loads(self.read("/run/said").splitlines()[-1])

    def recover(self):
        """What `podman_service recover` says."""
        return self.said("podman_service", "recover")

    def leftovers(self):
        """What an ended move may not leave behind."""
        units = self.said("find", "/etc/systemd/system", "-name", "*bulkhead*").split()
        return units + ([IN_PROGRESS] if self.exists(IN_PROGRESS) else [])

    # Accounts

    def add_account(self, name):
        """A new account, with a range of its own, that lingers and has a directory for secrets."""
        home = f"/var/lib/containers/{name}"
        taken = len(self.read("/etc/subuid").splitlines())
        uids, gids = 500_000 + taken * 65536, 9_000_000 + taken * 65536
        self.sh(f"""
            groupadd --system --gid {880 - taken} {name}
            useradd --system --gid {name} --home-dir {home} --shell /usr/sbin/nologin {name}
            usermod --add-subuids {uids}-{uids + 65535} --add-subgids {gids}-{gids + 65535} {name}
            install -d -m 0700 -o {name} -g {name} {home}
            echo 'd /run/secrets-{name} 0750 root {name} -' >/etc/tmpfiles.d/secrets-{name}.conf
            systemd-tmpfiles --create /etc/tmpfiles.d/secrets-{name}.conf
            loginctl enable-linger {name}
            until as {name} systemctl --user is-system-running --wait; do sleep 0.1; done""")

    def as_(self, account, *argv, **kwargs):
        """Run a command as an account."""
        return self.run("as", account, *argv, **kwargs)

    def podman(self, account, *argv, **kwargs):
        return self.as_(account, "podman", *argv, **kwargs).stdout.strip()

    def can_read(self, account, path):
        return self.run("runuser", "-u", account, "--", "head", "-c1", path, check=False).returncode == 0

    # Services

    def manifest(self, path):
        return manifest.of_host(self.name, path)

    def start_wanted(self):
        """Start what is enabled and did not come up by itself: Podman 5.4's first call after a power cut may panic, and
        then the unit whose it was stays down."""
        self.as_(SHARED, "systemctl", "--user", "start", "default.target")

    def is_active(self, unit):
        return self.run("systemctl", "is-active", "-q", unit, check=False).returncode == 0

    def rows(self, account=SHARED):
        return int(rootless.query(self.name, "SELECT COUNT(*) FROM item", account))

    def data(self, service, account=SHARED):
        """Where the data of a service lies."""
        service = rootless.SERVICES[service]
        return service.directory or rootless.volume_data(service.volume, account)

    def owned_inside(self, service, account=SHARED):
        """The manifest of a service's data with the ids that its container sees; ValueError where it sees `nobody`."""
        pid = self.podman(account, "inspect", "-f", "{{.State.Pid}}", service)
        # As root of the host reads them: inside, outside, count.
        maps = [[(outside, inside, count) for inside, outside, count in
                 (map(int, line.split()) for line in self.read(f"/proc/{pid}/{side}_map").splitlines())]
                for side in ("uid", "gid")]
        return manifest.translate_by(self.manifest(self.data(service, account)), *maps)

    def containers(self, account):
        """Names of an account's containers that run, but for the one that a timer starts."""
        return set(self.podman(account, "ps", "--format", "{{.Names}}").splitlines()) - {BY_TIMER}

    def units_of(self, account):
        """The units of services that an account's manager starts at boot."""
        # Where there are none, some versions fail.
        listed = self.as_(account, "systemctl", "--user", "list-unit-files", "--no-legend", "--type=service,timer",
                          "--state=enabled,generated", check=False).stdout
        return {line.split()[0] for line in listed.splitlines()
                if any(name in line.split()[0] for name in SERVICES)}

    def seen(self, service):
        """What a move of a service may not leave changed when it is taken back."""
        store = {what: set(self.podman(service, *what.split(), "ls", "--quiet").splitlines())
                 for what in ("image", "volume", "network", "secret")}
        places = " ".join(PLACES)
        # An empty directory is nothing to anybody.
        files = self.sh(f"find {places} ! -type d -printf '%p %y %m %U:%G %l\n'; "
                        f"find {places} -type f -exec sha256sum {{}} +; "
                        "find /run/secrets-* -printf '%p %y %m %U:%G\n'")
        data = self.manifest(self.data(service))
        grows = rootless.SERVICES[service].grows
        return {
            "running": self.containers(SHARED), "running of its own": self.containers(service), "store": store,
            "units": self.units_of(SHARED), "units of its own": self.units_of(service),
            "files": set(files.splitlines()),
            "owners": {path: (entry["uid"], entry["gid"], entry["mode"], entry["acls"], entry["capability"])
                       for path, entry in data.items() if path not in grows},
        }

    def started(self, account):
        """Id and time of start of each of an account's containers that run, but for the one that a timer starts."""
        found = self.podman(account, "ps", "--no-trunc", "--format", "{{.ID}} {{.StartedAt}} {{.Names}}")
        return "\n".join(line for line in found.splitlines() if not line.endswith(f" {BY_TIMER}"))

    def seen_moved(self, service):
        """What a further run may not touch: data, units and containers of a service that has moved."""
        changed = self.sh(f"find {' '.join(PLACES)} /run/secrets-* -printf '%p %C@\n'")
        owners = {path: entry["uid"] for path, entry in self.manifest(self.data(service, service)).items()}
        return changed, self.started(service), owners

    def log(self, account, since="@0"):
        """What units and containers of an account have said."""
        return self.said("journalctl", "-o", "cat", f"--since={since}", f"_UID={self.said('id', '-u', account)}")

    def permission_errors(self, account, since="@0"):
        words = ("permission denied", "operation not permitted", "eacces")
        return [line for line in self.log(account, since).splitlines() if any(word in line.lower() for word in words)]


def as_it_is(machine, service):
    """What a move of the service may not leave changed where it does not come to its end."""
    # A Podman that is asked makes itself a store.
    machine.podman(service, "info")
    return machine.seen(service)


def assert_as_it_was(machine, service, before):
    """That nothing of a move of the service is left, where `before` is what `as_it_is` said."""
    after = machine.seen(service)
    for what, was in before.items():
        # A set's difference is read more easily than two sets.
        if isinstance(was, set):
            assert (after[what] - was, was - after[what]) == (set(), set()), what
        assert after[what] == was, what
    assert machine.leftovers() == []
