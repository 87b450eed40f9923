"""A compose project, of which one service has to stay in the host's user namespace."""

SHOP = "/opt/shop"
PROJECT = """\
version: "3.7"
services:
  firewall:
    image: bulkhead/busybox
    container_name: firewall
    network_mode: host
    stop_grace_period: 1s
    command: sh -c "trap exit TERM; while :; do sleep 0.2; done"
  web:
    image: bulkhead/busybox
    container_name: web
    stop_grace_period: 1s
    command: sh -c "trap exit TERM; while :; do sleep 0.2; done"
"""
OVERRIDE = """\
# ours
version: "3.7"
services:
  web:
    environment:  # theirs
      COLOUR: blue
"""


def compose_up(machine):
    """Bring it up with the compose that the host has."""
    compose = machine.sh("docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose")
    machine.sh(f"cd {SHOP}; {compose} up -d")
