#!/bin/sh -eu
# Runs as root: the quadlets in /etc, one of them of the system.
cd "$(dirname "$0")"
install -d /etc/containers/systemd/users/990
cp -r etc/. /etc/containers/systemd/users/990/
cp system/* /etc/containers/systemd/
