"""The playbooks for snapshots, on a hypervisor with two VMs, over SSH by a user who has to become root."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hypervisor import REPOSITORY, STATE
from testbed import host

# As the guide has it.
BOTH = "target_vms=['pihole', 'mymx']"
DESCRIPTION = "snapshot_description='Pre user namespace implementation'"
EVIDENCE = f"{STATE}/evidence/vm_snapshot"


@pytest.fixture
def vms(guests):
    return [guests("pihole"), guests("mymx")]


@pytest.fixture
def play(hypervisor, tmp_path):
    """Runs a playbook without a terminal."""
    known = json.loads(host.inventory())["all"]["hosts"][hypervisor.name]
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"hypervisors": {"hosts": {hypervisor.name: known | {"ansible_user": "admin"}}}}))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    # A host made anew keeps its address, but not the connection to its predecessor.
    environment |= {"ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8", "ANSIBLE_SSH_ARGS": "-o ControlMaster=no"}

    def run(name, *extra):
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, f"playbooks/{name}.yml"]
        return subprocess.run([*command, *(part for one in extra for part in ("-e", one))], cwd=REPOSITORY,
                              env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=300, check=False)

    return run


def names(vm):
    return vm.virsh("snapshot-list", "--name").split()


def evidence(vm, name):
    return json.loads(vm.hypervisor.read(f"{EVIDENCE}/{vm.name}/{name}.json"))


def most_at_once(hypervisor, do):
    """What `do` returns, and how many snapshots were in the making at the same time."""
    watch = """
        most=0
        while [ ! -e /run/over ]; do
            # Not what they have forked, and not yet turned into a command.
            now=$(ps -eo pid=,ppid=,comm= | awk '$3 ~ /^vm_snapshot-/ { of[$1] = $2 }
                END { for (pid in of) if (!(of[pid] in of)) count++; print count + 0 }')
            [ "$now" -le "$most" ] || most=$now
            sleep 0.02
        done
        rm /run/over
        echo "$most"
    """
    with ThreadPoolExecutor() as threads:
        watched = threads.submit(hypervisor.sh, watch)
        try:
            done = do()
        finally:
            hypervisor.sh("touch /run/over")
        return done, int(watched.result())


def test_backup_takes_verified_snapshots_of_all_at_once(hypervisor, vms, play):
    done, most = most_at_once(hypervisor, lambda: play("backup_vm_snapshot", BOTH, DESCRIPTION))
    assert done.returncode == 0, done.stdout
    assert most == 2
    [name] = {name for vm in vms for name in names(vm)}
    for vm in vms:
        found = evidence(vm, name)
        assert (found["vm"], found["uuid"], found["hypervisor"]) == (vm.name, vm.uuid, hypervisor.name)
        assert found["snapshot"]["description"] == "Pre user namespace implementation"
        assert found["verified"]["by"] and found["verified"]["chain"]["vda"] == vm.chain()
        assert re.search(rf'"{vm.name} +{name} +external +no +no +{found["verified"]["at"]}"', done.stdout), done.stdout


def test_backup_fails_where_a_vm_is_unknown_and_takes_the_others(vms, play):
    done = play("backup_vm_snapshot", "target_vms=nonesuch,pihole", "snapshot_name=before")
    assert done.returncode == 2, done.stdout
    assert names(vms[0]) == ["before"] and evidence(vms[0], "before")["verified"]
    table = done.stdout.partition("TASK [The snapshots]")[2]
    assert re.search(r'"nonesuch +before +- .*nonesuch', table) and "Do not go on" in table, done.stdout


def test_restore_brings_back_what_was_there(vms, play):
    for vm in vms:
        vm.write("/vda/note", "before")
    assert play("backup_vm_snapshot", BOTH).returncode == 0
    for vm in vms:
        vm.write("/vda/note", "changed")
        vm.write("/vda/after", "new")
    files = vms[0].disk_files["vda"]

    asked = play("restore_vm_snapshot", BOTH)
    assert asked.returncode == 2 and "Nothing was done" in asked.stdout, asked.stdout
    assert vms[0].read("/vda/note") == "changed"

    done = play("restore_vm_snapshot", BOTH, "confirm=yes")
    assert done.returncode == 0, done.stdout
    assert f"What it wrote since is kept aside in {files}" in " ".join(done.stdout.split())
    assert vms[0].hypervisor.exists(files) and vms[0].disk_files["vda"] != files
    for vm in vms:
        vm.wait_running()
        assert vm.read("/vda/note") == "before" and not vm.exists("/vda/after")


def test_the_list_shows_the_tree(vms, play):
    for name in ("first", "second"):
        assert play("backup_vm_snapshot", "target_vms=pihole", f"snapshot_name={name}", DESCRIPTION).returncode == 0
    done = play("list_vm_snapshots")
    assert done.returncode == 0, done.stdout
    lines = re.findall(r'^        "(.*)",?$', done.stdout, re.MULTILINE)
    mymx, pihole = (next(at for at, line in enumerate(lines) if line.startswith(name)) for name in ("mymx", "pihole"))
    assert re.fullmatch(r"pihole \(running, bios, agent: none, [\d.]+ .B free\)", lines[pihole])
    assert re.match(r"  first +external +no +\d{4}-\d\d-\d\dT.*  Pre user namespace implementation$", lines[pihole + 2])
    assert re.match(r"    second \* +external +no ", lines[pihole + 3])
    assert lines[mymx + 1] == "  no snapshots"
