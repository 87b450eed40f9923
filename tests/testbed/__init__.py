"""The testbed: real systemd hosts, in containers of a Docker engine of our own."""
