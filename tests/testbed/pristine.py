"""Hosts with their workload, quickly: /var of a host is kept once it is set up, and copied for the next."""

import shutil

from . import engine, host, images, workload
from .base import CACHE, lock, run, say

STORE = CACHE / "pristine"


def up(name, image, address=None, work=workload):
    """Bring a host up with its workload running: that of the module `work`."""
    engine.up()
    host.up(name, image, var=None if host.inspect(name) else var(image, work), address=address)
    work.up(name)


def reset(name):
    """Replace the host by a new one of the same image, name and address with its workload running."""
    image, address = host.image_of(name), host.address(name)
    host.down(name)
    up(name, image, address)


def var(image, work=workload):
    """The kept /var of a host of `image` with its workload; made at first use."""
    kind = image if work is workload else f"{work.__name__.rpartition('.')[2]}-{image}"
    with lock(f"pristine-{kind}"):
        recipes = images.build_host(image)[:16], images.build_workloads()[:16], work.recipe()[:16]
        kept = STORE / "-".join((kind, *recipes))
        if not kept.is_dir():
            say(f"setting up a host of {image} with its workload, to be copied")
            for old in STORE.glob(f"{kind}-*"):
                shutil.rmtree(old)
            make(kind, image, work, kept)
        return kept


def make(kind, image, work, kept):
    name = f"pristine-{kind}"
    host.down(name)
    host.up(name, image)
    work.up(name)
    host.stop(name)
    source = host.mountpoint(host.volume(name, "var"))
    shutil.rmtree(f"{source}/log/journal")
    # Another image's may be in the making beside it, or one may have been cut off.
    new = kept.with_name(f"new-{kind}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    run("cp", "-a", "--reflink=auto", f"{source}/.", new)
    new.rename(kept)
    host.down(name)
