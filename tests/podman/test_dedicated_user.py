"""Accounts are made whole or not at all, and go only where nothing of them is left."""

import json
import shutil
import subprocess

import pytest

from users import FILES, host, hosts, in_turn, load_busybox, play

account_host = hosts("accounts")
STEPS = ["group", "account", "ranges", "open", "home", "secrets_dir", "linger"]
POINTS = ["begun", *(f"{when}:{step}" for step in STEPS for when in ("started", "applied", "done")), "committed"]


@pytest.fixture
def bare(account_host):
    """A host without the account, on which Podman as root has closed the directory of the homes."""
    clean(account_host)
    return account_host


def clean(machine):
    # By hand, whatever state a test has left it in.
    machine.sh("""
        for name in web other silly-tavern; do
            if uid=$(id -u $name 2>/dev/null); then
                loginctl disable-linger $name
                systemctl stop user@$uid user-runtime-dir@$uid
                pkill -KILL -u $name || true
                while pgrep -u $name >/dev/null; do sleep 0.1; done
                userdel $name
            fi
            groupdel $name 2>/dev/null || true
            rm -rf /run/secrets-$name /etc/tmpfiles.d/bulkhead-secrets-$name.conf
        done
        rm -rf /var/lib/bulkhead /var/lib/containers /dev/shm/libpod_rootless_lock_* /etc/NIXOS /var/lib/nixos /srv/*
        printf 'admin:100000:65536\n' >/etc/subuid; cp /etc/subuid /etc/subgid
        install -d -m 0700 /var/lib/containers
    """)


@pytest.fixture
def web(bare):
    """The account, made."""
    return bare.make(name="web")


def assert_whole(machine, account):
    """The account is as the module says, and as it should be."""
    name, uid = account["name"], account["uid"]
    assert machine.sh(f"getent passwd {name}").split(":")[2:4] == [str(uid), str(account["gid"])]
    assert machine.sh(f"stat -c '%a %U:%G' {account['home']}") == f"700 {name}:{name}"
    assert machine.sh(f"stat -c '%a %U:%G' {account['secrets_dir']}") == f"750 root:{name}"
    assert machine.sh(f"systemctl is-active user@{uid}") == "active"
    assert machine.sh(f"loginctl show-user {name} -p Linger --value") == "yes"
    assert machine.sh(f"test -S {account['runtime_dir']}/bus && echo there") == "there"
    for kind in ("subuid", "subgid"):
        lines = [line.split(":") for line in machine.read(f"/etc/{kind}").splitlines()]
        own = [{"start": int(start), "count": int(count)} for owner, start, count in lines if owner == name]
        assert own == account[kind]
        ranges = sorted((int(start), int(start) + int(count)) for _, start, count in lines)
        assert all(end <= start for (_, end), (start, _) in zip(ranges, ranges[1:])), ranges


def test_an_account_is_made_and_a_second_run_changes_nothing(bare):
    before = bare.traces()
    foretold = bare.module(check_mode=True, name="web")
    assert foretold["changed"] and bare.traces() == before
    made = bare.make(name="web")
    assert made["changed"] and made["steps"] == STEPS
    assert {key: made[key] for key in made if key != "invocation"} == \
        {key: foretold[key] for key in foretold if key != "invocation"}
    [diff] = made["diff"]
    assert diff["before"] == "" and "subuid: 165536:65536\n" in diff["after"]
    assert_whole(bare, made)
    there = bare.traces()
    for check in (True, False):
        again = bare.module(check_mode=check, name="web")
        assert not again["changed"] and again["steps"] == [] and bare.traces() == there
        assert again["diff"][0]["before"] == again["diff"][0]["after"] == diff["after"]


def test_what_drifted_is_put_right(bare, web):
    bare.sh(f"chmod 0755 {web['home']}; chgrp root /run/secrets-web; sed -i /web/d /etc/subgid")
    bare.sh("loginctl disable-linger web; while pgrep -u web >/dev/null; do sleep 0.1; done")
    again = bare.make(name="web", comment="The web")
    assert again["steps"] == ["change", "ranges", "home", "secrets_dir", "linger"]
    assert_whole(bare, again)
    assert bare.sh("getent passwd web").split(":")[4] == "The web"


def test_it_is_all_there_after_a_reboot(bare, web):
    host.reboot(bare.name)
    assert_whole(bare, web)
    assert not bare.module(name="web")["changed"]


def test_a_rootless_container_runs_with_the_ids_that_were_told(bare, web):
    load_busybox(bare, web)
    start = web["subuid"][0]["start"]
    run = ("run", "--rm", "--network", "none", "-v", f"{web['home']}:/home", "localhost/busybox", "sh", "-c")
    seen = bare.podman(web, *run, "cat /proc/self/uid_map; mkdir /home/of-999; chown 999:999 /home/of-999")
    assert [line.split() for line in seen.splitlines()] == [["0", str(web["uid"]), "1"], ["1", str(start), "65536"]]
    assert bare.sh(f"stat -c %u:%g {web['home']}/of-999") == f"{start + 998}:{start + 998}"


def each_in_turn(*names, cases):
    """Cases by name, or of one value each that is its name, each on one of the Debians."""
    cases = cases.items() if isinstance(cases, dict) else ((case, [case]) for case in cases)
    cases = in_turn((name, *values) for name, values in cases)
    return pytest.mark.parametrize(("account_host", *names), cases, indirect=["account_host"])


AWKWARD = {
    "gap below": ("admin:165536:65536\n", "admin:165536:65536\n", 100000),
    "each file another gap": ("admin:100000:65536\na:300000:65536\n", "b:165536:65536\nc:231072:68928\n", 365536),
    "no final newline, comments": ("# ids\n\nadmin:100000:65536", "admin:100000:65536\n\n#x:165536:65536", 165536),
    "owners that are no accounts": ("gone:100000:1\n4711:100100:10\n", "gone:165640:5\n", 165645),
    "lines that are none": ("admin:100000:65536\nbroken:165536\n:1:2\nx:y:z\n", "admin:100000:65536\n", 165536),
    "the next uid's own line": ("1001:500000:10\nadmin:100000:65536\n", "admin:100000:65536\n", 165536),
}


@each_in_turn("subuid", "subgid", "start", cases=AWKWARD)
def test_ranges_are_nobody_elses(bare, subuid, subgid, start):
    bare.write("/etc/subuid", subuid)
    bare.write("/etc/subgid", subgid)
    made = bare.make(name="web")
    expected = [{"start": start, "count": 65536}]
    assert made["subuid"] == made["subgid"] == expected
    for kind, before in (("subuid", subuid), ("subgid", subgid)):
        lines = bare.read(f"/etc/{kind}").splitlines()
        assert lines == [*before.splitlines(), f"web:{start}:65536"]
    assert ("broken" in subuid) == ("warnings" in made)


def test_ranges_that_others_have_are_refused(bare):
    said = bare.refused(name="web", subid_start=165535)["msg"]
    assert "100000:65536 of admin" in said and "/etc/subuid" in said
    made = bare.make(name="web", subid_start=400000, subid_count=1000)
    assert made["subuid"] == made["subgid"] == [{"start": 400000, "count": 1000}]


@each_in_turn("point", cases=POINTS)
def test_a_killed_run_is_undone_or_finished_by_the_next_for_anybody(bare, point):
    before = bare.traces()
    assert bare.module(fault=f"kill@{point}", name="web") is None
    done = bare.make(name="other", state="absent")
    outcome = "finished" if point == "committed" else "undone"
    assert done["warnings"] == [f"an earlier run for web was interrupted; its change has been {outcome}"]
    if outcome == "undone":
        assert bare.traces() == before
    assert_whole(bare, bare.make(name="web"))


@each_in_turn("point", cases=["undone:linger", "undone:secrets_dir", "undone:home", "undone:ranges", "undone:account"])
def test_an_undo_that_is_killed_is_taken_up_again(bare, point):
    before = bare.traces()
    assert bare.module(fault="kill@done:linger", name="web") is None
    assert bare.module(fault=f"kill@{point}", name="web") is None
    bare.make(name="other", state="absent")
    assert bare.traces() == before


@each_in_turn("point", cases=["applied:account", "done:ranges", "done:linger", "committed"])
def test_a_power_cut_is_survived(bare, point):
    assert bare.module(fault=f"kill@{point}", name="web") is None
    host.crash(bare.name)
    assert_whole(bare, bare.make(name="web"))


@each_in_turn("point", cases=STEPS)
def test_a_step_that_fails_takes_all_back(bare, point):
    before = bare.traces()
    said = bare.module(fault=f"fail@applied:{point}", name="web")
    assert said["failed"] and "everything was taken back" in said["msg"]
    assert bare.traces() == before


@each_in_turn("point", cases=["begun", "started:linger", "applied:linger", "done:linger", "applied:remove",
                              "committed"])
def test_a_killed_removal_leaves_the_account_whole_or_gone(bare, web, point):
    with_account = bare.traces()
    assert bare.module(fault=f"kill@{point}", name="web", state="absent", remove_home=True) is None
    bare.make(name="other", state="absent")
    if point == "committed":
        assert bare.sh("getent passwd web || echo gone") == "gone" and not bare.sh("ls -A /var/lib/containers")
    else:
        assert_whole(bare, web)
        assert {path: bare.traces()[path] for path in FILES} == {path: with_account[path] for path in FILES}
    assert bare.make(name="web", state="absent", remove_home=True)["changed"] == (point != "committed")


def test_a_group_that_was_there_outlives_an_undo(bare):
    bare.sh("groupadd --gid 4242 web")
    before = bare.traces()
    assert bare.module(fault="fail@applied:linger", name="web")["failed"]
    assert bare.traces() == before
    assert bare.make(name="web")["gid"] == 4242


BACKGROUND = ">/dev/null 2>&1 &"
UNIT = r"[Service]\nUser=web\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n"
LEFT = {
    "process": (f"runuser -u web -- sleep 300 {BACKGROUND}", "pkill -u web sleep", "processes of its own: "),
    "process with a subordinate id": (f"setpriv --reuid 165600 --clear-groups sleep 300 {BACKGROUND}",
                                      "pkill -u 165600 sleep", "(sleep 300)"),
    "unit": ("install -D /dev/null HOME/.config/systemd/user/default.target.wants/x.service", "rm -r HOME/.config",
             "default.target.wants/x.service"),
    "quadlet": ("install -D /dev/null /etc/containers/systemd/users/UID/x.container", "rm -r /etc/containers/systemd",
                "/etc/containers/systemd/users/UID/x.container"),
    "unit of the host": (f"printf '{UNIT}' >/run/systemd/system/x.service; systemctl start x",
                         "systemctl stop x; rm /run/systemd/system/x.service; systemctl daemon-reload",
                         "units of its own: x.service"),
    "file": ("install -D -o web /dev/null /srv/a/file", "rm -r /srv/a", "1 files outside its home that belong to it"),
    "file of a subordinate id": ("install -D -g 165700 /dev/null /srv/a/file", "rm -r /srv/a", "/srv/a/file"),
    "file in memory": ("install -o web /dev/null /run/file", "rm /run/file", "/run/file"),
    "secret": ("install /dev/null /run/secrets-web/key", "rm /run/secrets-web/key", "secrets in /run/secrets-web: "),
    "crontab": ("install -D -o web /dev/null /var/spool/cron/crontabs/web", "rm -r /var/spool/cron", "crontabs/web"),
}


@each_in_turn("leave", "remove", "reads", cases=LEFT)
def test_what_is_left_of_an_account_is_listed_and_keeps_it(bare, web, leave, remove, reads):
    bare.sh(of(web, leave))
    result = bare.refused(name="web", state="absent")
    assert of(web, reads) in result["msg"]
    assert result["searched"]["complete"] and {"/", "/var", "/run"} <= set(result["searched"]["mounts"])
    bare.sh(of(web, remove))
    assert bare.make(name="web", state="absent", remove_home=True)["changed"]
    assert "web" not in "".join(bare.traces().values())


def of(account, text):
    return text.replace("HOME", account["home"]).replace("UID", str(account["uid"]))


def test_a_stopped_container_keeps_its_account(bare, web):
    load_busybox(bare, web)
    bare.podman(web, "create", "--name", "shop", "localhost/busybox")
    assert "containers of its own: shop" in bare.refused(name="web", state="absent")["msg"]
    bare.podman(web, "rm", "shop")
    assert bare.make(name="web", state="absent")["warnings"][0].startswith(f"{web['home']} stays")
    # The host's own store may be beside it.
    assert bare.sh("ls /var/lib/containers").split()[-1] == "web"


def test_what_is_mounted_in_its_home_does_not_go_with_it(bare, web):
    bare.sh(f"mkdir /srv/data {web['home']}/data; touch /srv/data/precious; mount --bind /srv/data {web['home']}/data")
    said = bare.refused(name="web", state="absent", remove_home=True)["msg"]
    bare.sh(f"umount {web['home']}/data")
    assert "mounts in its home" in said
    bare.make(name="web", state="absent", remove_home=True)
    assert bare.sh("ls /srv/data") == "precious"


def test_names_are_refused_with_a_proposal_that_is_taken(bare):
    result = bare.refused(name="Silly-Tavern")
    assert result["adjusted"] == ["Silly-Tavern -> silly-tavern"]
    assert_whole(bare, bare.make(name=result["adjusted"][0].split()[-1]))
    for name in ("storage", "cache"):
        assert f"/var/lib/containers/{name}, which is Podman's own" in bare.refused(name=name)["msg"]


def test_a_home_of_somebody_elses_is_refused(bare):
    bare.sh("install -d -o admin /var/lib/containers/web")
    assert "belongs to uid 1000, not 1001" in bare.refused(name="web")["msg"]


@pytest.mark.parametrize("group", ["docker", "podman"])
def test_membership_that_is_as_good_as_root_is_warned_of(bare, group):
    bare.sh(f"groupadd -f --system {group}")
    made = bare.make(name="web", groups=[group])
    assert f"in the group {group}, whose members are as good as root" in made["warnings"][0]
    assert bare.sh("id -nG web").split() == ["web", group]
    assert bare.make(name="web", groups=[])["steps"] == ["change"]
    assert bare.sh("id -nG web") == "web"


# A stand-in for NixOS: its mark, its list of declared accounts, and what its activation makes of the lines.
def nixos(machine, declared=""):
    machine.write("/etc/NIXOS", "")
    machine.write("/var/lib/nixos/declarative-users", declared)


def test_on_a_stand_in_for_nixos_nothing_is_changed_and_the_lines_are_told(bare):
    nixos(bare)
    result = bare.refused(name="web", uid=1234, groups=["users"], comment='It is "${web}"', subid_count=70000)
    assert "this is NixOS" in result["msg"] and result["declared"] == {}
    lines = result["nix"]
    for line in ('users.groups."web" = { };', "isSystemUser = true;", "uid = 1234;", "linger = true;",
                 'extraGroups = [ "users" ];', "subUidRanges = [ { startUid = 165536; count = 70000; } ];",
                 '"d /run/secrets-web 0750 root web -"'):
        assert line in lines, lines
    assert "autoSubUidGidRange = true;" in bare.refused(name="web")["nix"]
    assert "call it sillytavern" in bare.refused(name="Silly Tavern")["msg"]
    if not shutil.which("nix-instantiate"):
        pytest.skip("needs nix-instantiate, of Debian's nix-bin, to read the lines")
    read = subprocess.run(["nix-instantiate", "--eval", "--strict", "--json", "-E", f"{{ {lines} }}"],
                          text=True, capture_output=True, check=False)
    assert read.returncode == 0, read.stderr
    user = json.loads(read.stdout)["users"]["users"]["web"]
    assert user["description"] == 'It is "${web}"' and user["subGidRanges"] == [{"startGid": 165536, "count": 70000}]


def test_on_a_stand_in_for_nixos_what_is_declared_is_enough(bare, web):
    nixos(bare, "root web")
    there = bare.traces()
    result = bare.make(name="web")
    assert not result["changed"] and result["subuid"] == web["subuid"] and bare.traces() == there
    bare.sh("loginctl disable-linger web")
    result = bare.refused(name="web")
    assert result["missing"] == ["its lingering"] and result["declared"]["uid"] == web["uid"]
    assert result["nix"] == 'users.users."web" = {\n  linger = true;\n};\n'
    bare.sh("printf 'other:165536:10\n' >>/etc/subuid")
    assert "of other" in bare.refused(name="web")["msg"]
    said = bare.refused(name="web", state="absent")
    assert "out of the configuration" in said["msg"] and said["nix"] == ""


def test_the_collection_makes_it_over_ssh_with_check_and_diff(bare):
    tasks = [{"bulkhead.hosts.dedicated_user": {"name": "web"}, "register": "made"},
             {"ansible.builtin.debug": {"msg": "uid={{ made.uid }} changed={{ made.changed }}"}}]
    said = play(bare, "--check", "--diff", tasks=tasks)
    assert "+subuid: 165536:65536" in said and "uid=1001 changed=True" in said
    assert bare.sh("getent passwd web || echo none") == "none"
    assert "uid=1001 changed=True" in play(bare, tasks=tasks)
    assert "uid=1001 changed=False" in play(bare, tasks=tasks)
