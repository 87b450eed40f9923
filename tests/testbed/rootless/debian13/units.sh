#!/bin/sh -eu
# Runs as the shared account: its quadlets, of which some lie in /etc.
cd "$(dirname "$0")"
mkdir -p ~/.config/containers/systemd ~/.config/systemd/user
cp home/* ~/.config/containers/systemd/
cp user/* ~/.config/systemd/user/
systemctl --user enable localapp-report.timer
