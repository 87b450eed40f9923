"""Test hosts: whole systemd machines in containers, with their own Docker and Podman.

A host keeps /var and /home in volumes, everything else in its container's layer; a reboot keeps
both and loses /run, /tmp and every process, as on a real machine."""

import json
import os
import sys

from . import engine, images
from .base import Failure, lock, run, wait_for

PREFIX = "bulkhead-"
IMAGE_LABEL = "bulkhead.image"
BOOT_SECONDS = 90
# A dockerd, statically linked, that hosts run in place of their own: for engines that no Debian carries.
DOCKERD = os.environ.get("BULKHEAD_DOCKERD")

# name → the machine, for a host that is no container: its `run` is what `exec_` does, and its sshd answers on `port`
# of this machine's loopback
ELSEWHERE = {}
# The hosts are throwaways: their keys change with every new one.
STRANGERS = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]

# All but SYS_RESOURCE (which the machine itself may lack), SYS_MODULE, SYS_RAWIO, SYS_BOOT, SYS_PACCT and WAKE_ALARM.
CAPABILITIES = (
    "AUDIT_CONTROL AUDIT_WRITE BLOCK_SUSPEND CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER "
    "KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW "
    "SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_CHROOT SYS_NICE SYS_PTRACE SYS_TIME SYS_TTY_CONFIG SYSLOG"
).split()


def container(name):
    return PREFIX + name


def volume(name, which):
    return f"{PREFIX}{name}-{which}"


def inspect(name):
    """What the engine knows of the host's container, or None where there is no such host."""
    done = engine.docker("container", "inspect", container(name), check=False)
    return json.loads(done.stdout)[0] if done.returncode == 0 else None


def image_of(name):
    return inspect(name)["Config"]["Labels"][IMAGE_LABEL]


def names():
    """The names of all hosts."""
    listed = engine.docker("ps", "-a", "--filter", f"label={IMAGE_LABEL}", "--format", "{{.Names}}").stdout.split()
    return sorted(entry.removeprefix(PREFIX) for entry in listed)


def up(name, image, var=None, address=None):
    """Bring the host up, made from the host image `image` (a key of `images.HOSTS`) where it is not
    there yet; `var` is a directory to fill its /var from."""
    engine.up()
    if inspect(name) is None:
        images.build_host(image)
        make_volumes(name, var)
        with lock("hosts"):
            create(name, image, address or free_address())
    elif image_of(name) != image:
        raise Failure(f"host {name} is there already, from {image_of(name)}: take it down first")
    engine.docker("start", container(name))
    wait_booted(name)


def make_volumes(name, var):
    for which in ("var", "home"):
        # What an interrupted `down` has left is not the new host's.
        engine.docker("volume", "rm", "--force", volume(name, which))
        engine.docker("volume", "create", volume(name, which))
    if var is not None:
        run("cp", "-a", "--reflink=auto", f"{var}/.", mountpoint(volume(name, "var")))


def create(name, image, address):
    options = [part for capability in CAPABILITIES for part in ("--cap-add", capability)]
    for what in ("seccomp", "apparmor", "systempaths"):
        options += ["--security-opt", f"{what}=unconfined"]
    for device in ("/dev/fuse", "/dev/net/tun"):
        options += ["--device", device]
    if DOCKERD:
        options += ["-v", f"{DOCKERD}:/usr/sbin/dockerd:ro"]
    engine.docker(
        "create", "--name", container(name), "--hostname", name, "--label", f"{IMAGE_LABEL}={image}",
        "--network", engine.NETWORK, "--ip", address,
        # A reboot asked for inside ends the container; the engine then starts it again.
        "--restart", "unless-stopped", "--stop-signal", "SIGRTMIN+3", "--stop-timeout", "60",
        *options, "--cgroupns", "private",
        "--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec",
        # One volume at /var: the data root must not be a mount of its own.
        "-v", f"{volume(name, 'var')}:/var", "-v", f"{volume(name, 'home')}:/home",
        f"bulkhead/{image}")


def mountpoint(name):
    """Where the volume lies on this machine."""
    return engine.docker("volume", "inspect", "--format", "{{.Mountpoint}}", name).stdout.strip()


def free_address():
    """An address on the bridge that no host has; fixed, so that it outlives reboots."""
    # Another session may take one down meanwhile.
    found = [inspect(name) for name in names()]
    taken = {address_of(container) for container in found if container}
    for candidate in list(engine.subnet().hosts())[9:]:
        if str(candidate) not in taken:
            return str(candidate)
    raise Failure(f"no free address in {engine.subnet()}")


def address(name):
    return address_of(inspect(name))


def address_of(inspected):
    return inspected["NetworkSettings"]["Networks"][engine.NETWORK]["IPAMConfig"]["IPv4Address"]


def wait_booted(name):
    def booted():
        state = exec_(name, "systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded") and state

    return wait_for(f"host {name} booting", booted, BOOT_SECONDS)


def exec_(name, *argv, **kwargs):
    """Run a command as root in the host, by argument vector; keywords as those of `base.run`."""
    if name in ELSEWHERE:
        return ELSEWHERE[name].run(*argv, **kwargs)
    stdin = ["-i"] if "input" in kwargs or "stdin" in kwargs else []
    return engine.docker("exec", *stdin, container(name), *argv, **kwargs)


def python(name, file, *argv, **kwargs):
    """Run a Python file of this machine in the host; it may use the standard library only."""
    with open(file, encoding="utf-8") as source:
        return exec_(name, "python3", "-", *argv, stdin=source, **kwargs)


def put(name, local, remote):
    """Copy a file of this machine into the host, executable."""
    with open(local, "rb") as source:
        exec_(name, "install", "-m", "0755", "/dev/stdin", remote, stdin=source)


def shell(name, argv):
    """Run a command in the host with this process's own standard streams; returns its exit code."""
    mode = ["-it"] if sys.stdin.isatty() and sys.stdout.isatty() else ["-i"]
    command = ["docker", "-H", f"unix://{engine.SOCKET}", "exec", *mode, container(name), *(argv or ["bash"])]
    os.execvp(command[0], command)


def started_at(name):
    return inspect(name)["State"]["StartedAt"]


def reboot(name):
    """An orderly reboot: systemd stops everything, then the host boots again."""
    before = started_at(name)
    exec_(name, "systemctl", "--no-block", "reboot")
    wait_for(f"host {name} going down", lambda: started_at(name) != before, BOOT_SECONDS)
    wait_booted(name)


def crash(name):
    """A power cut: every process dies at once, then the host boots again."""
    engine.docker("kill", "--signal", "KILL", container(name))
    engine.docker("start", container(name))
    wait_booted(name)


def stop(name):
    engine.docker("stop", container(name))


def down(name):
    """Remove the host with all it holds."""
    engine.docker("rm", "-f", "-v", container(name), check=False)
    engine.docker("volume", "rm", "-f", volume(name, "var"), volume(name, "home"))


def inventory(connection="ssh"):
    """An Ansible inventory of all hosts as YAML (JSON being YAML); `connection` is ssh or docker."""
    hosts = {}
    # A host may be taken down by somebody else meanwhile.
    for name in filter(inspect, names()):
        if connection == "ssh":
            hosts[name] = over_ssh(address(name))
        else:
            hosts[name] = {
                "ansible_connection": "community.docker.docker",
                "ansible_host": container(name),
                "ansible_docker_extra_args": f"-H unix://{engine.SOCKET}",
            }
    hosts |= {name: over_ssh("127.0.0.1", machine.port) for name, machine in ELSEWHERE.items()}
    for variables in hosts.values():
        variables["ansible_python_interpreter"] = "/usr/bin/python3"
    return json.dumps({"all": {"hosts": hosts}}, indent=2)


def over_ssh(where, port=22):
    return {
        "ansible_host": where,
        "ansible_port": port,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(images.KEY),
        "ansible_ssh_common_args": " ".join(STRANGERS),
    }
