"""Runs in a test host: `watch.py COUNT` prints how many seconds fewer than COUNT containers run, once it is told by the
end of its standard input that the change is over."""

import os
import select
import sys
import time

# Each container has a scope of its own there, as the engines of Debian ask systemd for it.
SLICE = "/sys/fs/cgroup/system.slice"


def main():
    count = int(sys.argv[1])
    first = last = None
    print("watching", flush=True)
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        if sum(name.startswith("docker-") for name in os.listdir(SLICE)) < count:
            last = time.monotonic()
            first = first or last
    print(last - first if first else 0)


main()
