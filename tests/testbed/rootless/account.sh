#!/bin/sh -eu
# Runs as root in every test host: what the shared account has outside of /var.
account=container-db
groupadd --system --gid 985 $account
useradd --system --uid 990 --gid $account --home-dir /var/lib/containers/$account --shell /usr/sbin/nologin $account
# Other numbers for groups than for users, so that nobody may take one for the other.
usermod --add-subuids 300000-365535 --add-subgids 400000-465535 $account
install -d -o $account -g $account -m 0700 /var/lib/containers/$account

install -d /etc/containers/containers.conf.d /etc/webpage
# Test hosts have no nft.
printf '[network]\nfirewall_driver = "iptables"\n' >/etc/containers/containers.conf.d/testbed.conf
printf '.svg:image/svg+xml\n' >/etc/webpage/httpd.conf

# Stands in for what decrypts the secrets at each boot, as /run is empty then.
install -m 0755 /dev/stdin /usr/local/sbin/deploy-secrets <<'SCRIPT'
#!/bin/sh -eu
install -d -m 0750 -g container-db /run/secrets-container-db
cd /run/secrets-container-db
for service in shopdb localapp; do
    install -m 0400 -o container-db -g container-db /dev/null $service.env
    echo "TOKEN=only-for-$service" >$service.env
done
SCRIPT
cat >/etc/systemd/system/deploy-secrets.service <<'UNIT'
[Unit]
Before=systemd-user-sessions.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/deploy-secrets
[Install]
WantedBy=multi-user.target
UNIT
systemctl enable --now deploy-secrets.service
