"""What a program asks of the kernel, as strace(1) tells."""

import re

OWNER = {"chown", "lchown", "fchown", "fchownat"}
REST = {"chmod", "fchmod", "fchmodat", "setxattr", "lsetxattr", "fsetxattr"}
LINE = re.compile(r"(?P<thread>\d+) +(?P<resumed><\.\.\. )?(?P<call>\w+)(?P<arguments>.*)")
# A descriptor with what it is open for, or the current directory; then a name.
AT = re.compile(r'\((?P<at>\w+)<(?P<directory>[^>]*)>(?:, "(?P<name>[^"]*)")?')
PATH = re.compile(r'\("(?P<name>[^"]*)"')


def tracer(log):
    """The command before one that is to be traced into the file `log`."""
    calls = ",".join(sorted(OWNER | REST | {"openat", "chroot"}))
    return ["strace", "-f", "-qq", "-y", "-s", "4096", "-o", log, "-e", f"trace={calls}"]


def killer(log, calls, number):
    """The command before one that is to be killed when one of its threads makes such a call for that time."""
    calls = ",".join(sorted(calls))
    return ["strace", "-f", "-q", "-o", log, "-e", f"trace={calls}",
            "-e", f"inject={calls}:signal=SIGKILL:when={number}"]


def was_killed(log):
    return "+++ killed by SIGKILL +++" in log.read_text(encoding="utf-8")


def read(log):
    return [match for match in map(LINE.match, log.read_text(encoding="utf-8").splitlines()) if match]


def is_parallel(log, where):
    """Whether a change of owner in the tree whose path matches `where` began while another thread's was not over."""
    under_way = set()
    for line in read(log):
        if line["call"] not in OWNER:
            continue
        if line["resumed"]:
            under_way.discard(line["thread"])
        elif re.search(where, line["arguments"]):
            if under_way - {line["thread"]}:
                return True
            if line["arguments"].endswith("<unfinished ...>"):
                under_way.add(line["thread"])
    return False


def by_path(log, where):
    """Which kinds of call ("owner", "rest", "open") reach things in the tree whose path matches `where` by a name
    that could be swapped for a link: it has several components, or the call follows the last one. And whether that
    was in a chroot(2)."""
    kinds, confined = set(), False
    for line in read(log):
        if line["resumed"]:
            continue
        call = line["call"]
        if call == "chroot" and not kinds:
            confined = True
        elif is_swappable(call, line["arguments"], where):
            kinds.add("owner" if call in OWNER else "rest" if call in REST else "open")
    return kinds, confined


def is_swappable(call, arguments, where):
    match = AT.match(arguments) or PATH.match(arguments)
    name = match and match["name"]
    if not name or name.startswith("/proc/self/fd/"):
        return False
    if name.startswith("/"):
        inside, several = re.match(f"{where}/", name), True
    else:
        inside, several = "at" not in match.groupdict() or re.match(where, match["directory"]), "/" in name
    follows = not call.startswith("l") and not re.search("NOFOLLOW|AT_EMPTY_PATH", arguments)
    return bool(inside) and (several or follows)
