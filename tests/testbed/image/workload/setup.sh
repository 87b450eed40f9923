#!/bin/sh -eu
# mmdebstrap customize hook: puts the workloads' entry points into the Debian root $1.
root=$1
install -m 0755 "$(dirname "$0")/dns-entrypoint" "$(dirname "$0")/db-entrypoint" "$root/usr/local/bin/"
rm -rf "$root/var/lib/mysql" "$root/etc/apt/apt.conf.d/99mmdebstrap"
install -d "$root/data"
