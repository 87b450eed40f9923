#!/bin/sh -eu
# mmdebstrap customize hook: turns the Debian root $1 into the system of a cloud image, with a boot loader to be
# written in front of its file system.
root=$1
echo 'LABEL=root / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
cat >"$root/etc/cloud/cloud.cfg.d/90_testbed.cfg" <<'END'
datasource_list: [ NoCloud, None ]
# The only one that there is.
locale: C.UTF-8
# The others take seconds to make.
ssh_genkeytypes: [ ed25519 ]
END
chroot "$root" systemctl enable -q systemd-networkd systemd-resolved

mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<'END'
# On a busy machine the kernel would take the emulated timer for broken, and panic.
linux /vmlinuz root=LABEL=root ro console=ttyS0 quiet no_timer_check
initrd /initrd.img
boot
END
chroot "$root" grub-mkimage --format i386-pc --output /boot/grub/core.img --prefix '(hd0,msdos1)/boot/grub' \
    biosdisk boot configfile ext2 linux normal part_msdos

# What starts only to find nothing to do takes seconds where the processor is emulated.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hostname" "$root/etc/apt/apt.conf.d/99mmdebstrap"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
: >"$root/etc/machine-id"
