"""The role deploy_linux_vm makes VMs that boot, answer and are nobody's double, and removes what it made alone."""

import pytest

from deploying import BLANK_IMAGE, CLOUD_IMAGE, Deployment
from hypervisor import IMAGES, LIBVIRT_9, LIBVIRT_11
from testbed.base import Failure, wait_for

pytestmark = pytest.mark.parametrize("hypervisor", [
    LIBVIRT_9, pytest.param(*LIBVIRT_11.values, id=LIBVIRT_11.id, marks=pytest.mark.soak),
], indirect=True, scope="session")

ADDRESS = "192.168.122.20"
STATIC = {"address": f"{ADDRESS}/24", "gateway": "192.168.122.1"}
DERP = {"base_image": CLOUD_IMAGE, **STATIC}
TWIN_ADDRESS = "192.168.122.21"
TWIN = {**STATIC, "address": f"{TWIN_ADDRESS}/24"}
IDENTITY = ["/etc/hostname", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"]
# Starts, but holds nothing that could boot, so nobody waits for it.
EMPTY = {"base_image": BLANK_IMAGE, "disk_size": 1, "memory": 64, "network": "none"}
STRANGER = "<domain type='qemu'><name>stranger</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"


@pytest.fixture(scope="session")
def deployment(hypervisor, tmp_path_factory):
    """A hypervisor with an active network, base images and no VM."""
    made = Deployment(hypervisor, tmp_path_factory.mktemp("deployment"))
    hypervisor.clean()
    hypervisor.sh("virsh net-list --name | grep -qx default || virsh net-start default")
    made.images()
    yield made
    hypervisor.clean()


@pytest.fixture
def empty(deployment):
    """A VM made from a blank image."""
    deployment.deployed("empty", **EMPTY)
    yield deployment
    deployment.hypervisor.clean()


@pytest.fixture
def stranger(deployment):
    """A VM that somebody else made."""
    deployment.hypervisor.virsh("define", "/dev/stdin", input=STRANGER)
    yield "stranger"
    deployment.hypervisor.virsh("undefine", "stranger")


def xpath(deployment, vm, expression):
    return deployment.hypervisor.virsh("dumpxml", "--inactive", "--domain", vm, "--xpath", expression)


def test_derp_is_deployed_broken_brought_back_cloned_and_removed(deployment):
    """One test of several things: each boot of a whole Debian takes the better part of a minute here."""
    assert deployment.deployed("derp", "--check", **DERP) == 1
    assert not deployment.hypervisor.files()

    assert deployment.deployed("derp", **DERP) > 0
    assert deployment.ssh(ADDRESS, "hostname; id -un; sudo -n id -u").split() == ["derp", "ansible", "0"]
    assert int(deployment.ssh(ADDRESS, "df --output=size -k / | tail -n 1")) > 1.8 * (1 << 20)
    assert "192.168.122.1" in deployment.ssh(ADDRESS, "resolvectl dns")
    assert "default via 192.168.122.1 " in deployment.ssh(ADDRESS, "ip route")

    assert deployment.deployed("derp", **DERP) == 0

    deployment.ssh(ADDRESS, "echo before | sudo tee /root/note; sync")
    taken = deployment.hypervisor.module("vm_snapshot", vm="derp", name="before")
    assert taken["changed"] and taken["verified"]["by"], taken
    deployment.ssh(ADDRESS, "echo after | sudo tee /root/note; rm .ssh/authorized_keys; sync")
    with pytest.raises(Failure, match="Permission denied"):
        deployment.ssh(ADDRESS, "true")
    reverted = deployment.hypervisor.module("vm_snapshot", vm="derp", name="before", state="reverted")
    assert reverted["changed"] and f"{IMAGES}/derp.before" in reverted["abandoned"], reverted
    wait_for("derp answering again", lambda: deployment.answers(ADDRESS), 180)
    assert deployment.ssh(ADDRESS, "sudo cat /root/note") == "before"

    # What is written after the snapshot is not in a clone.
    deployment.ssh(ADDRESS, "echo after | sudo tee /root/note; sync")
    clone = {"clone_of": "derp", "clone_snapshot": "before"}
    plays = deployment.play({"derp-test": clone, "derp-twin": {**clone, **TWIN, "network": "default"}})
    for play in plays.values():
        assert not play.failed and play.changed, play.output
    assert deployment.ssh(ADDRESS, "hostname; sudo cat /root/note") == "derp\nafter"

    assert deployment.ssh(TWIN_ADDRESS, "hostname; sudo cat /root/note") == "derp-twin\nbefore"
    # Both are on one network, where nothing of theirs is the same.
    deployment.ssh(TWIN_ADDRESS, f"timeout 10 bash -c '</dev/tcp/{ADDRESS}/22'")
    identity, twin = [deployment.ssh(address, f"cat {' '.join(IDENTITY)} /sys/class/net/e*/address").split("\n")
                      for address in (ADDRESS, TWIN_ADDRESS)]
    assert len(set(identity + twin)) == 2 * len(identity)
    assert f'"{twin[-1]}"' in xpath(deployment, "derp-twin", "/domain/devices/interface/mac")

    assert not xpath(deployment, "derp-test", "/domain/devices/interface")
    # Its second boot is not waited for: it cannot be reached.
    console = "/var/log/libvirt/qemu/derp-test-console.log"
    wait_for("the clone booting", lambda: "derp-test login:" in deployment.hypervisor.read(console), 120)
    deployment.off("derp-test")
    assert deployment.holds("derp-test", "/root/note") == "before\n"
    apart = [deployment.holds("derp-test", path).strip() for path in IDENTITY]
    assert apart[0] == "derp-test" and len(apart[1]) == 32
    assert not set(apart) & {*identity, *twin}

    assert "has snapshots (before)" in deployment.refused("derp", state="absent")
    assert deployment.deployed("derp", state="absent", remove_snapshots=True) > 0
    assert deployment.deployed("derp", state="absent") == 0
    assert deployment.hypervisor.files() == {
        "derp-test.qcow2", "derp-test-seed.iso", "derp-twin.qcow2", "derp-twin-seed.iso"}
    with pytest.raises(Failure):
        deployment.ssh(ADDRESS, "true")
    deployment.play({"derp-test": {"state": "absent"}, "derp-twin": {"state": "absent"}})
    assert not deployment.hypervisor.files()


def test_what_changes_of_a_vm_and_what_does_not(empty):
    assert empty.deployed("empty", **EMPTY | {"memory": 96, "vcpus": 1, "autostart": True}) == 3
    assert [xpath(empty, "empty", f"/domain/{what}/text()") for what in ("memory", "vcpu")] == [str(96 * 1024), "1"]
    assert empty.hypervisor.virsh("list", "--autostart", "--name") == "empty"
    said = empty.refused("empty", **EMPTY | {"hostname": "other"})
    assert 'made with another hostname' in said and '{"hostname": "empty"}' in said
    empty.hypervisor.virsh("destroy", "empty")
    assert empty.deployed("empty", "--check", **EMPTY | {"vcpus": 1, "memory": 96, "autostart": True}) == 1
    assert empty.deployed("empty", **EMPTY | {"vcpus": 1, "memory": 96, "autostart": True}) == 1
    assert empty.hypervisor.virsh("domstate", "empty") == "running"


def test_a_name_need_not_be_plain(deployment):
    name = "a <b> & 'c' \"d\""
    odd = EMPTY | {"name": name, "hostname": "odd", "firmware": "efi"}
    assert deployment.deployed("odd", **odd) > 0
    assert deployment.hypervisor.virsh("list", "--name").splitlines() == [name]
    assert deployment.deployed("odd", **odd) == 0
    assert deployment.hypervisor.files() == {f"{name}.qcow2", f"{name}-seed.iso"}
    assert deployment.deployed("odd", **odd | {"state": "absent"}) > 0
    assert not deployment.hypervisor.files()


def test_what_an_interrupted_run_left_is_done_anew(empty):
    made_with = "/domain/metadata/*/text()"
    whole, uuid = xpath(empty, "empty", made_with), empty.hypervisor.virsh("domuuid", "empty")
    # {"whole": false}
    definition = empty.hypervisor.virsh("dumpxml", "empty", "--inactive").replace(whole, "eyJ3aG9sZSI6IGZhbHNlfQ==")
    empty.hypervisor.virsh("define", "/dev/stdin", input=definition)
    assert empty.deployed("empty", **EMPTY) > 0
    assert xpath(empty, "empty", made_with) == whole
    assert empty.hypervisor.virsh("domuuid", "empty") != uuid


REFUSED = {
    "no-image": ({"base_image": "/nowhere.qcow2"}, "There is no deploy_linux_vm_base_image /nowhere.qcow2"),
    "no-source": ({"base_image": ""}, "Set deploy_linux_vm_base_image"),
    "no-pool": ({"pool_dir": "/nowhere"}, "There is no directory deploy_linux_vm_pool_dir /nowhere"),
    "no-room": ({"pool_dir": "/run/small", "base_image": CLOUD_IMAGE, "disk_size": 2}, "/run/small has 7 MiB left"),
    "too-small": ({"base_image": CLOUD_IMAGE, "disk_size": 0}, "deploy_linux_vm_disk_size, 0, is less"),
    "no-network": ({"network": "lan"}, "libvirt has no active network lan"),
    "no-bridge": ({"network": "default", "bridge": "br9"}, "There is no deploy_linux_vm_bridge br9"),
    "no-gateway": ({"network": "default", "address": f"{ADDRESS}/24"}, "needs a prefix length"),
    "no-prefix": ({"network": "default", "address": ADDRESS, "gateway": "192.168.122.1"}, "needs a prefix length"),
    "no-way": ({"docker": True}, "there is neither deploy_linux_vm_address nor deploy_linux_vm_docker"),
    "no-hostname": ({"hostname": "no host"}, "is not a host name"),
    "no-key": ({"ssh_keys": []}, "nobody could log in"),
    "no-name": ({"name": "42"}, "cannot be the name of a VM"),
    "nobody": ({"clone_of": "nobody"}, "nobody"),
    "taken": ({}, f"but a file {IMAGES}/taken.qcow2"),
    "stranger": ({}, "that this role did not make"),
    "foreign": ({"name": "stranger", "state": "absent"}, "did not make the VM stranger"),
}


def test_what_cannot_be_is_refused_before_anything_is_made(deployment, stranger):
    deployment.hypervisor.sh("mountpoint -q /run/small || mount -m -t tmpfs -o size=7m small /run/small")
    deployment.hypervisor.write(f"{IMAGES}/taken.qcow2", "precious")
    told = deployment.refusals({vm: EMPTY | variables for vm, (variables, _) in REFUSED.items()})
    for vm, (_, said) in REFUSED.items():
        assert said in told[vm]
    deployment.hypervisor.sh("umount /run/small")


def test_a_vm_of_somebody_else_is_started_where_that_is_asked_for(deployment, stranger):
    before = xpath(deployment, stranger, "/")
    assert deployment.deployed(stranger, **EMPTY | {"adopt": True, "autostart": True}) == 1
    assert deployment.hypervisor.virsh("domstate", stranger) == "running"
    assert xpath(deployment, stranger, "/") == before
    deployment.hypervisor.virsh("destroy", stranger)


def test_a_clone_whose_system_has_no_cloud_init_is_taken_back(empty):
    told = empty.refusals({
        "running": EMPTY | {"clone_of": "empty"},
        "unknown": EMPTY | {"clone_of": "empty", "clone_snapshot": "other"},
    })
    assert "name one of its snapshots" in told["running"] and "has no snapshot other" in told["unknown"]
    empty.hypervisor.virsh("destroy", "empty")
    said = empty.refused("twin", **EMPTY | {"clone_of": "empty", "timeout": 6})
    assert "nothing of it is left" in said and "has no cloud-init" in said


def taken_address(deployment, vm, source):
    """The address that a VM has taken by DHCP, as libvirt knows it from that source."""
    told = deployment.hypervisor.virsh("domifaddr", "--domain", vm, "--source", source)
    return next(word for word in told.split() if "/" in word).split("/")[0]


@pytest.mark.soak
def test_a_clone_on_a_bridge(deployment):
    """Of a VM that is off. libvirt's own network has a bridge, and a DHCP server on it."""
    clone = {"clone_of": "derp", "bridge": "virbr0"}
    deployment.deployed("derp", **DERP)
    deployment.off("derp")
    assert deployment.deployed("derp-test", **clone) > 0
    address = taken_address(deployment, "derp-test", "arp")
    assert address != ADDRESS and deployment.ssh(address, "hostname") == "derp-test"
    assert deployment.deployed("derp-test", **clone) == 0
    deployment.play({"derp": {"state": "absent"}, "derp-test": {"state": "absent"}})


@pytest.mark.soak
def test_an_address_by_dhcp_and_docker(deployment):
    """Minutes of package installation."""
    leased = {"base_image": CLOUD_IMAGE, "disk_size": 4, "memory": 1024, "timeout": 900}
    assert deployment.deployed("leased", **leased) > 0
    address = taken_address(deployment, "leased", "lease")
    assert deployment.ssh(address, "hostname") == "leased"
    deployment.bring_packages(address, "docker.io", "python3-apt")
    assert deployment.deployed("leased", **leased, docker=True) > 0
    assert deployment.ssh(address, "sudo docker info --format '{{.ServerVersion}}'").startswith("20.")
    assert deployment.deployed("leased", **leased, docker=True) == 0
    deployment.deployed("leased", state="absent")
