"""A test host as the tests use it: commands, the executables, what the engine has."""

import json
import os
import platform
from pathlib import Path

from testbed import engine, host, manifest, pristine
from testbed.base import wait_for
from testbed.place import Host

REPOSITORY = Path(__file__).resolve().parents[2]
EXECUTABLE = Path(os.environ.get("BULKHEAD_EXE", REPOSITORY / "plugins" / "module_bin" / platform.machine() / "userns_remap"))
FAULTS = Path(os.environ.get("BULKHEAD_FAULTS_EXE", REPOSITORY / "build" / "faults" / "userns_remap"))
DATA_ROOT = "/var/lib/docker"
CONFIG = "/etc/docker/daemon.json"
STATE = "/var/lib/bulkhead"
UNITS = "/etc/systemd/system"


class Machine(Host):
    """The test host `name`, made from the host image `image`."""

    def __init__(self, name, image):
        super().__init__(name)
        self.image = image
        # What a test may count on finding, and the inventory of that.
        self.holds = self.before = None

    def docker(self, *argv):
        return self.said("docker", *argv)

    def set_up_busy(self):
        """Make the host anew with the testbed's whole workload."""
        self.holds = None
        host.down(self.name)
        pristine.up(self.name, self.image)
        self.install_executables()

    # The executables

    def install_executables(self):
        self.put(EXECUTABLE, "/usr/local/bin/userns_remap")
        self.put(FAULTS, "/usr/local/bin/userns_remap.faults")
        self.put(EXECUTABLE.with_name("userns_remap_info"), "/usr/local/bin/userns_remap_info")

    def remap(self, check_mode=False, fault=None, **options):
        """Run the module by hand; its result, or None where it was killed before it gave one."""
        options |= {"_ansible_check_mode": check_mode, "_ansible_diff": True}
        command = ["env", f"BULKHEAD_FAULT={fault}", "userns_remap.faults"] if fault else ["userns_remap"]
        done = self.run(*command, input=json.dumps(options), check=False)
        assert done.stdout or fault and done.returncode == 137, done
        return json.loads(done.stdout) if done.stdout else None

    def info(self, **options):
        """What a user namespace would mean; it has to succeed."""
        result = json.loads(self.run("userns_remap_info", input=json.dumps(options)).stdout)
        assert not result.get("failed") and not result["changed"], result
        return result

    def remap_until_paused(self, point, options):
        """Start the module, have it wait at `point`, and leave it there."""
        self.sh("rm -f /run/bulkhead-paused")
        self.write("/run/arguments.json", json.dumps(options))
        self._until_paused(point, "userns_remap.faults /run/arguments.json")

    def resume(self):
        """Let it go on, and take its result."""
        self.sh("rm /run/bulkhead-paused")
        wait_for("the result", lambda: (self.read("/run/said") or "").endswith("}\n"), 120)
        return json.loads(self.read("/run/said").splitlines()[-1])

    def recover_until_paused(self, point):
        self.sh("rm -f /run/bulkhead-paused")
        self._until_paused(point, "userns_remap.faults recover")

    def _until_paused(self, point, command):
        engine.docker("exec", "-d", "-e", f"BULKHEAD_FAULT=pause@{point}", host.container(self.name), "sh", "-c",
                      f"{command} >/run/said 2>&1")
        wait_for(f"the module pausing at {point}", lambda: self.read("/run/bulkhead-paused") == point, 60)

    def recover(self, fault=None):
        """What `userns_remap recover` says; '' where it was killed."""
        command = ["env", f"BULKHEAD_FAULT={fault}", "userns_remap.faults"] if fault else ["userns_remap"]
        done = self.run(*command, "recover", check=False)
        assert done.returncode == (137 if fault else 0), done
        return done.stdout.strip()

    # What there is

    @property
    def engine_root(self):
        return self.docker("info", "-f", "{{.DockerRootDir}}")

    @property
    def subordinate_range(self):
        """Start and count of dockremap's ids."""
        found = dict(line.split(":", 1) for line in self.read("/etc/subuid").splitlines())
        start, count = found["dockremap"].split(":")
        return int(start), int(count)

    @property
    def is_remapped(self):
        return "name=userns" in self.docker("info", "-f", "{{json .SecurityOptions}}")

    @property
    def dockerd_pid(self):
        return self.said("systemctl", "show", "-p", "MainPID", "--value", "docker.service")

    def containers(self):
        """What `docker inspect` says of every container, by name."""
        ids = self.docker("ps", "-aq", "--no-trunc").split()
        found = json.loads(self.docker("inspect", *ids)) if ids else []
        return {entry["Name"].removeprefix("/"): entry for entry in found}

    def inventory(self):
        """The ids and names that a change may not lose or make anew, and what runs."""
        containers = self.containers()
        networks = [line.split() for line in
                    self.docker("network", "ls", "--no-trunc", "--format", "{{.ID}} {{.Name}}").splitlines()]
        return {
            "images": set(self.docker("image", "ls", "-aq", "--no-trunc").split()),
            "containers": {name: (entry["Id"], entry["Created"], entry["Image"],
                                  entry["HostConfig"]["RestartPolicy"]["Name"])
                           for name, entry in containers.items()},
            "running": {name for name, entry in containers.items() if entry["State"]["Running"]},
            # The engine makes its default bridge anew, with a new id, at every start.
            "networks": {(number, name) for number, name in networks if name != "bridge"},
            "volumes": set(self.docker("volume", "ls", "-q").split()),
        }

    def manifest(self, path):
        return manifest.of_host(self.name, path)

    def layer(self, container):
        """The directory that holds what the container wrote."""
        return self.docker("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", container)

    def traces(self):
        """Whatever a change would leave a trace in, down to each inode's time of change."""
        roots = ["/etc", "/usr/local", DATA_ROOT]
        started = {name: (entry["Id"], entry["State"]["Status"], entry["State"]["StartedAt"])
                   for name, entry in self.containers().items()} if self.is_active("docker") else None
        found = self.said("find", *roots, "-xdev", "-printf", r"%p %y %m %U:%G %s %C@\n")
        return {"dockerd": self.dockerd_pid, "containers": started, "files": set(found.splitlines())}

    def is_active(self, unit):
        return self.run("systemctl", "is-active", "-q", unit, check=False).returncode == 0

    def leftovers(self):
        """What an ended change may not leave behind."""
        found = self.said("find", UNITS, "/run/systemd/system", "(", "-name", "*bulkhead*", ")", "-print").split()
        return found + [path for path in (f"{STATE}/in-progress",) if self.exists(path)]

