"""The machine that the tests run on as a hypervisor, with the libvirt and the QEMU that are installed on it.

They run in name spaces of their own (mounts, network, processes), so that a libvirtd that runs already notices nothing,
and nothing outlives the tests."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from hypervisor import Hypervisor
from testbed import engine, images
from testbed.base import Failure, run

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = "libvirtd virtlogd virsh virt-qemu-run qemu-system-x86_64 qemu-img debugfs".split()
MISSING = [program for program in PROGRAMS if not shutil.which(program, path=PATH)]
THIS_MACHINE = pytest.param(("this-machine", "hypervisor12"), id="this-machine", marks=pytest.mark.skipif(
    bool(MISSING), reason=f"there is no {', '.join(MISSING)} on this machine"))


class ThisMachine(Hypervisor):
    """This machine; the guests boot what the host image `image` has for them."""

    # It does not end before the tests do.
    start = ":"

    def up(self):
        engine.up()
        images.build_host(self.image)
        self.scratch = images.scratch(tempfile.TemporaryDirectory)
        self.bring_guest(Path(self.scratch.name, "local", "lib"))
        # Its end is that of all within, and comes with that of the tests.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child",
                   "--mount-proc", Path(__file__).with_name("this-machine.sh"), self.scratch.name]
        self.init = subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     env={"PATH": PATH})
        # Until then its name spaces are the machine's own.
        if self.init.stdout.readline() != "ready\n":
            raise Failure(f"the libvirt of this machine does not start: exit {self.init.wait()}")

    def bring_guest(self, directory):
        """The kernel and the initial roots that guests boot."""
        directory.mkdir(parents=True)
        made = engine.docker("create", f"bulkhead/{self.image}").stdout.strip()
        try:
            engine.docker("cp", f"{made}:/usr/local/lib/guest", directory)
        finally:
            engine.docker("rm", made)

    def down(self):
        self.init.kill()
        self.init.communicate()
        self.scratch.cleanup()

    def run(self, *argv, **kwargs):
        # Its number would be free for a process in the machine's own name spaces, where nothing may be done.
        if self.init.poll() is not None:
            raise Failure("the libvirt of this machine has ended")
        pids = f"/proc/{self.init.pid}/ns/pid_for_children"
        return run("nsenter", "--target", self.init.pid, "--mount", "--net", f"--pid={pids}", *argv,
                   errors="surrogateescape", cwd="/", env={"PATH": PATH, "LC_ALL": "C.UTF-8"}, **kwargs)
