"""Host and workload images, made with mmdebstrap from the machine's own Debian mirrors.

An image carries the hash of its recipe as a label; it is built again when the recipe changed."""

import hashlib
import json
import os
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import engine
from .base import CACHE, HERE, Failure, lock, run, say

KEY = CACHE / "ssh" / "id_ed25519"
SCRATCH = CACHE / "tmp"
LABEL = "bulkhead.recipe"

HOST_PACKAGES = (
    "acl attr bind9-dnsutils ca-certificates curl dbus dbus-user-session docker-compose docker.io fuse-overlayfs iproute2 "
    "iptables jq kmod libcap2-bin libpam-systemd openssh-server podman procps python3 slirp4netns sudo "
    "systemd systemd-sysv uidmap"
).split()
HYPERVISOR_PACKAGES = (
    "acl busybox-static ca-certificates curl dbus dnsmasq-base e2fsprogs iproute2 iptables jq kmod libpam-systemd "
    "libvirt-clients libvirt-daemon-system openssh-client openssh-server ovmf procps python3 qemu-guest-agent "
    "qemu-system-x86 qemu-utils sudo systemd systemd-sysv xorriso xz-utils"
).split()
WORKLOAD_PACKAGES = ["busybox-static", "dnsmasq-base", "mariadb-server"]


@dataclass(frozen=True)
class DebianRoot:
    """A Debian root as mmdebstrap makes it; `files` is the directory under image/ whose setup.sh finishes it."""

    suite: str
    packages: tuple
    files: str
    before_packages: str = "true"  # shell command with the root as $1

    def mmdebstrap(self):
        command = ["mmdebstrap", "--variant=minbase", "--format=tar",
                   "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
                   "--dpkgopt=path-exclude=/usr/share/locale/*",
                   f"--include={','.join(self.packages)}", f"--essential-hook={self.before_packages}",
                   f"--customize-hook={HERE / 'image' / self.files / 'setup.sh'}"]
        return [*command, *proxy_options(), self.suite, "-", *mirror_lines(self.suite)]


HOSTS = {
    "debian12": DebianRoot("bookworm", tuple(HOST_PACKAGES), "host"),
    "debian13": DebianRoot(
        "trixie", (*HOST_PACKAGES, "docker-buildx", "docker-cli", "passt"), "host"),
    # The newest engine that Debian's archives carry.
    "testing": DebianRoot(
        "testing", (*HOST_PACKAGES, "docker-buildx", "docker-cli", "passt"), "host"),
    # libvirt 9.0, which cannot revert external snapshots, and 11.3, which can.
    "hypervisor12": DebianRoot("bookworm", tuple(HYPERVISOR_PACKAGES), "hypervisor"),
    "hypervisor13": DebianRoot("trixie", tuple(HYPERVISOR_PACKAGES), "hypervisor"),
}
# 999 is what the images of MariaDB and others use; the package alone would take the next free id.
WORKLOAD_ROOT = DebianRoot(
    "bookworm", tuple(WORKLOAD_PACKAGES), "workload",
    'echo mysql:x:999:999::/nonexistent:/bin/false >>"$1"/etc/passwd && echo mysql:x:999: >>"$1"/etc/group')
# workload image → its changes on top of the shared root
WORKLOADS = {
    "dns": ['ENTRYPOINT ["dns-entrypoint"]', "EXPOSE 53/udp 53/tcp 80/tcp", "VOLUME /data"],
    "db": ['ENTRYPOINT ["db-entrypoint"]', "EXPOSE 3306/tcp", "VOLUME /var/lib/mysql"],
}


def mirror_lines(suite):
    """sources.list lines for `suite`, from the mirrors that apt on this machine is set up with."""
    own = next(line.split("=")[1].strip('"') for line in Path("/etc/os-release").read_text().splitlines()
               if line.startswith("VERSION_CODENAME="))
    targets = run("apt-get", "indextargets", "--no-release-info", "--format",
                  "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages").stdout.split("\n")
    # The suite to come has neither updates nor, for long, security fixes of its own.
    releases = [own] if suite == "testing" else [own, f"{own}-updates", f"{own}-security"]
    found = sorted({tuple(target.split()) for target in targets if target})
    # A mirror may lag behind the week for which the index of that suite vouches.
    late = " check-valid-until=no" if suite == "testing" else ""
    lines = [f"deb [signed-by={engine.KEYRING}{late}] {uri} {release.replace(own, suite)} {component}"
             for uri, release, component in found if component == "main" and release in releases]
    if not lines:
        raise Failure(f"apt on this machine has no source for {own}")
    return lines


def proxy_options():
    dump = run("apt-config", "dump", "--format", "%f=%v%n").stdout.splitlines()
    return [f'--aptopt={name} "{value}"' for name, _, value in (line.partition("=") for line in dump)
            if name.startswith("Acquire::") and "Proxy" in name and value]


def public_key():
    """The key that logs in to every host; made at first use."""
    if not KEY.exists():
        KEY.parent.mkdir(parents=True, exist_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f", KEY)
    return KEY.with_suffix(".pub")


def recipe(root, *more):
    """The hash of everything that decides what an image becomes, save the mirrors."""
    digest = hashlib.sha256(repr((root, *more)).encode())
    digest.update(public_key().read_bytes())
    for file in sorted((HERE / "image" / root.files).iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def built(image):
    """The recipe hash of the image that is there, or None."""
    done = engine.docker("image", "inspect", image, check=False)
    return json.loads(done.stdout)[0]["Config"]["Labels"].get(LABEL) if done.returncode == 0 else None


@contextmanager
def bootstrap(root):
    """The tar archive of a new Debian root, as an open file."""
    say(f"building a {root.suite} root with {' '.join(root.packages)}")
    with scratch(tempfile.TemporaryFile) as tar:
        env = {**os.environ, "PUBLIC_KEY": str(public_key()), "TMPDIR": str(SCRATCH)}
        done = subprocess.run(root.mmdebstrap(), stdout=tar, stderr=subprocess.PIPE, text=True, env=env, check=False)
        if done.returncode:
            raise Failure(f"mmdebstrap for {root.suite}: exit {done.returncode}\n{done.stderr[-4000:]}")
        yield tar


def scratch(kind):
    """A temporary file or directory on the cache's file system."""
    SCRATCH.mkdir(exist_ok=True)
    # apt's own user works in there
    SCRATCH.chmod(0o755)
    return kind(dir=SCRATCH)


def docker_import(image, tar, label, changes):
    options = [part for change in [f"LABEL {LABEL}={label}", *changes] for part in ("--change", change)]
    tar.seek(0)
    engine.docker("import", *options, "-", image, stdin=tar)
    # What the new one replaces, unless a host still runs on it.
    engine.docker("image", "prune", "-f", "--filter", f"label={LABEL}")


def build_host(name):
    """Make sure that the host image `name` is there; returns its recipe hash."""
    root, image = HOSTS[name], f"bulkhead/{name}"
    with lock(f"image-{name}"):
        want = recipe(root)
        if built(image) != want:
            with bootstrap(root) as tar:
                docker_import(image, tar, want, ['CMD ["/usr/local/sbin/host-init"]', "ENV container=docker"])
        return want


def build_workloads():
    """Make sure that the workload images are there; returns their recipe hash."""
    with lock("image-workloads"):
        want = recipe(WORKLOAD_ROOT, WORKLOADS)
        if {built(image) for image in workload_images()} != {want}:
            with bootstrap(WORKLOAD_ROOT) as tar:
                for name, changes in WORKLOADS.items():
                    docker_import(f"bulkhead/{name}", tar, want, changes)
            build_busybox(want)
        return want


def build_busybox(label):
    """A root of nothing but the static busybox of the workload root."""
    with scratch(tempfile.TemporaryDirectory) as directory:
        binaries = Path(directory) / "root" / "bin"
        binaries.mkdir(parents=True)
        made = engine.docker("create", "--name", "bulkhead-busybox-source", "bulkhead/dns").stdout.strip()
        engine.docker("cp", f"{made}:/bin/busybox", binaries / "busybox")
        engine.docker("rm", "-v", made)
        for applet in run(binaries / "busybox", "--list").stdout.split():
            if applet != "busybox":
                (binaries / applet).symlink_to("busybox")
        with scratch(tempfile.TemporaryFile) as tar:
            subprocess.run(["tar", "-C", binaries.parent, "--owner=0", "--group=0", "-c", "."], stdout=tar, check=True)
            docker_import("bulkhead/busybox", tar, label, ['CMD ["sh"]'])


def workload_images():
    return [f"bulkhead/{name}" for name in (*WORKLOADS, "busybox")]
