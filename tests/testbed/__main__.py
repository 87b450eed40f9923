"""The testbed's command line."""

import argparse
import json
import sys

from . import clean, engine, host, images, manifest, pristine, rootless, workload
from .base import CACHE, Failure

WORKLOADS = {"docker": workload, "rootless": rootless}


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
    up = verb(verbs, "up", host_up, "make or start a host", named=True)
    up.add_argument("--image", choices=sorted(images.HOSTS), default="debian12")
    up.add_argument("--workload", choices=WORKLOADS, nargs="?", const="docker",
                    help="with its workload running (a quick copy): Docker's, or services of rootless Podman")
    verb(verbs, "reset", lambda args: pristine.reset(args.name), "make it anew, its workload running", named=True)
    verb(verbs, "reboot", lambda args: host.reboot(args.name), "orderly", named=True)
    verb(verbs, "crash", lambda args: host.crash(args.name), "a power cut", named=True)
    verb(verbs, "down", lambda args: host.down(args.name), "remove it", named=True)
    execute = verb(verbs, "exec", lambda args: host.shell(args.name, args.argv), "as root; without ARGV a shell",
                   named=True)
    execute.add_argument("argv", nargs="*", metavar="ARGV", help="put -- before it")

    part = parts.add_parser("workload", help="what runs on a host")
    verbs = part.add_subparsers(required=True, metavar="VERB")
    verb(verbs, "up", lambda args: workload.up(args.name), named=True)
    verb(verbs, "privileged", lambda args: workload.refused(args.name), "add what userns-remap refuses", named=True)
    verb(verbs, "check", lambda args: print(json.dumps(workload.check(args.name), indent=2)),
         "its state as JSON", named=True)

    read = verb(parts, "manifest", manifest_read, "owners, modes, ACLs, contents of a tree in a host, as JSON lines",
                named=True)
    read.add_argument("path", metavar="PATH")
    compare = verb(parts, "compare", manifest_compare, "every difference of two manifests")
    compare.add_argument("before", type=argparse.FileType())
    compare.add_argument("after", type=argparse.FileType())
    compare.add_argument("--translate", metavar="START:COUNT", help="expect `before` shifted by this Docker map")

    verb(parts, "clean", lambda args: clean.everything(), "remove every trace")
    inventory = verb(parts, "inventory", lambda args: print(host.inventory(args.connection)), "for Ansible, as YAML")
    inventory.add_argument("--connection", choices=["ssh", "docker"], default="ssh")
    return top


def verb(verbs, name, do, text=None, named=False):
    made = verbs.add_parser(name, help=text)
    if named:
        made.add_argument("name", metavar="NAME")
    made.set_defaults(do=do)
    return made


def host_up(args):
    if args.workload:
        pristine.up(args.name, args.image, work=WORKLOADS[args.workload])
    else:
        host.up(args.name, args.image)


def manifest_read(args):
    for entry in manifest.of_host(args.name, args.path).values():
        print(json.dumps(entry))


def manifest_compare(args):
    before, after = manifest.parse(args.before.read()), manifest.parse(args.after.read())
    if args.translate:
        before = manifest.translate(before, *map(int, args.translate.split(":")))
    lines = manifest.differences(before, after)
    print("\n".join(lines))
    return bool(lines)


def image_build(args):
    engine.up()
    for name in images.HOSTS:
        images.build_host(name)
    images.build_workloads()


if __name__ == "__main__":
    sys.exit(main())
