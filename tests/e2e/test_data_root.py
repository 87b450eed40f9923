"""A data root elsewhere, on a disk of its own, is converted like any other, and with it all that the engine keeps."""

import json
from contextlib import contextmanager

import pytest

from faults import CARRIED_ON, fault
from machine import CONFIG
from testbed import disk
from testbed.base import wait_for

ROOT = "/srv/docker"
LABEL = "system_u:object_r:container_file_t:s0:c1,c2"
# Talks once a start; process 1 needs a trap to heed the signal.
WORKER = "echo started; trap exit TERM; while :; do sleep 0.2; done"
SUBVOLUME = """
import fcntl, os, struct, sys
# BTRFS_IOC_SUBVOL_CREATE of linux/btrfs.h
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x5000940e, bytearray(struct.pack("q4088s", 0, b"subvolume")))
"""


@contextmanager
def engine_on(machine, kind):
    """The engine with nothing but an image and a container, on a file system of its own."""
    machine.holds = None
    machine.sh("docker save -o /run/image.tar bulkhead/busybox")
    with disk.mounted(machine.name, ROOT, kind, 512):
        machine.write(CONFIG, json.dumps({"data-root": ROOT, "storage-driver": "overlay2"}))
        machine.sh("systemctl reset-failed docker; systemctl restart docker; docker load -i /run/image.tar; rm /run/image.tar")
        machine.docker("run", "-d", "--name", "worker", "--restart", "on-failure:3", "-v", "data:/data", "-v", "/anonymous",
                       "--health-cmd", "true", "--health-interval", "1s", "bulkhead/busybox", "sh", "-c", WORKER)
        wait_for("worker being healthy", lambda: machine.docker(
            "inspect", "-f", "{{.State.Health.Status}}", "worker") == "healthy", 20)
        try:
            yield
        finally:
            machine.sh(f"docker rm -f worker; systemctl stop docker.socket docker; rm {CONFIG}")


def kept(machine):
    """What the engine keeps beside images and containers, and what no container sees."""
    root = machine.engine_root
    worker = machine.containers()["worker"]
    return {
        "engine": machine.docker("info", "-f", "{{.ID}}"),
        "restart": worker["HostConfig"]["RestartPolicy"],
        "health": worker["State"]["Health"]["Status"],
        "cache": machine.docker("system", "df", "--format", "{{.Type}} {{.TotalCount}}"),
        "labels": machine.sh(f"getfattr --absolute-names --only-values -n security.selinux {root}/volumes/data/_data/labelled"),
        "inside": machine.docker("exec", "worker", "sh", "-c",
                                 "find /data /anonymous -exec stat -c '%n %u:%g %a' {} + | sort").splitlines(),
        "inventory": machine.inventory(),
    }


@pytest.mark.parametrize(("kind", "carry_over"), [("btrfs", "in_place"), ("xfs", "in_place"), ("xfs", "copy")])
@fault("the data root is elsewhere, on a disk of its own, with btrfs subvolumes in a volume and labels of SELinux", CARRIED_ON)
def test_a_data_root_on_a_disk_of_its_own_is_converted_with_all_that_is_in_it(small_host, kind, carry_over):
    machine = small_host
    with engine_on(machine, kind):
        data = f"{ROOT}/volumes/data/_data"
        if kind == "btrfs":
            machine.run("python3", "-c", SUBVOLUME, data)
        else:
            machine.sh(f"mkdir {data}/subvolume")
        if carry_over == "copy":
            # More than a copy that shares no blocks would find room for.
            machine.sh(f"head -c 280M /dev/urandom >{data}/large")
            room = machine.info()["engine"]["copy"]
            assert room["reflinks"] and room["needed_bytes"] < room["free_bytes"] < 280 << 20
        machine.sh(f"touch {data}/labelled {data}/subvolume/file; setfattr -n security.selinux -v {LABEL} {data}/labelled; "
                   f"chown 33:5 {data}/labelled {data}/subvolume/file; chmod 6755 {data}/subvolume/file")
        machine.docker("exec", "worker", "sh", "-c", "touch /anonymous/file; chown 999:999 /anonymous/file")
        machine.write("/run/build/Dockerfile", "FROM bulkhead/busybox\nRUN touch /built\n")
        machine.sh("DOCKER_BUILDKIT=1 docker build -q -t built /run/build")
        before = kept(machine)
        assert before["labels"] == LABEL and "/data/subvolume/file 33:5 6755" in before["inside"]
        assert "Build Cache 0" not in before["cache"]
        for state, starts in (("enabled", 2), ("disabled", 3)):
            result = machine.remap(state=state, carry_over=carry_over)
            assert not result.get("failed"), result["msg"]
            assert machine.is_remapped == (state == "enabled")
            assert machine.engine_root.startswith(f"{ROOT}/") == (state == "enabled")
            assert kept(machine) == before
            assert machine.docker("logs", "worker").split() == ["started"] * starts
