#!/bin/sh -eu
# The first process in the name spaces of this_machine.py: gives them a /var and so on of their own, below the directory
# $1, and starts libvirt there.
cd "$1"
mkdir -p work var/cache var/lib/libvirt/images var/log/libvirt/qemu var/tmp
ln -sfn /run var/run
mount -t overlay -o lowerdir=/usr/local,upperdir=local,workdir=work overlay /usr/local
mount --bind var /var
for place in /etc/libvirt /run /tmp; do mount -t tmpfs tmpfs "$place"; done
# libvirt does without cgroups where it finds none; with them it would leave some behind.
! mountpoint -q /sys/fs/cgroup || umount -R /sys/fs/cgroup
echo 'security_driver = "none"' >/etc/libvirt/qemu.conf
# The user of QEMU comes with the unit of libvirtd, which is in another package.
id libvirt-qemu >/dev/null 2>&1 || printf '%s = "root"\n' user group >>/etc/libvirt/qemu.conf
virtlogd --daemon
libvirtd --daemon
echo ready
# Reaps what becomes an orphan, as every QEMU does.
sleep infinity &
wait
