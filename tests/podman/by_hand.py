"""What a service's container sees of its data, for the molecule scenario: by_hand.py HOST ACCOUNT SERVICE

Prints owners, modes and contents as JSON, but for what the service writes to."""

import json
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "e2e")]

from services import Services  # noqa: E402
from testbed import host, rootless  # noqa: E402


def main(name, account, service):
    inside = Services(name, host.image_of(name)).owned_inside(service, account)
    grows = rootless.SERVICES[service].grows
    print(json.dumps({path: entry for path, entry in inside.items() if path not in grows}, sort_keys=True))


main(*sys.argv[1:])
