#!/bin/sh -eu
# Runs as the shared account: the units of its services, as Podman writes them.
mkdir -p ~/.config/systemd/user
cd ~/.config/systemd/user

unit() {
    service=$1
    shift
    podman create -q --name "$service" "$@"
    podman generate systemd --new --files --name "$service"
    # Where the machine underneath has cgroups of version 1, Podman 4.3 takes none for its own, and leaves its unit's
    # for a scope: systemd loses sight of all but its own child.
    ! grep -qv ^0:: /proc/self/cgroup ||
        sed -i '/^\t-d /d; /--sdnotify/d; s/^Type=notify/Type=exec/; /^NotifyAccess/d' "container-$service.service"
    podman rm "$service"
    systemctl --user enable "container-$service.service"
}

unit shopdb --env-file /run/secrets-container-db/shopdb.env -v /var/lib/shopdb:/var/lib/mysql \
    -p 127.0.0.1:3306:3306 registry.example.test/shop/db:1
unit webpage -v /var/lib/webpage:/www -v /etc/webpage/httpd.conf:/etc/httpd.conf:ro -p 127.0.0.1:8091:80 \
    --health-cmd 'wget -q -O /dev/null http://127.0.0.1/' --health-interval 5s \
    registry.example.test/web:1 serve 80 /www /www/log
unit localapp --env-file /run/secrets-container-db/localapp.env --secret localapp-token --network localapp \
    -v localapp-data:/data -p 127.0.0.1:8092:80 localhost/localapp:1
unit keepid --userns keep-id -v /var/lib/keepid:/srv -p 127.0.0.1:8093:8093 \
    registry.example.test/web:1 serve 8093 /srv /srv/own/log
