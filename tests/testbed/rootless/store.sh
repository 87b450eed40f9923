#!/bin/sh -eu
# Runs as the shared account, once: what its store holds beside containers, and what the services start with.
cd "$(dirname "$0")"
podman tag localhost/bulkhead/db:latest registry.example.test/shop/db:1
podman build -q -t registry.example.test/web:1 -f images/web.Containerfile images
podman build -q -t localhost/localapp:1 -f images/localapp.Containerfile images
podman build -q -t localhost/pause:1 -f images/pause.Containerfile images

printf only-for-localapp | podman secret create localapp-token -
podman volume create localapp-data
# Test hosts have no aardvark-dns.
podman network create --disable-dns --subnet 10.99.1.0/24 localapp
# What only the host's root may set is set by `trusted.sh`.
sed /trusted/d owners.sh | podman unshare sh -eus "$(podman volume inspect -f '{{.Mountpoint}}' localapp-data)/owners"

as_inside() {
    podman run --rm -i --user 0:0 "$@" registry.example.test/web:1 sh -eu -s
}
as_inside -v /var/lib/webpage:/data <<'SCRIPT'
cd /data
echo '<h1>bulkhead web page</h1>' >index.html
for id in 0 5 33 65534; do
    echo $id >$id && chown $id:$id $id
done
SCRIPT
# At its first use Podman gives a volume the owner that the image has there.
as_inside -v localapp-data:/data <<'SCRIPT'
chown 33:33 /data
SCRIPT
as_inside --userns keep-id -v /var/lib/keepid:/data <<'SCRIPT'
cd /data
mkdir own
chown 990:985 own
for id in 0 5 989 990 991 1000 60000; do
    echo $id >$id && chown $id:$id $id
done
echo mixed >mixed && chown 990:5 mixed
SCRIPT
