"""A host with services of one shared account as the tests use it: accounts, what they own and may read, what runs."""

import os

import pytest

from machine import Machine
from testbed import host, manifest, pristine, rootless

# Another prefix lets a second session run beside one that takes hours.
PREFIX = os.environ.get("BULKHEAD_PODMAN_PREFIX", "podman")
DEBIAN_12, DEBIAN_13 = EVERY = [
    pytest.param((f"{PREFIX}{image.removeprefix('debian')}", image), id=image) for image in ("debian12", "debian13")]
SHARED = rootless.ACCOUNT


class Accounts(Machine):
    """The test host `name`, made from the host image `image`, with the services of `testbed.rootless`."""

    def set_up(self):
        """Make the host anew, with all services under the shared account."""
        self.holds = None
        host.down(self.name)
        pristine.up(self.name, self.image, work=rootless)

    def wait_healthy(self, **accounts):
        """Wait until all services answer; `accounts` are those of services that have one of their own."""
        rootless.wait_healthy(self.name, accounts)

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

    def log(self, account, since="@0"):
        """What units and containers of an account have said."""
        return self.said("journalctl", "-o", "cat", f"--since={since}", f"_UID={self.said('id', '-u', account)}")

    def permission_errors(self, account, since="@0"):
        words = ("permission denied", "operation not permitted", "eacces")
        return [line for line in self.log(account, since).splitlines() if any(word in line.lower() for word in words)]
