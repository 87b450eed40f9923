"""A test host that is a virtual machine: Debian 12 with its own kernel, whose control groups are of version 2 with
every controller, whatever the machine underneath has. Under its shared account it has the services of `rootless`, in
the units that Podman writes. The processors are emulated: a call of Podman takes seconds."""

import hashlib
import shlex
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager

from . import host, images, pristine, rootless
from .base import CACHE, HERE, Failure, lock, run, say, wait_for

IMAGE = "debian12"
PACKAGES = [package for package in images.HOST_PACKAGES if not package.startswith("docker")]
ROOT = images.DebianRoot("bookworm", (*PACKAGES, "linux-image-cloud-amd64", "runc", "udev"), "virtual")
STORE = CACHE / "virtual"
DISK, KERNEL, INITRD = STORE / "disk.img", STORE / "kernel", STORE / "initrd"
GIBIBYTES = 6
# What the services live on.
DIRECTORIES = ["containers", *(name for name, service in rootless.SERVICES.items() if service.directory)]
# A check of health every few seconds would take all there is of a processor.
LEFT_OUT = ["container-webpage", "container-keepid"]
KERNEL_OPTIONS = "root=/dev/vda rw console=ttyS0 quiet no_timer_check net.ifnames=0"
BOOT_SECONDS = 600


@contextmanager
def up(name):
    """The host `name` for the length of a block, from the disk as it was made; what is written to it is not kept."""
    with lock("virtual"):
        if not (STORE / recipe()).exists():
            make(name)
    with booted(name, "snapshot=on") as machine:
        yield machine


def recipe():
    """The hash of everything that decides what is on the disk."""
    digest = hashlib.sha256(images.recipe(ROOT, images.build_workloads(), rootless.recipe()).encode())
    for file in (HERE / "virtual.py", HERE / "image" / "host" / "setup.sh"):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def make(name):
    shutil.rmtree(STORE, ignore_errors=True)
    STORE.mkdir()
    var = pristine.var(IMAGE, rootless)
    with images.bootstrap(ROOT) as tar, images.scratch(tempfile.TemporaryDirectory) as tree:
        tar.seek(0)
        run("tar", "-C", tree, "--numeric-owner", "--xattrs", "--xattrs-include=*", "-x", stdin=tar)
        for directory in DIRECTORIES:
            run("cp", "-aT", f"{var}/lib/{directory}", f"{tree}/var/lib/{directory}")
        # Its units are for a container.
        shutil.rmtree(f"{tree}/var/lib/containers/{rootless.ACCOUNT}/.config/systemd")
        run("cp", "-L", f"{tree}/vmlinuz", KERNEL)
        run("cp", "-L", f"{tree}/initrd.img", INITRD)
        run("mke2fs", "-q", "-t", "ext4", "-d", tree, DISK, f"{GIBIBYTES}G")
    say("setting up the services in the virtual machine")
    with booted(name, "snapshot=off") as machine:
        set_up(name)
        # It may go before it has said so.
        host.exec_(name, "systemctl", "--no-block", "poweroff", check=False)
        machine.process.wait(timeout=BOOT_SECONDS)
    (STORE / recipe()).touch()


def set_up(name):
    """What `rootless.up` does where the data is there already; the units are written anew, by this Podman."""
    there = f"{rootless.THERE}/{IMAGE}"
    rootless.put_files(name)
    rootless.shell(name, f"{rootless.THERE}/account.sh; loginctl enable-linger {rootless.ACCOUNT}; "
                         f"until as {rootless.ACCOUNT} systemctl --user is-system-running --wait; do sleep 1; done")
    # The host that the data is from went down with some.
    rootless.as_account(name, rootless.ACCOUNT, "podman", "rm", "--force", "--ignore", *rootless.SERVICES)
    rootless.as_account(name, rootless.ACCOUNT, f"{there}/units.sh")
    rootless.as_account(name, rootless.ACCOUNT, "systemctl", "--user", "disable", *LEFT_OUT)
    rootless.shell(name, f"{there}/system.sh")


@contextmanager
def booted(name, drive):
    """The machine, its host having booted; at the end its plug is pulled."""
    with images.scratch(tempfile.TemporaryDirectory) as directory:
        machine = Machine(drive, directory)
        host.ELSEWHERE[name] = machine
        try:
            wait_booted(name, machine)
            yield machine
        finally:
            del host.ELSEWHERE[name]
            machine.process.kill()
            machine.process.wait()


class Machine:
    """QEMU on the disk, reached by SSH on a port of this machine's loopback; `drive` says how the disk is used."""

    def __init__(self, drive, directory):
        self.directory, self.port, self.console = directory, free_port(), f"{directory}/console"
        self.process = subprocess.Popen([
            # A killed session leaves none behind.
            "setpriv", "--pdeathsig", "KILL",
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "2G", "-nodefaults", "-no-reboot",
            "-display", "none", "-serial", f"file:{self.console}", "-device", "virtio-rng-pci",
            "-kernel", KERNEL, "-initrd", INITRD, "-append", KERNEL_OPTIONS,
            "-drive", f"file={DISK},format=raw,if=virtio,cache=unsafe,{drive}",
            "-device", "virtio-net-pci,netdev=net",
            "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22",
        ], stdin=subprocess.DEVNULL)

    def run(self, *argv, **kwargs):
        """Run a command as root in it, by argument vector; keywords as those of `base.run`."""
        # To log in takes seconds: once is enough.
        once = ["-o", "ControlMaster=auto", "-o", f"ControlPath={self.directory}/ssh", "-o", "ControlPersist=yes"]
        options = ["-i", images.KEY, "-p", self.port, "-o", "ConnectTimeout=20", *host.STRANGERS, *once]
        return run("ssh", *options, "root@127.0.0.1", shlex.join(map(str, argv)), **kwargs)


def wait_booted(name, machine):
    def is_up():
        if machine.process.poll() is not None:
            raise Failure(f"QEMU ended with {machine.process.returncode}")
        state = host.exec_(name, "systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    try:
        wait_for(f"the virtual machine {name} booting", is_up, BOOT_SECONDS)
    except Failure as failure:
        with open(machine.console, errors="replace", encoding="utf-8") as said:
            raise Failure(f"{failure}\n{said.read()[-4000:]}") from None


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
