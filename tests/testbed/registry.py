"""Image registries on the loopback of a test host: Debian's docker-registry, unpacked from its package."""

import tempfile

from . import host, images
from .base import CACHE, lock, run

PROGRAM = CACHE / "docker-registry"
# user:password, as htpasswd(1) writes it with bcrypt
USER, PASSWORD = "reader", "hush"
HTPASSWD = "reader:$2b$04$gaaheDGL..cZOZQ9zf2aO.QR14KGEYrvMmiJIkRZcGIpBCk8NZGw6\n"


def up(name, port, login=False):
    """Have a registry answer on 127.0.0.1:`port` of the host `name`, until its next boot; its Podman takes it without
    TLS. With `login` it wants USER and PASSWORD."""
    host.put(name, program(), "/usr/local/bin/docker-registry")
    auth = f"auth: {{htpasswd: {{realm: testbed, path: /run/registry-{port}/htpasswd}}}}\n" if login else ""
    files = {
        f"/run/registry-{port}/htpasswd": HTPASSWD,
        f"/run/registry-{port}/config.yml":
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: /run/registry-{port}/data}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n{auth}",
        f"/etc/containers/registries.conf.d/registry-{port}.conf":
            f'[[registry]]\nlocation = "127.0.0.1:{port}"\ninsecure = true\n',
    }
    for path, text in files.items():
        host.exec_(name, "install", "-D", "-m", "0644", "/dev/stdin", path, input=text)
    host.exec_(name, "systemd-run", "--quiet", f"--unit=registry-{port}", "docker-registry", "serve",
               f"/run/registry-{port}/config.yml")
    host.exec_(name, "curl", "-sS", "--retry", "20", "--retry-delay", "1", "--retry-connrefused",
               f"http://127.0.0.1:{port}/v2/")


def down(name, port):
    host.exec_(name, "systemctl", "stop", f"registry-{port}")
    host.exec_(name, "rm", "-r", f"/run/registry-{port}", f"/etc/containers/registries.conf.d/registry-{port}.conf")


def program():
    """The registry's executable; fetched at first use."""
    with lock("registry"):
        if not PROGRAM.exists():
            with images.scratch(tempfile.TemporaryDirectory) as directory:
                run("apt-get", "download", "-o", "APT::Sandbox::User=root", "docker-registry", cwd=directory)
                run("sh", "-euc", "dpkg-deb -x docker-registry_*.deb .; mv usr/bin/docker-registry new", cwd=directory)
                run("mv", f"{directory}/new", PROGRAM)
    return PROGRAM
