"""What the engine's own files in a Docker data root look like: type, owner and mode of every entry, under
general paths, so that the data roots of two hosts can be compared.

Run as a program inside a host (standard library only): `layout.py list` reads the data root in use;
`layout.py fresh plain|remapped` first destroys it and lets the engine make and fill a new one, which takes
the image archive /root/busybox.tar. Imported, it does the same for a host by name."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

DATA_ROOT = "/var/lib/docker"
START, COUNT = 165536, 65536
# Below these the entries belong to containers.
CONTENT = re.compile(r"/(overlay2/[^/]+/(diff|merged|work/work)|volumes/[^/]+/_data)$")
GENERAL = [
    (r"(?<=/volumes/)[^/]+(?=/|$)(?<!metadata\.db)(?<!backingFsBlockDev)", "<volume>"),
    (r"(?<=/)[0-9a-f]{64}(?=/|-|$)", "<id>"),
    (r"(?<=/overlay2/)[a-z0-9]{25}(?=/|$)", "<id>"),  # the builder's own layers
    (r"(?<=/overlay2/l/)[A-Z0-9]{26}$", "<link>"),
]


def of_host(name):
    """General path → ['type uid:gid mode', …] of the data root in use in a test host."""
    from . import host  # this file also runs alone, inside the host

    return json.loads(host.python(name, __file__, "list").stdout)


def of_fresh_host(name, mode):
    """The same of a new data root, `mode` being plain or remapped. The host's own is destroyed."""
    from . import engine, host

    archive = engine.ROOT / f"{name}-busybox.tar"
    engine.docker("save", "-o", archive, "bulkhead/busybox")
    host.put(name, archive, "/root/busybox.tar")
    archive.unlink()
    return json.loads(host.python(name, __file__, "fresh", mode).stdout)


def sh(line):
    done = subprocess.run(["sh", "-ec", line], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"{line}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def renew(remapped):
    """Start the engine on an empty data root."""
    sh("systemctl stop docker.socket docker; systemctl reset-failed docker docker.socket")
    shutil.rmtree(DATA_ROOT)
    Path("/etc/docker").mkdir(exist_ok=True)
    # From 29 on a new data root would not be the engine's own store.
    config = {"features": {"containerd-snapshotter": False}, **({"userns-remap": "default"} if remapped else {})}
    Path("/etc/docker/daemon.json").write_text(json.dumps(config))
    if remapped:
        sh("getent passwd dockremap || useradd -r -s /usr/sbin/nologin dockremap")
        for file in (Path("/etc/subuid"), Path("/etc/subgid")):
            others = [line for line in file.read_text().splitlines() if not line.startswith("dockremap:")]
            file.write_text("\n".join([*others, f"dockremap:{START}:{COUNT}\n"]))
    sh("systemctl start docker")


def fill():
    """One of everything that the engine keeps on disk."""
    sh("docker load -i /root/busybox.tar; docker network create net1; docker volume create vol1")
    sh("docker volume create --opt type=tmpfs --opt device=tmpfs optvol")
    sh("docker run -d --name running --network net1 -v vol1:/data -v /anonymous bulkhead/busybox sleep 1000000")
    sh("docker run -d --name shareable --ipc shareable bulkhead/busybox sleep 1000000")
    sh("docker run -d --name hostns --userns host --network host bulkhead/busybox sleep 1000000")
    sh("docker run --name exited --health-cmd true bulkhead/busybox true")
    sh("docker create --name created bulkhead/busybox")
    sh("docker commit exited layered; docker run -d --name child layered sleep 1000000")
    sh("mkdir -p /root/context; printf 'FROM bulkhead/busybox\\nRUN echo a >/a\\n' >/root/context/Dockerfile")
    sh("DOCKER_BUILDKIT=1 docker build -t built /root/context")


def used_root():
    return Path(subprocess.run(["docker", "info", "-f", "{{.DockerRootDir}}"], capture_output=True, text=True,
                               check=True).stdout.strip())


def listing(root):
    rows = {}
    for path in [DATA_ROOT, *entries(root)]:
        info = os.lstat(path)
        kind = stat.filemode(info.st_mode)[0]
        row = f"{kind} {info.st_uid}:{info.st_gid} {stat.S_IMODE(info.st_mode):04o}"
        rows.setdefault(general(path, root), set()).add(row)
    return {path: sorted(found) for path, found in sorted(rows.items())}


def entries(root):
    yield str(root)
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            yield os.path.join(directory, name)
        directories[:] = [name for name in directories if not CONTENT.search(os.path.join(directory, name))]


def general(path, root):
    path = re.sub(rf"^{re.escape(str(root))}(?=/|$)", "ROOT", path)
    for pattern, name in GENERAL:
        path = re.sub(pattern, name, path)
    return path


def main():
    if sys.argv[1] == "fresh":
        renew(sys.argv[2] == "remapped")
        fill()
    print(json.dumps(listing(used_root()), indent=1))


if __name__ == "__main__":
    main()
