"""Tiny guests from the command line, for the molecule scenario: by_hand.py HOST GUEST VERB …

    up           define and start it, unless it is there
    write PATH   write a file in it that holds its name
    has PATH     tell whether it has the file, once it answers: yes or no"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from guest import Guest  # noqa: E402
from hypervisor import Hypervisor  # noqa: E402
from testbed import host  # noqa: E402


def main(name, guest, verb, *arguments):
    hypervisor = Hypervisor(name, host.image_of(name))
    found = hypervisor.run("virsh", "domuuid", guest, check=False).stdout.strip()
    made = Guest(hypervisor, guest, **({"uuid": found} if found else {}))
    if verb == "up":
        if not found:
            made.define()
        if made.state == "shut off":
            made.start()
    elif verb == "write":
        made.write(*arguments, guest)
    else:
        made.wait_running()
        print("yes" if made.exists(*arguments) else "no")


main(*sys.argv[1:])
