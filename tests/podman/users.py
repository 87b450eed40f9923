"""Hosts on which accounts are made and removed, by dedicated_user, and what is to be seen of them."""

import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "e2e")]

from machine import REPOSITORY, Machine  # noqa: E402
from testbed import engine, host, images  # noqa: E402

BUILT = REPOSITORY / "plugins" / "module_bin" / platform.machine()
FAULTS = REPOSITORY / "build" / "faults" / "dedicated_user"
# Another prefix lets a second session run beside this one.
PREFIX = os.environ.get("BULKHEAD_PODMAN_PREFIX", "podman")
STATE = "/var/lib/bulkhead/dedicated_user"
DEBIANS = ["debian12", "debian13"]
FILES = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid"]


class Host(Machine):
    """A test host with the executables."""

    def __init__(self, name, image):
        super().__init__(name, image)
        host.down(name)
        host.up(name, image)
        host.put(name, BUILT / "dedicated_user", "/usr/local/bin/dedicated_user")
        host.put(name, BUILT / "dedicated_user_info", "/usr/local/bin/dedicated_user_info")
        host.put(name, FAULTS, "/usr/local/bin/dedicated_user.faults")

    def module(self, check_mode=False, fault=None, **options):
        """What dedicated_user says; None where it was killed."""
        options |= {"_ansible_check_mode": check_mode, "_ansible_diff": True}
        command = ["env", f"BULKHEAD_FAULT={fault}", "dedicated_user.faults"] if fault else ["dedicated_user"]
        done = self.run(*command, input=json.dumps(options), check=False)
        assert done.stdout or fault and done.returncode == 137, done
        return json.loads(done.stdout) if done.stdout else None

    def make(self, **options):
        """An account, made by a run that has to succeed."""
        result = self.module(**options)
        assert not result.get("failed"), result["msg"]
        return result

    def refused(self, **options):
        """Why a run was refused; it has left no trace, and neither has it in check mode."""
        before = self.traces()
        said = [self.module(check_mode=check, **options) for check in (True, False)]
        assert all(one.get("failed") for one in said), said
        assert said[0]["msg"] == said[1]["msg"]
        assert self.traces() == before
        return said[1]

    def usage(self, **options):
        """What accounts use, by name."""
        result = json.loads(self.run("dedicated_user_info", input=json.dumps(options)).stdout)
        assert not result.get("failed") and not result["changed"], result
        return {account["name"]: account for account in result["accounts"]}

    def podman(self, account, *argv, **kwargs):
        """Podman as the account, as its services run it."""
        environment = ["env", f"HOME={account['home']}", f"XDG_RUNTIME_DIR={account['runtime_dir']}"]
        command = ["runuser", "-u", account["name"], "--", *environment, "podman", *argv]
        # runuser(1) would take the account's own directory for one that it cannot read.
        return self.run("env", "-C", "/", *command, **kwargs).stdout.strip()

    def traces(self):
        """Whatever an account leaves a trace in, but for what Podman as root and a login of admin leave."""
        files = {path: self.sh(f"grep -v '^$' {path} || true") for path in FILES}
        listed = "find /etc/tmpfiles.d /var/lib/systemd/linger /run/user /var/lib/containers -maxdepth 1 " \
                 "! -name storage ! -name 1000 -printf '%p %m %U:%G\\n' 2>/dev/null | sort"
        secrets = "find /run -maxdepth 1 -name 'secrets*' -printf '%p %m %U:%G\\n' | sort"
        running = "ps -eo user:32,args | grep -E '^(web|[0-9]+) ' || true"
        return files | {"listed": self.sh(listed), "secrets": self.sh(secrets), "running": self.sh(running),
                        "open": self.sh(f"ls {STATE}/in-progress 2>/dev/null || true")}


def in_turn(cases):
    """Cases for `parametrize` with `account_host` indirect and first: each on one of the Debians."""
    turns = itertools.cycle(DEBIANS)
    return [pytest.param(debian, *values, id=f"{debian}-{name}") for debian, (name, *values) in zip(turns, cases)]


def hosts(what):
    """A fixture of hosts for `what`, one for each Debian, gone with the module that uses it."""
    @pytest.fixture(scope="module", params=DEBIANS)
    def account_host(request):
        for executable in (BUILT / "dedicated_user", FAULTS):
            assert executable.exists(), f"there is no {executable}: make build faults"
        made = Host(f"{PREFIX}-{what}-{request.param}", request.param)
        yield made
        host.down(made.name)

    return account_host


def load_busybox(machine, account):
    """Gives the account the image localhost/busybox."""
    images.build_workloads()
    with tempfile.NamedTemporaryFile() as archive:
        engine.docker("save", "-o", archive.name, "bulkhead/busybox")
        host.put(machine.name, archive.name, "/run/busybox.tar")
    machine.podman(account, "load", "-i", "/run/busybox.tar")
    machine.podman(account, "tag", "bulkhead/busybox", "localhost/busybox")


def play(machine, *arguments, playbook=None, tasks=None):
    """Runs a playbook of the collection, or these tasks, on the host over SSH by a user who has to become root."""
    with tempfile.TemporaryDirectory() as scratch:
        inventory = Path(scratch) / "hosts.json"
        known = json.loads(host.inventory())["all"]["hosts"][machine.name] | {"ansible_user": "admin"}
        inventory.write_text(json.dumps({"all": {"hosts": {machine.name: known}}}))
        if tasks is not None:
            playbook = Path(scratch) / "play.yml"
            playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "become": True, "tasks": tasks}]))
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        environment |= {"ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8", "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",
                        # A virtual machine takes its time to become root.
                        "ANSIBLE_TIMEOUT": "120"}
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, playbook, *arguments]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout
