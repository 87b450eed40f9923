"""What accounts use, beside what du, the kernel and Podman say."""

import json

import pytest

from users import REPOSITORY, hosts, load_busybox, play

account_host = hosts("usage")


@pytest.fixture(scope="module")
def web(account_host):
    """An account with an image, a running container and data outside its home."""
    account = account_host.make(name="web")
    load_busybox(account_host, account)
    busy = "while :; do :; done"
    run = ("run", "-d", "--name", "busy", "--network", "none")
    account_host.podman(account, *run, "localhost/busybox", "sh", "-c", busy)
    account_host.sh("install -d -o web /srv/web")
    for directory in ("/srv/web", account["home"]):
        account_host.sh(f"cd {directory}; head -c 5000000 /dev/urandom >data; ln data same")
    return account


def du(machine, *paths):
    """Bytes on disk, of what no mount hides."""
    told = machine.sh(f"du -sxB1 --total {' '.join(paths)} | tail -1")
    return int(told.split()[0])


def test_disk_is_what_du_says_and_counts_nothing_twice(account_host, web):
    home, store = web["home"], f"{web['home']}/.local/share/containers/storage"
    # The kernel counts a file's blocks once it has written it out.
    account_host.sh("sync")
    usage = account_host.usage(directories={"web": ["/srv/web", f"{home}/.local"]})["web"]["usage"]
    assert usage["home"] == du(account_host, home) > usage["storage"] == du(account_host, store) > 1 << 20
    assert usage["data"] == {path: du(account_host, path) for path in ("/srv/web", f"{home}/.local")}
    assert usage["disk"] == du(account_host, home, "/srv/web")


def test_work_is_what_the_kernel_says(account_host, web):
    def cpu():
        text = account_host.read(f"/sys/fs/cgroup/user.slice/user-{web['uid']}.slice/cpu.stat")
        return int(text.split()[1]) / 1e6

    before, usage, after = cpu(), account_host.usage(names=["web"])["web"]["usage"], cpu()
    assert 0 < before <= usage["cpu"] <= after
    running = account_host.sh("ps -eo cgroup:256 | grep -c 'user-%s.slice' || true" % web["uid"])
    assert usage["processes"] == int(running) > 3
    controllers = account_host.read("/sys/fs/cgroup/cgroup.controllers").split()
    assert (usage["memory"] is None) == ("memory" not in controllers)


def test_a_unit_of_the_host_that_runs_as_the_account_counts(account_host, web):
    before = account_host.usage(names=["web"])["web"]["usage"]["processes"]
    account_host.sh("systemd-run --unit=of-web --uid=web sleep 300")
    assert account_host.usage(names=["web"])["web"]["usage"]["processes"] == before + 1
    account_host.sh("systemctl stop of-web")


def test_every_account_with_a_range_or_a_store_is_told(account_host, web):
    account_host.sh("useradd --system --create-home stored; useradd --system plain; "
                    "install -d -o stored /home/stored/.local/share/containers/storage")
    found = account_host.usage()
    assert list(found) == ["admin", "stored", "web"]
    assert found["web"]["subuid"] == web["subuid"] and found["web"]["linger"] and not found["stored"]["linger"]
    assert found["stored"]["subuid"] == [] and found["stored"]["runtime_dir"] is None


def test_the_playbook_shows_a_table_and_writes_json(account_host, web, tmp_path):
    file = tmp_path / "usage.json"
    told = play(account_host, "-e", f"usage_json={file}", "-e", '{"usage_directories": {"web": ["/srv/web"]}}',
                playbook=REPOSITORY / "playbooks" / "account_usage.yml")
    rows = [line.strip(' ",').split() for line in told.splitlines() if f'"{account_host.name}' in line]
    assert ["web", "4.77", "MB"] in [[row[1], *row[6:8]] for row in rows], told
    [(name, accounts)] = json.loads(file.read_text()).items()
    assert name == account_host.name and "web" in [account["name"] for account in accounts]
