"""A containerd of our own, without a registry: a tree becomes the snapshot of an image that is made by hand."""

import hashlib
import io
import json
import subprocess
import tarfile
import time
import uuid

from programs import ENVIRONMENT, run

NAME = "localhost/tree:{}"
CONFIGURATION = """\
version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{0}/socket"
"""


class Containerd:
    def __init__(self, scratch):
        self.scratch, self.process, self.images = scratch, None, {}

    def run(self, tree, options, under=()):
        """Runs a container of the tree, with its ids mapped by the options; (what ran, the shifted snapshot). What
        becomes of the container does not matter here. The same tree is the same image again."""
        if not self.process:
            self.start()
        if tree not in self.images:
            self.images[tree] = self.load(tree)
        image, snapshot = self.images[tree]
        # The container stays, or else the snapshot is collected as garbage before anybody has looked at it.
        command = self.ctr("run", "--snapshotter=native", *options, image, uuid.uuid4().hex, "/bin/true")
        ran = run([*under, *command])
        return ran, snapshot / tree.name

    def start(self):
        (self.scratch / "config.toml").write_text(CONFIGURATION.format(self.scratch), encoding="ascii")
        with open(self.scratch / "log", "wb") as log:
            self.process = subprocess.Popen(["containerd", "--config", self.scratch / "config.toml"],
                                            stdout=log, stderr=log, env=ENVIRONMENT)
        for _ in range(100):
            if subprocess.run(self.ctr("version"), capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"containerd does not answer, see {self.scratch / 'log'}")

    def close(self):
        if self.process:
            self.process.terminate()
            self.process.wait(10)

    def ctr(self, *words):
        address = f"--address={self.scratch / 'socket'}"
        return ["env", f"TMPDIR={self.scratch}", "ctr", address, "--namespace=test", *words]

    def call(self, *words):
        return subprocess.run(self.ctr(*words), check=True, capture_output=True, text=True, timeout=60).stdout

    def load(self, tree):
        """(name of the image, directory of the snapshot that a shift will make)"""
        layer = archive({"unique": uuid.uuid4().bytes})
        name = NAME.format(digest(layer)[7:19])
        (self.scratch / "image.tar").write_bytes(image(name, layer))
        self.call("images", "import", "--no-unpack", "--snapshotter=native", self.scratch / "image.tar")
        # The committed snapshot of this name is what containerd takes for the unpacked layer.
        self.call("snapshots", "--snapshotter=native", "prepare", name, "")
        mount = self.call("snapshots", "--snapshotter=native", "mounts", "/mnt", name).split()
        source = self.scratch / mount[3]
        subprocess.run(["cp", "-a", tree, source], check=True)
        self.call("snapshots", "--snapshotter=native", "commit", digest(layer), name)
        # Snapshots are numbered; the next is the shifted one.
        return name, source.with_name(str(int(source.name) + 1))


def digest(blob):
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def archive(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def image(name, layer):
    """An archive of the OCI image layout with one layer."""
    def blob(kind, content):
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(content), "size": len(content)}

    platform = {"architecture": "amd64", "os": "linux"}
    config = json.dumps({**platform, "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "config": blob("config.v1+json", config), "layers": [blob("layer.v1.tar", layer)]}).encode()
    index = json.dumps({"schemaVersion": 2, "manifests": [
        {**blob("manifest.v1+json", manifest), "annotations": {"io.containerd.image.name": name}}]}).encode()
    blobs = {f"blobs/sha256/{digest(content)[7:]}": content for content in (layer, config, manifest)}
    return archive({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index, **blobs})
