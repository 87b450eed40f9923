"""Tiny guests: Debian's kernel and a busybox (see testbed/image/hypervisor/guest-init) on disks of their own."""

import base64
import json
import shlex
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from hypervisor import IMAGES, NVRAM, Hypervisor
from testbed.base import Failure, wait_for

TALK = Path(__file__).with_name("talk.py")
# Emulation is slow where the machine has more to do.
BOOT_SECONDS = 180
OVMF = "/usr/share/OVMF/OVMF_{}_4M.fd"
SUFFIX = {"qcow2": "qcow2", "raw": "img"}


@dataclass
class Guest:
    """A guest. Paths in it are absolute: its first disk is mounted at /vda, the second at /vdb; any other path is in
    its memory only."""

    hypervisor: Hypervisor
    name: str
    disks: tuple = ("qcow2",)  # the format of each
    uefi: str | None = None  # the format of its NVRAM, "raw" or "qcow2" (from libvirt 9.2 on)
    agent: bool = False  # the guest agent runs in it
    memory: int | None = None  # MiB; unless said, as little as it boots with
    megabytes: int = 32  # of each disk
    directory: str = IMAGES  # where its disks lie; what is elsewhere, the test itself removes
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    # Making it

    def define(self):
        for path, kind in zip(self.disk_paths, self.disks, strict=True):
            self.hypervisor.sh(f"""
                rm -f /tmp/new.raw
                truncate --size {self.megabytes}M /tmp/new.raw
                mkfs.ext4 -q -m 0 /tmp/new.raw
                qemu-img convert -f raw -O {kind} /tmp/new.raw "$1"
            """, path)
        if self.uefi:
            template = OVMF.format("VARS")
            self.hypervisor.sh(f'mkdir -p {NVRAM}; qemu-img convert -f raw -O {self.uefi} {template} "$1"', self.nvram)
        self.hypervisor.write("/run/guest.xml", self.xml())
        self.hypervisor.virsh("define", "--validate", "/run/guest.xml")

    @property
    def disk_paths(self):
        """The files that its disks were made in; what it writes to now is in `disk_files`."""
        return [f"{self.directory}/{self.name}{f'-{number}' if number else ''}.{SUFFIX[kind]}"
                for number, kind in enumerate(self.disks)]

    @property
    def nvram(self):
        return f"{NVRAM}/{self.name}_VARS.fd" if self.uefi else None

    @property
    def socket(self):
        """The end of its second serial line in the host."""
        return f"/run/guest-{self.uuid}"

    @property
    def console(self):
        """The file in the host with what its kernel and its init said."""
        return f"/var/log/libvirt/qemu/console-{self.uuid}"

    def xml(self):
        disks = "".join(f"""
            <disk type='file' device='disk'>
              <driver name='qemu' type='{kind}'/>
              <source file={quoteattr(path)}/>
              <target dev='vd{chr(ord("a") + number)}' bus='virtio'/>
            </disk>""" for number, (path, kind) in enumerate(zip(self.disk_paths, self.disks, strict=True)))
        kind = " format='qcow2'" if self.uefi == "qcow2" else ""
        firmware = f"""
            <loader readonly='yes' type='pflash'>{OVMF.format("CODE")}</loader>
            <nvram{kind}>{escape(self.nvram)}</nvram>""" if self.uefi else ""
        agent = """
            <channel type='unix'>
              <target type='virtio' name='org.qemu.guest_agent.0'/>
            </channel>""" if self.agent else ""
        return f"""
        <domain type='qemu'>
          <name>{escape(self.name)}</name>
          <uuid>{self.uuid}</uuid>
          <memory unit='MiB'>{self.memory or (192 if self.uefi else 112)}</memory>
          <vcpu>1</vcpu>
          <os>
            <type arch='x86_64' machine='{"q35" if self.uefi else "pc"}'>hvm</type>{firmware}
            <kernel>/usr/local/lib/guest/kernel</kernel>
            <initrd>/usr/local/lib/guest/initrd{"-agent" if self.agent else ""}</initrd>
            <!-- On a busy machine the kernel would take the emulated timer for broken, and panic. -->
            <cmdline>console=ttyS0 quiet no_timer_check</cmdline>
          </os>
          <features><acpi/></features>
          <devices>{disks}
            <serial type='file'><source path='{self.console}'/><target port='0'/></serial>
            <serial type='unix'><source mode='bind' path='{self.socket}'/><target port='1'/></serial>{agent}
          </devices>
        </domain>"""

    # What is done to it

    def virsh(self, command, *argv, **kwargs):
        """What `virsh COMMAND` says of this guest; it has to succeed."""
        # A name may be taken for an id or an option.
        return self.hypervisor.virsh(command, "--domain", self.uuid, *argv, **kwargs)

    @property
    def state(self):
        """As `virsh domstate` has it: running, paused, shut off …"""
        return self.virsh("domstate")

    def start(self):
        """Start it and wait until it answers."""
        self.virsh("start")
        self.wait_running()

    def destroy(self):
        """Pull its plug."""
        self.virsh("destroy")

    def shutdown(self):
        """Press its power button and wait until it is off."""
        self.virsh("shutdown", "--mode", "acpi")
        wait_for(f"{self.name} shutting down", lambda: self.state == "shut off", BOOT_SECONDS)

    def wait_running(self):
        """Wait until its init answers, and its agent, where it has one."""
        try:
            # QEMU itself, and with it the line, may be replaced meanwhile.
            wait_for(f"{self.name} answering", lambda: self._talk("true", 20, "again").returncode == 0, BOOT_SECONDS)
        except Failure as failure:
            raise Failure(f"{failure}: {self.state}\n{self.hypervisor.read(self.console)}") from None
        if self.agent:
            wait_for(f"the agent of {self.name} answering", self.agent_answers, BOOT_SECONDS)

    def answers(self, seconds=10):
        return self._talk("true", seconds).returncode == 0

    def agent_answers(self):
        # Without a time-out of its own, virsh waits for a silent one for ever.
        ping = ["--timeout", "5", '{"execute":"guest-ping"}']
        return self.hypervisor.run("virsh", "qemu-agent-command", "--domain", self.uuid, *ping, check=False).returncode == 0

    def hang(self):
        """Every process in it stops: neither it, its agent nor its power button answers any more."""
        self.run("(sleep 0.2; kill -STOP -1) >/dev/null 2>&1 &")

    def hang_agent(self):
        """Its agent holds the channel open and says nothing."""
        self.run("kill -STOP $(pidof qemu-ga)")

    def run(self, script, seconds=90):
        """What a shell script in the running guest says; it has to succeed."""
        done = self._talk(script, seconds)
        assert done.returncode == 0, (script, done)
        return done.stdout

    def _talk(self, script, seconds, *again):
        encoded = base64.b64encode(script.encode()).decode()
        return self.hypervisor.python(TALK, self.socket, str(seconds), encoded, *again, check=False)

    # What it holds

    def write(self, path, text, sync=True):
        """Write a file; without `sync` it may be in the memory of the running guest only."""
        if self.state == "shut off":
            return self._write_disk(path, text)
        encoded = base64.b64encode(text.encode()).decode()
        self.run(f"echo {encoded} | base64 -d >{shlex.quote(path)}" + (" && sync" if sync else ""))

    def read(self, path):
        """The text of a file, or None where there is no such file; of a guest that is shut off, read from its disk
        as the guest would find it after its journal was replayed."""
        if self.state == "shut off":
            return self._read_disk(path)
        file = shlex.quote(path)
        return self.run(f"cat {file}") if self.run(f"test ! -e {file} || echo there") else None

    def _read_disk(self, path):
        _, target, inner = path.split("/", 2)
        return self.read_image(self.disk_files[target], self.disk_formats[target], inner)

    def read_image(self, file, kind, inner):
        """The text of a file in a disk's image, which nobody writes to, or None where there is no such file."""
        # e2fsck ends with 1 where it has replayed a journal.
        self.hypervisor.sh("""
            rm -f /tmp/read.raw /tmp/read.out
            qemu-img convert -f "$1" -O raw "$2" /tmp/read.raw
            e2fsck -p -E journal_only /tmp/read.raw || [ $? = 1 ]
            debugfs -R "dump \\"/$3\\" /tmp/read.out" /tmp/read.raw
        """, kind, file, inner)
        return self.hypervisor.read("/tmp/read.out")

    def _write_disk(self, path, text):
        _, target, inner = path.split("/", 2)
        self.hypervisor.write("/tmp/write.in", text)
        # Not a new image: that would lose the snapshots within.
        self.hypervisor.sh("""
            rm -f /tmp/write.raw
            qemu-img convert -f "$1" -O raw "$2" /tmp/write.raw
            e2fsck -p -E journal_only /tmp/write.raw || [ $? = 1 ]
            debugfs -w -R "rm \\"/$3\\"" /tmp/write.raw
            debugfs -w -R "write /tmp/write.in \\"/$3\\"" /tmp/write.raw
            qemu-img convert -n -f raw -O "$1" /tmp/write.raw "$2"
        """, self.disk_formats[target], self.disk_files[target], inner)

    def exists(self, path):
        """Whether there is such a file in it, running or not."""
        return self.read(path) is not None

    def counter(self):
        """How far it has counted; about 2 a second. All numbers but the newest are sure to be on its first disk."""
        return int(self.read("/vda/counter"))

    # Its definition

    def definition(self):
        """The definition that it runs with, or else will start with."""
        return ElementTree.fromstring(self.virsh("dumpxml"))

    @property
    def disk_files(self):
        """target → the file that it writes to"""
        return {disk.find("target").get("dev"): disk.find("source").get("file")
                for disk in self.definition().iterfind("devices/disk")}

    @property
    def disk_formats(self):
        """target → the format of that file"""
        return {disk.find("target").get("dev"): disk.find("driver").get("type")
                for disk in self.definition().iterfind("devices/disk")}

    def chain(self, target="vda"):
        """The file that it writes to and those behind it, as the files themselves say."""
        found = self.hypervisor.said("qemu-img", "info", "--force-share", "--backing-chain", "--output=json",
                                     self.disk_files[target])
        return [image["filename"] for image in json.loads(found)]
