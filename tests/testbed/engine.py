"""A Docker engine of our own, beside any other: own data root, socket, containerd name space
and bridge. It sets no packet filter rules and no sysctls, so the machine's own stay as they are;
hosts are reached by their address on the bridge and reach nothing outside it."""

import ipaddress
import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from .base import CACHE, Failure, lock, run, say, wait_for

ROOT = CACHE / "engine"
SOCKET = ROOT / "docker.sock"
PIDFILE = ROOT / "dockerd.pid"
CONTAINERD_PIDFILE = ROOT / "exec" / "containerd" / "containerd.pid"
NETWORK = "bulkhead-net"
CGROUP = "bulkhead"
ADDRESSES = ipaddress.ip_network("10.213.0.0/16")

# program → the Debian package that brings it
PROGRAMS = {
    "docker": "docker.io",
    "dockerd": "docker.io",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "ssh-keygen": "openssh-client",
}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# File systems that overlay2 accepts as the upper layer and that keep ACLs and capabilities.
REAL_FILE_SYSTEMS = {"ext4", "xfs", "btrfs"}


def docker(*argv, **kwargs):
    """Run the docker client against our engine."""
    return run("docker", "-H", f"unix://{SOCKET}", *argv, **kwargs)


def up():
    """Bring the engine up unless it answers already."""
    with lock("engine"):
        if answers():
            return
        install_missing()
        require_real_file_system()
        own_cgroups()
        write_config()
        start()
        if docker("network", "inspect", NETWORK, check=False).returncode:
            docker("network", "create", "--subnet", subnet(),
                   "--opt", f"com.docker.network.bridge.name={bridge()}", NETWORK)


def answers():
    return bool(shutil.which("docker")) and docker("version", check=False).returncode == 0


def install_missing():
    missing = sorted({pkg for program, pkg in PROGRAMS.items() if not shutil.which(program)})
    if not KEYRING.exists():
        missing.append("debian-archive-keyring")
    if not missing:
        return
    if os.environ.get("INSTALL") == "no":
        raise Failure(f"missing Debian packages: {' '.join(missing)} (INSTALL=no forbids installing them)")
    say(f"installing Debian packages: {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-q", env=env)
    run("apt-get", "install", "-qy", "--no-install-recommends", *missing, env=env)


def require_real_file_system():
    ROOT.mkdir(parents=True, exist_ok=True)
    kind = run("findmnt", "-no", "FSTYPE", "--target", ROOT).stdout.strip()
    if kind not in REAL_FILE_SYSTEMS:
        raise Failure(f"{ROOT} lies on {kind}; overlay2 needs one of {', '.join(sorted(REAL_FILE_SYSTEMS))}: "
                      "set BULKHEAD_CACHE to a directory on such a file system")


def own_cgroups():
    """In a bare container the cgroup file systems are read-only: mount a cgroup2 of our own."""
    root = Path("/sys/fs/cgroup")
    v1 = root / "devices"
    if os.access(v1 if v1.is_dir() else root, os.W_OK):
        return
    run("umount", "-R", root)
    run("mount", "-t", "cgroup2", "-o", "rw,nosuid,nodev,noexec", "cgroup2", root)
    # Controllers can be handed down only from a cgroup without processes of its own.
    leaf = root / "init"
    leaf.mkdir(exist_ok=True)
    for pid in (root / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            (leaf / "cgroup.procs").write_text(pid)
    for controller in (root / "cgroup.controllers").read_text().split():
        (root / "cgroup.subtree_control").write_text(f"+{controller}")


def write_config():
    config = {
        "data-root": str(ROOT / "data"),
        "exec-root": str(ROOT / "exec"),
        "pidfile": str(PIDFILE),
        "hosts": [f"unix://{SOCKET}"],
        "storage-driver": "overlay2",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": f"/{CGROUP}",
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
        "ip-forward": False,
        "ip-masq": False,
        "log-driver": "json-file",
    }
    (ROOT / "daemon.json").write_text(json.dumps(config, indent=2) + "\n")


def subnet():
    """The subnet of the hosts: a /24 that no route of the machine touched when it was chosen."""
    chosen = ROOT / "subnet"
    if not chosen.exists():
        words = [line.split()[0] for line in run("ip", "-4", "route").stdout.splitlines()]
        routes = [ipaddress.ip_network(word, strict=False) for word in words if word[0].isdigit()]
        free = [net for net in ADDRESSES.subnets(new_prefix=24) if not any(net.overlaps(route) for route in routes)]
        if not free:
            raise Failure(f"no free /24 in {ADDRESSES} for the testbed's bridge")
        chosen.write_text(str(free[0]))
    return ipaddress.ip_network(chosen.read_text())


def bridge():
    """The name of the bridge, as much the engine's own as its subnet."""
    return f"bulkhead{subnet().network_address.packed[2]}"


def start():
    # What was killed leaves its number behind, which may be another process's, or a zombie's, by now; dockerd
    # takes either for itself.
    for pidfile in (PIDFILE, CONTAINERD_PIDFILE):
        if process_of(pidfile) is None:
            pidfile.unlink(missing_ok=True)
    log = ROOT / "dockerd.log"
    with open(log, "w", encoding="utf-8") as out:
        # dockerd joins a containerd that already runs on the machine, hence name spaces of our own.
        daemon = subprocess.Popen(
            ["dockerd", "--config-file", ROOT / "daemon.json",
             "--containerd-namespace=bulkhead", "--containerd-plugins-namespace=bulkhead-plugins"],
            cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    say(f"starting dockerd, pid {daemon.pid}, log {log}")

    def ready():
        if daemon.poll() is not None:
            raise Failure(f"dockerd ended with {daemon.returncode}:\n{log.read_text()[-2000:]}")
        return answers()

    wait_for("dockerd answering", ready, 60)


def pid():
    """The pid of our dockerd, or None."""
    return process_of(PIDFILE)


def process_of(pidfile):
    """The pid in the file, where its process is one of ours: our place is in its command line."""
    try:
        number = int(pidfile.read_text())
        command = Path(f"/proc/{number}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return number if str(ROOT).encode() in command else None


def down():
    """Stop the engine and with it every host, which then start again with it."""
    with lock("engine"):
        number = pid()
        if number is None:
            return
        os.kill(number, signal.SIGTERM)
        wait_for("dockerd ending", lambda: pid() is None, 120)
