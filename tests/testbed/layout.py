"""Runs inside a throwaway host and destroys its data root: what a fresh Docker engine, plain and
remapped, gives to every entry of its own. Prints JSON: phase → general path → [type, uid:gid, mode]."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time

DATA_ROOT = "/var/lib/docker"
START, COUNT = 165536, 65536
TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFSOCK: "socket", stat.S_IFIFO: "fifo",
         stat.S_IFBLK: "block", stat.S_IFCHR: "char"}
# Below these the entries belong to containers.
CONTENT = re.compile(r"(/overlay2/[^/]+/(diff|merged)|/overlay2/[^/]+/work/work|/volumes/[^/]+/_data)$")


def sh(line, check=True):
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if check and done.returncode:
        sys.exit(f"{line}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def stop_engine():
    sh("systemctl stop docker.socket docker; systemctl reset-failed docker docker.socket")


def fresh(remapped):
    """An engine on an empty data root."""
    stop_engine()
    shutil.rmtree(DATA_ROOT, ignore_errors=True)
    os.makedirs("/etc/docker", exist_ok=True)
    with open("/etc/docker/daemon.json", "w", encoding="utf-8") as config:
        json.dump({"userns-remap": "default"} if remapped else {}, config)
    if remapped and not sh("getent passwd dockremap", check=False):
        sh("useradd -r -s /usr/sbin/nologin dockremap")
        for file in ("/etc/subuid", "/etc/subgid"):
            lines = [line for line in open(file, encoding="utf-8") if not line.startswith("dockremap:")]
            open(file, "w", encoding="utf-8").writelines([*lines, f"dockremap:{START}:{COUNT}\n"])
    sh("systemctl start docker")


def fill():
    sh("docker load -i /root/busybox.tar")
    sh("docker network create net1; docker volume create vol1")
    sh("docker run -d --name running --restart unless-stopped --network net1 -v vol1:/data -v /anonymous "
       "-p 8080:80 bulkhead/busybox sleep 100000")
    sh("docker exec running sh -c 'echo x >/data/x; chown 999:999 /data/x; mkdir /layer; chown 33:33 /layer'")
    sh("docker run --name exited --tmpfs /scratch --health-cmd true bulkhead/busybox true")
    sh("docker create --name created bulkhead/busybox true")
    sh("docker commit exited two-layers; docker run -d --name child two-layers sleep 100000")
    sh("docker run -d --name shareable --ipc shareable bulkhead/busybox sleep 100000")
    sh("docker run -d --name hostns --userns host --network host bulkhead/busybox sh -c 'echo a >/a; sleep 100000'")
    sh("docker volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=1m optvol")
    sh("mkdir -p /root/ctx; printf 'FROM bulkhead/busybox\\nRUN echo a >/a\\nRUN echo b >/b\\n' >/root/ctx/Dockerfile")
    print("build:", sh("DOCKER_BUILDKIT=1 docker build -q -t built /root/ctx 2>&1 || "
                       "DOCKER_BUILDKIT=0 docker build -q -t built /root/ctx 2>&1", check=False), file=sys.stderr)
    time.sleep(1)


def inventory():
    """What each overlay2 directory is, by the engine's own word."""
    kinds = {}
    for name in ("running", "exited", "created", "child", "shareable", "hostns"):
        upper = sh("docker inspect -f '{{.GraphDriver.Data.UpperDir}}' " + name).split("/")[-2]
        kinds[upper] = f"<{name}>"
        kinds[f"{upper}-init"] = f"<{name}>-init"
        kinds[sh("docker inspect -f '{{.Id}}' " + name)] = f"<{name}>"
    return kinds


def general(path, kinds):
    own_root = f"{DATA_ROOT}/{START}.{START}"
    path = path.replace(own_root if os.path.exists(own_root) else DATA_ROOT, "ROOT", 1)
    parts = []
    for part in path.split("/"):
        if part in kinds:
            part = kinds[part]
        part = {"vol1": "<volume>", "optvol": "<volume with options>"}.get(part, part)
        part = re.sub(r"^[0-9a-f]{64}$", "<id>", part)
        part = re.sub(r"^[0-9a-f]{64}-", "<container>-", part)
        part = re.sub(r"^[A-Z0-9]{26}$", "<link>", part)
        part = re.sub(r"^[a-z0-9]{25}$", "<built>", part)
        parts.append(part)
    return "/".join(parts)


def listing(kinds):
    rows = {}

    def note(path):
        info = os.lstat(path)
        mode = stat.S_IMODE(info.st_mode)
        row = f"{TYPES[stat.S_IFMT(info.st_mode)]} {info.st_uid}:{info.st_gid} {mode:04o}"
        if row not in rows.setdefault(general(path, kinds), []):
            rows[general(path, kinds)].append(row)

    note("/var/lib")
    note(DATA_ROOT)
    for directory, subdirs, files in os.walk(DATA_ROOT):
        for entry in subdirs + files:
            note(os.path.join(directory, entry))
        subdirs[:] = [d for d in subdirs if not CONTENT.search(os.path.join(directory, d))]
    return rows


def mentions():
    """Files of the data root that hold its path: general path → examples."""
    found = {}
    for directory, subdirs, files in os.walk(DATA_ROOT):
        subdirs[:] = [d for d in subdirs if not CONTENT.search(os.path.join(directory, d))]
        for entry in files:
            path = os.path.join(directory, entry)
            if os.path.isfile(path) and not os.path.islink(path):
                text = open(path, "rb").read()
                hits = re.findall(rb'"[A-Za-z]*":"/var/lib/docker[^"]*"|[ -~]{0,40}/var/lib/docker[ -~]{0,120}', text)
                if hits:
                    found[path] = sorted({hit.decode() for hit in hits})[:14]
    return found


def leftovers():
    mounts = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for line in open(f"/proc/{pid}/mountinfo", encoding="utf-8"):
                if DATA_ROOT in line.split()[4] or DATA_ROOT in line:
                    mounts.setdefault(line.split(" ", 3)[3].strip()[:160], []).append(pid)
        except OSError:
            pass
    return {"mounts": {line: len(pids) for line, pids in mounts.items()},
            "processes": sh("ps -eo pid,ppid,args | grep -E 'dockerd|containerd|shim|proxy' | grep -v grep", check=False),
            "run": sh("find /run/docker* /run/containerd -maxdepth 3 2>/dev/null", check=False),
            "units": sh("systemctl is-active docker docker.socket containerd", check=False)}


def main():
    out = {"version": sh("docker version -f '{{.Server.Version}}'")}
    for mode in ("plain", "remapped"):
        fresh(mode == "remapped")
        out[f"{mode} empty"] = listing({})
        fill()
        kinds = inventory()
        out[f"{mode} running"] = listing(kinds)
        out[f"{mode} mounts running"] = leftovers()
        sh("docker stop -t 1 running child shareable hostns")
        stop_engine()
        out[f"{mode} stopped"] = listing(kinds)
        out[f"{mode} left over, containers stopped first"] = leftovers()
        out[f"{mode} mentions"] = mentions()
        sh("systemctl start docker; docker start running child shareable hostns")
        stop_engine()
        out[f"{mode} left over, containers stopped by the daemon"] = leftovers()
        out[f"{mode} stopped by daemon"] = listing(kinds)
    print(json.dumps(out, indent=1))


main()
