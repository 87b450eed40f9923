"""Services whose networks, stores, disks, ids, images or logins are not the usual ones: moved whole and back, or
refused in words that tell the way out."""

import json
import re
import time
from contextlib import contextmanager

import pytest

from extra import WEB, Extra, home
from services import DEBIAN_13, SHARED
from testbed import registry

ACCOUNT = "extra"
# An account whose Podman keeps nothing where it usually does.
ELSEWHERE = "elsewhere"
only_podman_5 = pytest.mark.parametrize("machine", [DEBIAN_13], indirect=True, scope="session")


@pytest.fixture
def extra(shared):
    extra = Extra(shared, SHARED, ACCOUNT)
    yield extra
    extra.stop()


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
    told = extra.inside(account, "ip -o address show eth0; ip route")
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


def test_a_volume_where_the_image_has_files_keeps_its_own(extra):
    """Podman copies what the image has there to a volume that is new."""
    image, look = "localhost/filled:1", "ls /filled; stat -c %u:%g /filled"
    extra.of(SHARED, "run", "--name", "filling", WEB, "sh", "-c", "mkdir /filled && echo x >/filled/of-the-image")
    extra.of(SHARED, "commit", "-q", "filling", image)
    extra.of(SHARED, "rm", "filling")
    try:
        extra.start("--volume filled:/filled", image)
        extra.inside(SHARED, "mv /filled/of-the-image /filled/own; chown 7:8 /filled")
        with extra.moved():
            assert extra.inside(ACCOUNT, look) == "own\n7:8"
        assert extra.inside(SHARED, look) == "own\n7:8"
    finally:
        extra.stop()
        extra.of(SHARED, "volume", "rm", "filled")
        extra.of(SHARED, "rmi", image)


# Images from registries, and logins

@pytest.fixture
def registry_of(extra):
    """Brings up a registry with the image, and tells the image's names there: by tag and by digest."""
    up = []

    def with_image(port, login=False):
        name = f"127.0.0.1:{port}/web"
        registry.up(extra.machine.name, port, login)
        up.append(port)
        if login:
            extra.of(SHARED, "login", "-u", registry.USER, "--password-stdin", f"127.0.0.1:{port}",
                     input=registry.PASSWORD)
        extra.of(SHARED, "tag", WEB, f"{name}:1")
        extra.sh(f"as {SHARED} podman push -q --digestfile /run/user/990/digest {name}:1")
        digest = extra.machine.read("/run/user/990/digest").strip()
        extra.of(SHARED, "rmi", f"{name}:1")
        extra.of(SHARED, "pull", "-q", f"{name}@{digest}")
        extra.of(SHARED, "pull", "-q", f"{name}:1")
        return f"{name}:1", f"{name}@{digest}"

    yield with_image
    for port in up:
        registry.down(extra.machine.name, port)


def id_of(extra, account, image):
    return extra.of(account, "image", "inspect", "-f", "{{.Id}}", image)


def times_asked(extra, port):
    """How often the registry was asked for the image."""
    return extra.sh(f"journalctl -o cat -u registry-{port}").count('"GET /v2/web/manifests/')


@pytest.mark.soak
def test_an_image_is_pulled_from_its_registry(extra, registry_of):
    tagged, by_digest = registry_of(5000)
    extra.start(image=by_digest)
    assert "images=pull" in extra.refused()
    extra.stop()
    for image in (tagged, by_digest):
        extra.start(image=image)
        asked = times_asked(extra, 5000)
        with extra.moved(images="pull"):
            assert times_asked(extra, 5000) > asked
            assert id_of(extra, ACCOUNT, image) == id_of(extra, SHARED, image)
        extra.stop()


def test_the_login_for_the_images_registry_goes_along_and_no_other(extra, registry_of):
    image, _ = registry_of(5001, login=True)
    logins = "/run/user/990/containers/auth.json"
    extra.sh(f"jq '.auths += {{\"127.0.0.1:500\": .auths[], \"other.test\": .auths[]}}' {logins} >/run/auth.json; "
             f"cat /run/auth.json >{logins}")
    own = f"{home(ACCOUNT)}/.config/containers/auth.json"
    try:
        extra.start(image=image)
        with extra.moved(images="pull"):
            found = json.loads(extra.machine.read(own))["auths"]
            assert list(found) == ["127.0.0.1:5001"]
            assert extra.sh(f"stat -c '%a %U:%G' {own}") == f"600 {ACCOUNT}:{ACCOUNT}"
        assert not extra.machine.exists(own)
    finally:
        extra.sh(f"rm {logins}")


def test_a_registry_that_does_not_answer_is_told_and_nothing_stops(extra):
    extra.of(SHARED, "tag", WEB, "127.0.0.1:5002/web:1")
    extra.start(image="127.0.0.1:5002/web:1")
    reason = extra.refused(images="pull")
    assert "127.0.0.1:5002" in reason and "connection refused" in reason, reason


# Stores and disks

def data_of(extra, account):
    """Owners in the service's data and what its secret says, as its container sees them."""
    return extra.inside(account, "stat -c '%n %u:%g %a' /data /data/*; cat /run/secrets/hush")


def fill(extra):
    """Have the service run on a volume with files of several owners, and with a secret."""
    owner = extra.owner
    extra.of(owner, "volume", "create", "kept")
    extra.of(owner, "secret", "create", "hush", "-", input="said softly")
    extra.of(owner, "run", "--rm", "-v", "kept:/data", WEB, "sh", "-c",
             "for id in 0 5 33 65534; do echo $id >/data/$id && chown $id:$id /data/$id; done; chown 33:5 /data")
    extra.start("-v kept:/data --secret hush")


@contextmanager
def settings_of(extra, account, **files):
    """Has Podman's settings of an account in place, by the name of their file without `.conf`."""
    settings = f"{home(account)}/.config/containers"
    for name, text in files.items():
        extra.machine.write(f"/run/settings/{name}.conf", text)
    extra.sh(f"as {account} mkdir -p {settings}; as {account} cp /run/settings/* {settings}/; rm -r /run/settings")
    yield
    extra.sh("".join(f"rm -f {settings}/{name}.conf\n" for name in files))


@pytest.fixture
def elsewhere(extra):
    """An account whose settings say where its Podman keeps images, secrets and volumes, and that place."""
    place = f"/var/lib/{ELSEWHERE}"
    if extra.machine.run("id", ELSEWHERE, check=False).returncode:
        extra.machine.add_account(ELSEWHERE)
    extra.sh(f"install -d -o {ELSEWHERE} -g {ELSEWHERE} -m 0700 {place}")
    with settings_of(extra, ELSEWHERE, storage=f'[storage]\ndriver = "overlay"\ngraphroot = "{place}/$USER"\n',
                     containers=f'[engine]\nvolume_path = "{place}/volumes"\n'):
        yield place
        extra.stop()
        extra.sh(f"as {ELSEWHERE} podman system reset -f; rm -rf {place}")


def empty(extra):
    extra.stop()
    extra.of(extra.owner, "volume", "rm", "kept")
    extra.of(extra.owner, "secret", "rm", "hush")


@pytest.mark.soak
def test_a_store_that_is_elsewhere_is_left(extra, elsewhere):
    extra.between(ELSEWHERE, ACCOUNT)
    extra.sh(f"as {SHARED} podman save -q {WEB} | as {ELSEWHERE} podman load -q")
    fill(extra)
    # Settings that would lead the new account to a place that is not its own.
    assert f'volume_path = "{elsewhere}/volumes"' in extra.refused()
    before = data_of(extra, ELSEWHERE)
    with settings_of(extra, ACCOUNT, containers="[engine]\n"), extra.moved():
        assert data_of(extra, ACCOUNT) == before
        assert extra.machine.exists(f"{home(ACCOUNT)}/.local/share/containers/storage/volumes/kept/_data/33")
    assert data_of(extra, ELSEWHERE) == before


def test_a_store_that_is_elsewhere_is_reached(extra, elsewhere):
    extra.between(SHARED, ELSEWHERE)
    fill(extra)
    before = data_of(extra, SHARED)
    with extra.moved():
        assert data_of(extra, ELSEWHERE) == before
        assert extra.machine.exists(f"{elsewhere}/volumes/kept/_data/33")
    empty(extra)


@pytest.fixture
def far(extra):
    """An account whose home is a file system of its own, of 24 MB."""
    account = "far"
    if extra.machine.run("id", account, check=False).returncode:
        extra.sh(f"mkdir -p {home(account)}; mount -t tmpfs -o size=24m far {home(account)}")
    # Its Podman would insist on the places of its first use.
    extra.sh(f"rm -rf {home(account)}/.local")
    extra.between(SHARED, account)
    return account


def test_a_volume_on_another_file_system_is_refused_with_a_way_that_works(extra, far):
    fill(extra)
    reason = extra.refused()
    assert "volume kept: " in reason and "are on different file systems" in reason and "volume_path" in reason, reason
    before = data_of(extra, SHARED)
    extra.sh(f"install -d -o {far} -g {far} -m 0700 /var/lib/far")
    with settings_of(extra, far, containers='[engine]\nvolume_path = "/var/lib/far"\n'):
        extra.sh(f"as {far} podman system reset -f; rm -rf {home(far)}/.local")
        result = extra.module(check_mode=True)
        assert not result.get("failed"), result["msg"]
        with extra.moved():
            assert data_of(extra, far) == before
    empty(extra)


@pytest.mark.parametrize("mount", ["mount -t tmpfs disk",
                                   pytest.param("mount --bind /var/lib/disk", marks=pytest.mark.soak)])
def test_a_directory_of_the_home_that_is_a_mount_is_refused(extra, mount):
    disk = f"{home(SHARED)}/disk"
    extra.sh(f"mkdir -p /var/lib/disk {disk}; {mount} {disk}; chown {SHARED}: {disk}")
    try:
        extra.start(f"-v {disk}:/data")
        reason = extra.refused()
        assert f"{disk} is mounted" in reason and f"outside of {home(SHARED)}" in reason, reason
    finally:
        extra.stop()
        extra.sh(f"umount -l {disk}; rmdir {disk}")


LOOK = "stat -c '%n %u:%g %a' /data /data/*"


def assert_same_inside(extra, look):
    """That the container says the same before the move, after it and when it has returned."""
    before = extra.inside(SHARED, look)
    with extra.moved():
        assert extra.inside(ACCOUNT, look) == before
    assert extra.inside(SHARED, look) == before


@pytest.mark.soak
def test_a_directory_on_another_file_system_stays_where_it_is(extra):
    extra.sh(f"mkdir -p /srv/disk; mount -t tmpfs disk /srv/disk; install -d -o {SHARED} -g {SHARED} /srv/disk/data")
    try:
        extra.of(SHARED, "run", "--rm", "-v", "/srv/disk/data:/data", WEB, "sh", "-c",
                 "echo 5 >/data/5; chown 5:33 /data/5")
        extra.start("-v /srv/disk/data:/data")
        assert_same_inside(extra, LOOK)
    finally:
        extra.stop()
        extra.sh("umount -l /srv/disk")


def build(extra, megabytes):
    """An image with a layer of so many megabytes that nothing compresses; its name."""
    extra.sh(f"""
        rm -rf /var/tmp/big; mkdir /var/tmp/big; cd /var/tmp/big
        head -c {megabytes}M /dev/urandom >blob
        printf 'FROM {WEB}\nCOPY blob /blob\n' >Containerfile
        chown -R {SHARED}: .
        as {SHARED} podman build -q -t localhost/big:1 /var/tmp/big
        rm -r /var/tmp/big""")
    return "localhost/big:1"


def test_an_image_that_there_is_no_space_for_is_told_and_nothing_stops(extra, far):
    image = build(extra, 40)
    extra.start(image=image)
    reason = extra.refused()
    assert "no space left on device" in reason, reason
    extra.stop()
    extra.of(SHARED, "rmi", image)


@pytest.mark.soak
def test_a_big_image_is_carried(extra):
    image = build(extra, 2048)
    extra.start(image=image)
    began = time.monotonic()
    with extra.moved():
        print(f"{extra.machine.image}: moved in {time.monotonic() - began:.0f} s")
        assert id_of(extra, ACCOUNT, image) == id_of(extra, SHARED, image)
    extra.stop()
    extra.of(SHARED, "rmi", image)


# Ids

MODES = {
    "nomap": "--userns=nomap",
    "keep-id of another user": "--userns=keep-id:uid=200",
    "maps of its own": "--uidmap 0:1:100 --uidmap 100:0:1 --gidmap 0:1:200 --gidmap 200:0:1",
    "host": "--userns=host",
    "keep-id of other ids": "--userns=keep-id:uid=200,gid=201",
}


@pytest.mark.parametrize("mode", [*list(MODES)[:2], *(pytest.param(mode, marks=pytest.mark.soak)
                                                      for mode in list(MODES)[2:])])
def test_a_user_namespace_has_the_same_ids_as_before(extra, mode):
    extra.sh("rm -rf /var/lib/ids; install -d -o container-db -g container-db /var/lib/ids")
    try:
        extra.of(SHARED, "run", "--rm", "-v", "/var/lib/ids:/data", WEB, "sh", "-c",
                 "for id in 0 5 100 200 201 990 985; do echo $id >/data/$id; chown $id:$id /data/$id; done; "
                 "chmod 777 /data")
        extra.start(f"{MODES[mode]} -v /var/lib/ids:/data")
        assert_same_inside(extra, f"rm -f /data/new; touch /data/new; id; {LOOK}")
    finally:
        extra.sh("rm -r /var/lib/ids")


@only_podman_5
def test_a_quadlet_that_takes_the_ranges_of_a_name_is_refused(extra):
    unit = f"{home(SHARED)}/.config/containers/systemd/named.container"
    extra.machine.write(unit, f"[Container]\nImage={WEB}\nSubUIDMap={SHARED}\nSubGIDMap={SHARED}\n")
    try:
        reason = extra.refused(units=["named.container"])
        assert f'maps ids by "{SHARED}"' in reason, reason
    finally:
        extra.sh(f"rm {unit}")
