"""The playbook deploy_linux_vm on a hypervisor host, and what the tests look at afterwards."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from hypervisor import IMAGES, REPOSITORY
from testbed import cloud, host
from testbed.base import run, wait_for
from testbed.images import KEY, public_key

BASE = "/var/lib/libvirt/base"
CLOUD_IMAGE = f"{BASE}/debian.qcow2"
BLANK_IMAGE = f"{BASE}/blank.qcow2"
STRANGERS = ["-i", str(KEY), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
# Where the file system of the cloud image begins.
PARTITION = f"offset={cloud.START}"


class Deployment:
    """The playbook against `hypervisor`, whose VMs the controller reaches over it."""

    def __init__(self, hypervisor, tmp):
        self.hypervisor, self.tmp = hypervisor, tmp
        self.address = host.address(hypervisor.name)
        self.jump = ["-o", f"ProxyCommand=ssh {' '.join(STRANGERS)} -W %h:%p root@{self.address}"]

    def images(self):
        """Bring the base images to the hypervisor."""
        raw = cloud.disk()
        inside = Path(host.mountpoint(host.volume(self.hypervisor.name, "var"))) / "lib/libvirt/base"
        inside.mkdir(exist_ok=True)
        run("cp", "--sparse=always", raw, inside / "cloud.img")
        self.hypervisor.sh(f"""
            qemu-img convert -f raw -O qcow2 {BASE}/cloud.img {CLOUD_IMAGE}
            rm {BASE}/cloud.img
            qemu-img create -q -f qcow2 {BLANK_IMAGE} 8M
        """)

    def play(self, vms, *options):
        """Run the playbook for the VMs, each with variables of the role without their prefix; what became of each."""
        listed = json.loads(host.inventory())["all"]["hosts"][self.hypervisor.name]
        common = {"memory": 512, "disk_size": 2, "timeout": 600, "ssh_keys": [public_key().read_text()],
                  "ssh_common_args": " ".join(STRANGERS) + f' -o "{self.jump[1]}"'}
        inventory = self.tmp / "inventory.json"
        inventory.write_text(json.dumps({"all": {"children": {
            "hypervisors": {"hosts": {"grokbox": listed | {"ansible_user": "admin"}}},
            "vms": {"hosts": {vm: prefixed(variables) for vm, variables in vms.items()}, "vars": prefixed(common)},
        }}}))
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        environment |= {"ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8", "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.tmp)}
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, "playbooks/deploy_linux_vm.yml",
             "-e", f"target_vms={list(vms)}", *options],
            cwd=REPOSITORY, env=environment, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=1200,
            check=False)
        return {vm: Play(done.stdout + done.stderr, vm) for vm in vms}

    def deployed(self, vm, *options, **variables):
        """What the playbook changed, which has to succeed."""
        play = self.play({vm: variables}, *options)[vm]
        assert not play.failed, play.output
        return play.changed

    def refused(self, vm, **variables):
        """Why the playbook failed."""
        return self.refusals({vm: variables})[vm]

    def refusals(self, vms):
        """Why the playbook failed for each of the VMs; it must have left VMs and files as they were."""
        before = self.state()
        plays = self.play(vms)
        for play in plays.values():
            assert play.failed, play.output
        assert self.state() == before
        return {vm: play.message for vm, play in plays.items()}

    def state(self):
        return self.hypervisor.virsh("list", "--all"), self.hypervisor.files()

    def ssh(self, address, command, user="ansible"):
        """What a command says in the VM at the address."""
        return run("ssh", *STRANGERS, *self.jump, f"{user}@{address}", command).stdout.strip()

    def answers(self, address):
        """Whether one can log in there."""
        return run("ssh", *STRANGERS, "-o", "ConnectTimeout=5", *self.jump, f"ansible@{address}", "true",
                   check=False).returncode == 0

    def bring_packages(self, address, *packages):
        """Let the VM, which reaches no archive, install these: from files of this machine's archive."""
        debs = self.tmp / "debs"
        (debs / "partial").mkdir(parents=True)
        (self.tmp / "status").write_text(self.ssh(address, "cat /var/lib/dpkg/status") + "\n\n")
        run("apt-get", "install", "-qy", "--download-only", "-o", f"Dir::State::status={self.tmp}/status",
            "-o", f"Dir::Cache::archives={debs}", *packages)
        (debs / "Packages").write_text(run("dpkg-scanpackages", "--multiversion", ".", cwd=debs).stdout)
        with subprocess.Popen(["tar", "-C", debs, "-c", "."], stdout=subprocess.PIPE) as tar:
            run("ssh", *STRANGERS, *self.jump, f"ansible@{address}", """
                sudo mkdir /srv/debs && sudo tar -C /srv/debs -x &&
                sudo rm -rf /etc/apt/sources.list /etc/apt/sources.list.d &&
                echo 'deb [trusted=yes] file:/srv/debs ./' | sudo tee /etc/apt/sources.list
            """, stdin=tar.stdout)

    def off(self, vm):
        """Press its power button and wait until it is off."""
        self.hypervisor.virsh("shutdown", "--mode", "acpi", "--domain", vm)
        wait_for(f"{vm} shutting down", lambda: self.hypervisor.virsh("domstate", "--domain", vm) == "shut off", 90)

    def holds(self, vm, path):
        """The text of a file on the disk of a VM that is shut off, or None where there is none."""
        self.hypervisor.sh(f"""
            rm -f /var/tmp/read.raw /var/tmp/read.out
            qemu-img convert -f qcow2 -O raw "$1" /var/tmp/read.raw
            debugfs -R "dump $2 /var/tmp/read.out" "/var/tmp/read.raw?{PARTITION}"
        """, f"{IMAGES}/{vm}.qcow2", path)
        return self.hypervisor.read("/var/tmp/read.out")


def prefixed(variables):
    return {f"deploy_linux_vm_{name}": value for name, value in variables.items()}


class Play:
    """What a playbook printed, and how it ended for the VM."""

    def __init__(self, output, vm):
        self.output = output
        recap = re.search(rf"^{vm} +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", output, re.MULTILINE)
        assert recap, output
        self.changed, self.failed = int(recap[1]), int(recap[2]) + int(recap[3])
        told = re.findall(rf"^(?:fatal|failed): \[{vm}\b.*? => (\{{.*\}})$", output, re.MULTILINE)
        self.message = json.loads(told[-1])["msg"] if told else None
