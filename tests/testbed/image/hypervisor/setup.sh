#!/bin/sh -eu
# mmdebstrap customize hook: turns the Debian root $1 into a hypervisor host, with the kernel and the initial root of
# tiny guests in /usr/local/lib/guest.
root=$1
here=$(dirname "$0")
"$here/host.sh" "$root"

# There is neither AppArmor nor SELinux below the host.
echo 'security_driver = "none"' >>"$root/etc/libvirt/qemu.conf"

guest=$root/usr/local/lib/guest
work=$root/tmp/guest
mkdir -p "$guest" "$work/packages" "$work/initrd/modules"
cd "$work/packages"
# Installed, the kernel would come with what makes an initial root of its own.
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/ *Depends: \(linux-image-.*\)/\1/p')
apt-get download -q "$kernel" >/dev/null
dpkg-deb -x ./*.deb "$work/kernel"
version=${kernel#linux-image-}
version=${version%-unsigned}
cp "$work/kernel/boot/vmlinuz-$version" "$guest/kernel"

# modprobe knows what has to come before what.
[ -d "$work/kernel/lib" ] || ln -s usr/lib "$work/kernel/lib"
chroot "$root" depmod -b /tmp/guest/kernel "$version"
chroot "$root" modprobe -d /tmp/guest/kernel -S "$version" --show-depends -a \
    ext4 virtio_pci virtio_blk virtio_console button evdev |
    sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | nl -w2 -nrz |
    while read -r number module; do
        name=$(basename "$module" .xz)
        case $module in
        *.xz) xz -dc "$root$module" ;;
        *) cat "$root$module" ;;
        esac >"$work/initrd/modules/$number-$name"
    done

mkdir -p "$work/initrd/bin" "$work/initrd/sbin"
cp "$root/bin/busybox" "$work/initrd/bin/busybox"
install -m 0755 "$here/guest-init" "$work/initrd/init"
# Not compressed: unpacking costs more than reading where the processor is emulated.
chroot "$root" sh -euc 'cd /tmp/guest/initrd; find . | busybox cpio -o -H newc' >"$guest/initrd"

# The agent and its libraries, unpacked on top of the other.
mkdir "$work/agent"
# shellcheck disable=SC2016  # ldd runs in the root
chroot "$root" sh -euc 'cp -L --parents /usr/sbin/qemu-ga $(ldd /usr/sbin/qemu-ga | grep -o "/[^ ]*") /tmp/guest/agent
    cd /tmp/guest/agent; find . | busybox cpio -o -H newc' >"$work/agent.cpio"
cat "$guest/initrd" "$work/agent.cpio" >"$guest/initrd-agent"
cd /
rm -r "$work"
