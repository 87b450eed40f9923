"""What cannot be moved is refused before anything stops, with the reason."""

from contextlib import contextmanager

import pytest

from services import SHARED, assert_as_it_was

WEB = "registry.example.test/web:1"


@contextmanager
def made(machine, script, clean):
    machine.sh(script)
    try:
        yield
    finally:
        machine.sh(clean)


def refused(machine, service, **options):
    """Why a move is refused, and nothing was changed."""
    before, started = machine.seen(service), machine.started(SHARED)
    result = machine.module(service, **options)
    assert result.get("failed"), result
    assert result["msg"].startswith("refused, nothing was changed"), result["msg"]
    assert_as_it_was(machine, service, before)
    assert machine.started(SHARED) == started
    return result["msg"]


@pytest.mark.parametrize(("owner", "entry"), [("65534:65534", "x"), ("400000:300000", "x"), ("100000:400005", "dir")])
def test_ids_that_are_not_the_accounts(shared, owner, entry):
    path = f"/var/lib/webpage/{entry}"
    make = f"mkdir {path}" if entry == "dir" else f"touch {path}"
    with made(shared, f"{make}; chown {owner} {path}", f"rm -r {path}"):
        assert path in refused(shared, "webpage")


def test_data_that_another_container_mounts(shared):
    with made(shared, f"as container-db podman run -d --name other -v /var/lib/keepid:/data:ro {WEB} sleep 1000000",
              "as container-db podman rm -f -t 0 other"):
        reason = refused(shared, "keepid")
        assert "container other of container-db mounts /var/lib/keepid too" in reason


def test_a_volume_that_another_container_mounts(shared):
    with made(shared, f"as container-db podman run -d --name other -v localapp-data:/data:ro {WEB} sleep 1000000",
              "as container-db podman rm -f -t 0 other"):
        assert "container other of container-db mounts" in refused(shared, "localapp")


def test_a_network_that_another_container_is_on(shared):
    with made(shared, f"as container-db podman run -d --name other --network localapp {WEB} sleep 1000000",
              "as container-db podman rm -f -t 0 other"):
        assert "containers localapp and other talk over network localapp" in refused(shared, "localapp")


def unit_file(machine, options):
    """The path and text of a unit that runs a container with the options, as a quadlet has them and as a command."""
    quadlet, command = options
    home = "/var/lib/containers/container-db/.config"
    if machine.image == "debian13":
        return f"{home}/containers/systemd/extra.container", f"[Container]\n{quadlet}\n"
    return f"{home}/systemd/user/extra.service", f"[Service]\nExecStart=/usr/bin/podman run --rm {command}\n"


@contextmanager
def extra_unit(machine, quadlet, command):
    path, text = unit_file(machine, (quadlet, command))
    machine.write(path, text)
    try:
        machine.sh("as container-db systemctl --user daemon-reload")
        yield ["extra.container" if machine.image == "debian13" else "extra.service"]
    finally:
        machine.sh(f"rm {path}; as container-db systemctl --user daemon-reload")


def test_a_user_namespace_that_podman_chooses(shared):
    with extra_unit(shared, f"Image={WEB}\nUserNS=auto", f"--userns=auto {WEB}") as units:
        assert "UserNS=auto" in refused(shared, "webpage", units=units)


def test_an_image_by_its_digest(shared):
    digest = shared.podman(SHARED, "image", "inspect", "-f", "{{.Digest}}", WEB)
    image = f"registry.example.test/web@{digest}"
    with extra_unit(shared, f"Image={image}", image) as units:
        assert "is named by its digest" in refused(shared, "webpage", units=units)


def test_a_secret_that_is_missing(shared):
    path = "/run/secrets-container-db/none.env"
    with extra_unit(shared, f"Image={WEB}\nEnvironmentFile={path}", f"--env-file={path} {WEB}") as units:
        assert f"secret {path} is missing" in refused(shared, "webpage", units=units)


def test_a_whole_directory_of_secrets(shared):
    path = "/run/secrets-container-db"
    with extra_unit(shared, f"Image={WEB}\nVolume={path}:/secrets:ro", f"-v {path}:/secrets:ro {WEB}") as units:
        assert f"a unit names the whole directory {path}" in refused(shared, "webpage", units=units)


def test_a_unit_that_is_not_there(shared):
    assert "container-db has no unit none.service" in refused(shared, "webpage", units=["none.service"])


def test_an_account_that_does_not_linger(shared):
    with made(shared, "loginctl disable-linger webpage", "loginctl enable-linger webpage; "
              "until as webpage systemctl --user is-system-running --wait; do sleep 0.1; done"):
        started = shared.started(SHARED)
        assert "webpage does not linger" in shared.module("webpage")["msg"]
        assert shared.started(SHARED) == started


def test_ids_that_two_accounts_have(shared):
    with made(shared, "cp -p /etc/subuid /etc/subuid.was; echo intruder:300000:65536 >>/etc/subuid; "
              "sed -i 's/^webpage:.*/webpage:300000:65536/' /etc/subuid", "mv /etc/subuid.was /etc/subuid"):
        assert "webpage" in refused(shared, "webpage")


def test_a_volume_of_that_name_that_is_there_already(shared):
    with made(shared, "as localapp podman volume create localapp-data", "as localapp podman volume rm localapp-data"):
        assert "localapp has a volume localapp-data already" in refused(shared, "localapp")
