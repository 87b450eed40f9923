"""A service of a test's own making, between two accounts, beside those of the host."""

from contextlib import contextmanager

from services import PLACES
from testbed.base import wait_for

WEB = "registry.example.test/web:1"


def home(account):
    return f"/var/lib/containers/{account}"


class Extra:
    """A service `extra`, which a unit of its account `owner` runs, and the account that it is to get."""

    def __init__(self, machine, owner, account):
        self.machine = machine
        self.sh = machine.sh
        self.of = machine.podman
        self.between(owner, account)

    def between(self, owner, account):
        """Have it be the first account's, to become the second's; they are made where they are not there."""
        self.owner, self.account = owner, account
        for name in (owner, account):
            if self.machine.run("id", name, check=False).returncode:
                self.machine.add_account(name)
            # A Podman that is asked makes itself a store.
            self.of(name, "info")

    def start(self, options="", image=WEB, program="sleep 1000000"):
        """Have it run, in a container made with the options."""
        # As process 1 of its container a program hears of no signal but the last.
        self.machine.write("/run/extra.service", f"""
[Service]
Environment=PODMAN_SYSTEMD_UNIT=%n
Type=exec
Delegate=yes
ExecStart=/usr/bin/podman run --name extra --replace --rm --cgroups=split --stop-timeout=1 {options} {image} {program}
ExecStop=/usr/bin/podman stop --ignore extra
ExecStopPost=-/usr/bin/podman rm -f --ignore extra
""")
        self.sh(f"""
            as {self.owner} install -D -m 0644 /run/extra.service {home(self.owner)}/.config/systemd/user/extra.service
            as {self.owner} systemctl --user daemon-reload
            as {self.owner} systemctl --user restart extra""")
        self.wait_running()

    def wait_running(self):
        wait_for(f"the service as {self.owner}", lambda: "extra" in self.machine.containers(self.owner), 30)

    def stop(self):
        self.sh(f"""
            as {self.owner} systemctl --user stop extra || true
            rm -f {home(self.owner)}/.config/systemd/user/extra.service
            as {self.owner} systemctl --user daemon-reload""")

    def inside(self, account, script):
        """What a shell script in the container says."""
        return self.of(account, "exec", "extra", "sh", "-euc", script)

    def module(self, **options):
        ours = {"name": "extra", "from": self.owner, "to": self.account, "units": ["extra.service"], "timeout": 30}
        return self.machine.module("webpage", **(ours | options))

    def standing(self):
        """What a move that is refused or taken back may not leave changed."""
        store = {what: set(self.of(self.account, *what.split(), "ls", "-q").splitlines())
                 for what in ("image", "volume", "network", "secret", "container")}
        places = " ".join(PLACES)
        files = self.sh(f"find {places} /run/secrets-* ! -type d -printf '%p %m %U:%G %l\n'; "
                        f"find {places} -type f -exec sha256sum {{}} +")
        return {"store": store, "files": set(files.splitlines()), "leftovers": self.machine.leftovers()}

    def refused(self, **options):
        """Why a move is refused; nothing is stopped, and all is as before."""
        before = self.standing(), self.machine.started(self.owner)
        result = self.module(**options)
        assert result.get("failed"), result
        assert (self.standing(), self.machine.started(self.owner)) == before, result["msg"]
        return result["msg"]

    @contextmanager
    def moved(self, **options):
        """The service as the account of its own; it is returned, and then nothing is left there."""
        before = self.standing()
        result = self.module(**options)
        assert not result.get("failed"), result["msg"]
        assert self.machine.containers(self.account) == {"extra"}
        assert "extra" not in self.machine.containers(self.owner)
        yield result
        result = self.module(state="returned")
        assert not result.get("failed"), result["msg"]
        self.wait_running()
        assert self.machine.containers(self.account) == set()
        assert self.standing() == before
