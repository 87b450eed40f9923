"""Hosts with their workload, quickly: /var of a host is kept once it is set up, and copied for the next."""

import shutil

from . import engine, host, images, workload
from .base import CACHE, lock, run, say

STORE = CACHE / "pristine"


def up(name, image, address=None):
    """Bring a host up with its workload running."""
    engine.up()
    host.up(name, image, var=None if host.inspect(name) else var(image), address=address)
    workload.up(name)


def reset(name):
    """Replace the host by a new one of the same image, name and address with its workload running."""
    image, address = host.image_of(name), host.address(name)
    host.down(name)
    up(name, image, address)


def var(image):
    """The kept /var of a host of `image` with its workload; made at first use."""
    with lock(f"pristine-{image}"):
        recipes = images.build_host(image)[:16], images.build_workloads()[:16], workload.recipe()[:16]
        kept = STORE / "-".join((image, *recipes))
        if not kept.is_dir():
            say(f"setting up a host of {image} with its workload, to be copied")
            for old in STORE.glob(f"{image}-*"):
                shutil.rmtree(old)
            make(image, kept)
        return kept


def make(image, kept):
    name = f"pristine-{image}"
    host.down(name)
    host.up(name, image)
    workload.up(name)
    host.stop(name)
    source = host.mountpoint(host.volume(name, "var"))
    shutil.rmtree(f"{source}/log/journal")
    # Another image's may be in the making beside it, or one may have been cut off.
    new = kept.with_name(f"new-{image}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    run("cp", "-a", "--reflink=auto", f"{source}/.", new)
    new.rename(kept)
    host.down(name)
