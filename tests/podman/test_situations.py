"""Services whose networks, stores, disks, ids, images or logins are not the usual ones: moved whole and back, or
refused in words that tell the way out."""

import json
import re
from contextlib import contextmanager

import pytest

from services import DEBIAN_13, PLACES, SHARED
from testbed.base import wait_for

ACCOUNT = "extra"
WEB = "registry.example.test/web:1"
HOME = f"/var/lib/containers/{SHARED}"
UNIT = f"{HOME}/.config/systemd/user/extra.service"
only_podman_5 = pytest.mark.parametrize("machine", [DEBIAN_13], indirect=True, scope="session")


class Extra:
    """A service `extra` of the shared account, which a unit of the account's own runs, and the account for it."""

    def __init__(self, machine):
        self.machine = machine
        self.sh = machine.sh
        self.of = machine.podman

    def start(self, options, image=WEB, program="sleep 1000000"):
        """Have it run, in a container made with the options."""
        self.machine.write(UNIT, f"""
[Service]
Environment=PODMAN_SYSTEMD_UNIT=%n
Type=exec
Delegate=yes
ExecStart=/usr/bin/podman run --name extra --replace --rm --cgroups=split --stop-timeout=1 {options} {image} {program}
ExecStop=/usr/bin/podman stop --ignore extra
ExecStopPost=-/usr/bin/podman rm -f --ignore extra
""")
        self.sh(f"as {SHARED} systemctl --user daemon-reload; as {SHARED} systemctl --user restart extra")
        self.wait_running(SHARED)

    def wait_running(self, account):
        wait_for(f"the service as {account}", lambda: "extra" in self.machine.containers(account), 30)

    def module(self, **options):
        return self.machine.module("webpage", **{"name": "extra", "to": ACCOUNT, "units": ["extra.service"], **options})

    def standing(self):
        """What a move that is refused or taken back may not leave changed."""
        store = {what: set(self.of(ACCOUNT, *what.split(), "ls", "-q").splitlines())
                 for what in ("image", "volume", "network", "secret", "container")}
        places = " ".join(PLACES)
        files = self.sh(f"find {places} /run/secrets-* ! -type d -printf '%p %m %U:%G %l\n'; "
                        f"find {places} -type f -exec sha256sum {{}} +")
        return {"store": store, "files": set(files.splitlines()), "leftovers": self.machine.leftovers()}

    def refused(self, **options):
        """Why a move is refused; nothing is stopped, and all is as before."""
        before = self.standing(), self.machine.started(SHARED)
        result = self.module(**options)
        assert result.get("failed"), result
        assert (self.standing(), self.machine.started(SHARED)) == before, result["msg"]
        return result["msg"]

    @contextmanager
    def moved(self, **options):
        """The service as the account of its own; it is returned, and then nothing is left there."""
        before = self.standing()
        result = self.module(**options)
        assert not result.get("failed"), result["msg"]
        assert self.machine.containers(ACCOUNT) == {"extra"}
        assert "extra" not in self.machine.containers(SHARED)
        yield result
        result = self.module(state="returned")
        assert not result.get("failed"), result["msg"]
        self.wait_running(SHARED)
        assert self.machine.containers(ACCOUNT) == set()
        assert self.standing() == before


@pytest.fixture
def extra(shared):
    if shared.run("id", ACCOUNT, check=False).returncode:
        shared.add_account(ACCOUNT)
    # A Podman that is asked makes itself a store.
    shared.podman(ACCOUNT, "info")
    yield Extra(shared)
    shared.sh(f"as {SHARED} systemctl --user stop extra || true; rm -f {UNIT}; as {SHARED} systemctl --user daemon-reload")


# Networks

NETWORKS = {
    "all that 4.3 knows": "--subnet 10.98.1.0/24 --gateway 10.98.1.7 --ip-range 10.98.1.128/25 --subnet 10.98.2.0/24 "
                          "--subnet fd00:98::/64 --ipv6 --opt isolate=true --opt mtu=1400 --label a=b",
    "leads nowhere": "--internal --ipam-driver none",
}
NETWORKS_OF_5 = {
    "all that 5.4 knows": "--subnet 10.98.1.0/24 --ip-range 10.98.1.16-10.98.1.18 --interface-name other0 "
                          "--route 10.9.0.0/16,10.98.1.9,50",
    "macvlan": "--driver macvlan --opt parent=eth0 --subnet 10.98.1.0/24",
}
# What two networks that are the same do not share.
OWN = ("id", "created", "network_interface", "containers")


def network_of(extra, account):
    network, = json.loads(extra.of(account, "network", "inspect", "special"))
    return {key: value for key, value in network.items()
            if key not in OWN or value == "other0" or network["driver"] != "bridge" and key == "network_interface"}


def addresses(extra, account):
    told = extra.of(account, "exec", "extra", "sh", "-c", "ip -o address show eth0; ip route")
    return sorted(re.findall(r"inet6? (?!fe80)\S+|.* via .*", told))


def carried_whole(extra, options):
    extra.of(SHARED, "network", "create", "--disable-dns", *options.split(), "special")
    try:
        extra.start("--network special")
        before = network_of(extra, SHARED), addresses(extra, SHARED)
        with extra.moved():
            assert (network_of(extra, ACCOUNT), addresses(extra, ACCOUNT)) == before
    finally:
        extra.of(SHARED, "network", "rm", "-f", "special")


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_is_carried_whole(extra, kind):
    carried_whole(extra, NETWORKS[kind])


@only_podman_5
@pytest.mark.parametrize("kind", NETWORKS_OF_5)
def test_a_network_of_podman_5_is_carried_whole(extra, kind):
    carried_whole(extra, NETWORKS_OF_5[kind])
