#!/bin/sh -eu
# mmdebstrap customize hook: turns the Debian root $1 into a test host. $PUBLIC_KEY may log in.
root=$1
for home in root home/admin; do
    [ "$home" = root ] || chroot "$root" useradd --create-home --shell /bin/bash admin
    install -d -m 0700 "$root/$home/.ssh"
    install -m 0600 "$PUBLIC_KEY" "$root/$home/.ssh/authorized_keys"
done
chroot "$root" chown -R admin:admin /home/admin
echo 'admin ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/admin"

install -m 0755 "$(dirname "$0")/host-init" "$root/usr/local/sbin/host-init"

# No pids controller is delegated where the machine itself still runs cgroup v1.
mkdir -p "$root/etc/containers"
printf '[containers]\npids_limit = 0\n' >"$root/etc/containers/containers.conf"
# Podman 4.3 falls back to vfs where nothing is said.
printf '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' \
    >"$root/etc/containers/storage.conf"

# The journal must outlive a reboot: tests read there what ran in between.
mkdir -p "$root/var/log/journal" "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=persistent\nSystemMaxUse=64M\n' >"$root/etc/systemd/journald.conf.d/testbed.conf"

# Nothing may wake up in the middle of a test.
for timer in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all fstrim podman-auto-update; do
    ln -sf /dev/null "$root/etc/systemd/system/$timer.timer"
done
rm -f "$root/etc/machine-id" "$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/apt/apt.conf.d/99mmdebstrap"
: >"$root/etc/machine-id"
