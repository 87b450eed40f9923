"""A hypervisor host as the tests use it: commands, virsh, the executables."""

import json
import os
import platform
from pathlib import Path

import pytest

from testbed import host

REPOSITORY = Path(__file__).resolve().parents[2]
BUILT = REPOSITORY / "plugins" / "module_bin" / platform.machine()
EXECUTABLE = Path(os.environ.get("BULKHEAD_EXE", BUILT / "vm_snapshot"))
FAULTS = Path(os.environ.get("BULKHEAD_FAULTS_EXE", REPOSITORY / "build" / "faults" / "vm_snapshot"))
# Another prefix lets a second session run beside one that takes long.
PREFIX = os.environ.get("BULKHEAD_VM_PREFIX", "vm")
# For `parametrize` with `hypervisor` indirect, where one of them will not do.
LIBVIRT_9, LIBVIRT_11 = EVERY = [
    pytest.param((f"{PREFIX}{image.removeprefix('hypervisor')}", image), id=name)
    for image, name in (("hypervisor12", "libvirt9"), ("hypervisor13", "libvirt11"))]
IMAGES = "/var/lib/libvirt/images"
NVRAM = "/var/lib/libvirt/qemu/nvram"
STATE = "/var/lib/bulkhead"


class Hypervisor:
    """The test host `name`, made from the host image `image`."""

    def __init__(self, name, image):
        self.name, self.image = name, image
        self.installed = set()
        host.up(name, image)
        self.libvirt = tuple(int(part) for part in self.said("virsh", "--version").split("."))

    def run(self, *argv, **kwargs):
        """A command in the host, by argument vector; keywords as those of `testbed.base.run`."""
        # Names of files need not be UTF-8.
        return host.exec_(self.name, *argv, errors="surrogateescape", **kwargs)

    def said(self, *argv, **kwargs):
        """Standard output of a command that must succeed, stripped."""
        return self.run(*argv, **kwargs).stdout.strip()

    def sh(self, script, *argv, **kwargs):
        """Standard output of a shell script that must succeed, stripped; `argv` are its $1 and so on."""
        return self.said("sh", "-eu", "-c", script, "sh", *argv, **kwargs)

    def virsh(self, *argv, **kwargs):
        return self.said("virsh", *argv, **kwargs)

    def read(self, path):
        """The bytes of a file as text, or None where there is no such file."""
        done = self.run("cat", path, check=False)
        return done.stdout if done.returncode == 0 else None

    def write(self, path, text, mode="0644"):
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, input=text)

    def exists(self, path):
        return self.run("test", "-e", path, check=False).returncode == 0

    def files(self, directory=IMAGES):
        """The names of all files below a directory."""
        return set(self.said("find", directory, "-type", "f", "-printf", r"%P\n").splitlines())

    def module(self, executable, /, *, check_mode=False, fault=None, **options):
        """Run a module by hand, as `hypervisor.module("vm_snapshot", vm=…, state=…)`; its result, or None where the
        fault killed it before it gave one. A `fault` (`kill@STEP` and the like) asks for the executable built with
        faults."""
        options |= {"_ansible_check_mode": check_mode, "_ansible_diff": True}
        program = self.installed_path(FAULTS if fault else EXECUTABLE, executable)
        command = ["env", f"BULKHEAD_FAULT={fault}", program] if fault else [program]
        done = self.run(*command, input=json.dumps(options), check=False)
        assert done.stdout or fault and done.returncode == 137, done
        return json.loads(done.stdout) if done.stdout else None

    def installed_path(self, beside, executable):
        """Where the executable lies in the host; brought there at first use."""
        local = beside.with_name(executable)
        remote = f"/usr/local/bin/{executable}{'.faults' if beside == FAULTS else ''}"
        if remote not in self.installed:
            assert local.exists(), f"there is no {local}: make build faults"
            host.put(self.name, local, remote)
            self.installed.add(remote)
        return remote

    def clean(self):
        """Remove every guest with all it has, and whatever else a test or a module has left."""
        self.sh(f"""
            systemctl start libvirtd.socket libvirtd.service
            for guest in $(virsh list --all --uuid); do
                virsh destroy --domain "$guest" || true
                virsh undefine --domain "$guest" --nvram --managed-save --snapshots-metadata --checkpoints-metadata
            done
            rm -rf {IMAGES}/* {NVRAM}/* {STATE} /run/guest-* /var/log/libvirt/qemu/console-*
        """)
