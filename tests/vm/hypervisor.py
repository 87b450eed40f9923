"""A hypervisor host as the tests use it: commands, virsh, the executables."""

import json
import os
import platform
from pathlib import Path

import pytest

from testbed import host
from testbed.place import Host

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


class Hypervisor(Host):
    """The test host `name`, made from the host image `image`."""

    # What brings libvirtd up where a test has stopped it.
    start = "systemctl start libvirtd.socket libvirtd.service"

    def __init__(self, name, image):
        super().__init__(name)
        self.image, self.installed = image, set()
        self.up()
        self.libvirt = tuple(int(part) for part in self.virsh("--version").split("."))

    def up(self):
        host.up(self.name, self.image)

    def down(self):
        host.down(self.name)

    def virsh(self, *argv, **kwargs):
        return self.said("virsh", *argv, **kwargs)

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
            self.put(local, remote)
            self.installed.add(remote)
        return remote

    def clean(self):
        """Remove every guest with all it has, and whatever else a test or a module has left."""
        self.sh(f"""
            {self.start}
            for guest in $(virsh list --all --uuid); do
                virsh destroy --domain "$guest" || true
                virsh undefine --domain "$guest" --nvram --managed-save --snapshots-metadata --checkpoints-metadata
            done
            rm -rf {IMAGES}/* {NVRAM}/* {STATE} /run/guest-* /var/log/libvirt/qemu/console-*
        """)
