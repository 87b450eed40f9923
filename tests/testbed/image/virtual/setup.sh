#!/bin/sh -eu
# mmdebstrap customize hook: turns the Debian root $1 into a test host that a virtual machine boots.
root=$1
"$(dirname "$0")/../host/setup.sh" "$root"
printf '[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\n' >"$root/etc/systemd/network/testbed.network"
chroot "$root" systemctl enable -q systemd-networkd
# It would wait for a network that nobody needs.
ln -sf /dev/null "$root/etc/systemd/system/systemd-networkd-wait-online.service"
# Podman wants to copy one for a container with a network of its own.
: >"$root/etc/resolv.conf"
# On a busy machine a container takes longer to start than units have by themselves.
for manager in system user; do
    install -d "$root/etc/systemd/$manager.conf.d"
    printf '[Manager]\nDefaultTimeoutStartSec=10min\n' >"$root/etc/systemd/$manager.conf.d/testbed.conf"
done
