#!/bin/sh -eu
# Runs as root: the unit of the system that runs as the shared account.
cp "$(dirname "$0")"/system/* /etc/systemd/system/
systemctl enable sysapp.service
if grep -qv ^0:: /proc/self/cgroup; then
    # Nor gets Podman 4.3 a scope (see units.sh) while the user's manager ends: it would wait for it two minutes.
    install -d /etc/systemd/system/user@.service.d
    printf '[Service]\nTimeoutStopSec=5\n' >/etc/systemd/system/user@.service.d/testbed.conf
fi
