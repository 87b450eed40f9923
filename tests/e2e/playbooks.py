"""The collection's playbooks, run against one test host over SSH by a user who has to become root."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import REPOSITORY
from testbed import host

RECAP = re.compile(r"^\S+ +: ok=(?P<ok>\d+) +changed=(?P<changed>\d+) +unreachable=0 +failed=(?P<failed>\d+)",
                   re.MULTILINE)


class Play:
    """What a playbook printed, and how it ended."""

    def __init__(self, output, code):
        self.output, self.code = output, code
        recap = RECAP.search(output)
        assert recap, output
        self.changed, self.failed = int(recap["changed"]), int(recap["failed"])


def play(machine, name, *arguments):
    """Run the playbook to its end."""
    process = start(machine, name, *arguments)
    output, _ = process.communicate(timeout=300)
    return Play(output, process.returncode)


def start(machine, name, *arguments):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
        # A host made anew keeps its address, but not the connection to its predecessor.
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",
    }
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory(machine), f"playbooks/{name}.yml",
               "-e", f"target_hosts={machine.name}", *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def inventory(machine):
    listed = json.loads(host.inventory())["all"]["hosts"][machine.name]
    path = Path(tempfile.gettempdir()) / f"bulkhead-inventory-{machine.name}.json"
    path.write_text(json.dumps({"all": {"hosts": {machine.name: listed | {"ansible_user": "admin"}}}}))
    return path
