"""The testbed's command line."""

import argparse
import json
import sys

from . import engine, host, images
from .base import CACHE, Failure


def main():
    args = parser().parse_args()
    try:
        return args.do(args) or 0
    except Failure as failure:
        print(f"testbed: {failure}", file=sys.stderr)
        return 1


def parser():
    top = argparse.ArgumentParser(prog="testbed", description=f"Real systemd hosts in containers; all under {CACHE}.")
    parts = top.add_subparsers(required=True, metavar="PART")

    part = parts.add_parser("engine", help="the Docker engine of our own")
    verbs = part.add_subparsers(required=True, metavar="VERB")
    verb(verbs, "up", lambda args: engine.up())
    verb(verbs, "down", lambda args: engine.down())
    verb(verbs, "env", lambda args: print(f"export DOCKER_HOST=unix://{engine.SOCKET}"), "for eval in a shell")

    part = parts.add_parser("image", help="host and workload images")
    verbs = part.add_subparsers(required=True, metavar="VERB")
    verb(verbs, "build", image_build)

    part = parts.add_parser("host", help="test hosts")
    verbs = part.add_subparsers(required=True, metavar="VERB")
    up = verb(verbs, "up", lambda args: host.up(args.name, args.image), "make or start a host", named=True)
    up.add_argument("--image", choices=sorted(images.HOSTS), default="debian12")
    verb(verbs, "reboot", lambda args: host.reboot(args.name), "orderly", named=True)
    verb(verbs, "crash", lambda args: host.crash(args.name), "a power cut", named=True)
    verb(verbs, "down", lambda args: host.down(args.name), "remove it", named=True)
    execute = verb(verbs, "exec", lambda args: host.shell(args.name, args.argv), "as root; without ARGV a shell",
                   named=True)
    execute.add_argument("argv", nargs="*", metavar="ARGV", help="put -- before it")

    inventory = verb(parts, "inventory", lambda args: print(host.inventory(args.connection)), "for Ansible, as YAML")
    inventory.add_argument("--connection", choices=["ssh", "docker"], default="ssh")
    return top


def verb(verbs, name, do, text=None, named=False):
    made = verbs.add_parser(name, help=text)
    if named:
        made.add_argument("name", metavar="NAME")
    made.set_defaults(do=do)
    return made


def image_build(args):
    engine.up()
    for name in images.HOSTS:
        images.build_host(name)
    images.build_workloads()


if __name__ == "__main__":
    sys.exit(main())
