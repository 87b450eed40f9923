//! The strategy `idmap` on real mounts, each test in a mount namespace of its own, which takes them along when it
//! ends.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{machine::Machine, owner, restored, to_docker, with};
use serde_json::{Value, json};
use std::{
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, chown},
    process::Stdio,
};

fn verified() -> Value {
    with(to_docker(), json!({"state": "verified"}))
}

#[test]
fn shown_then_unchanged_then_restored_then_unchanged() {
    let machine = Machine::new();
    let data = machine.host.data();
    let first = machine.run(to_docker());
    assert_eq!(first["changed"], true, "{first}");
    assert_eq!(first["services"], json!(["docker.service"]));
    assert_eq!(machine.seen(&data), "100000:100000");
    assert_eq!(machine.seen(&data.join("sub/file")), "100005:100006");
    // Outside the namespace there is no mount: what is there is what is on disk.
    assert_eq!(machine.host.owner("sub/file"), (5, 6));
    let options = machine.options_of(&data);
    for option in ["idmapped", "nosuid", "nodev"] {
        assert!(options.contains(option), "{options}");
    }
    machine.sh("cd $1 && setpriv --reuid 100000 --regid 100000 --clear-groups sh -c ': >new'");
    assert_eq!(machine.host.owner("new"), (0, 0));
    assert!(!machine.changes(verified()));
    let second = machine.run(to_docker());
    assert_eq!(
        (&second["changed"], machine.options_of(&data)),
        (&json!(false), options)
    );
    let back = machine.run(restored());
    assert_eq!(back["changed"], true, "{back}");
    assert_eq!(machine.options_of(&data), "");
    assert_eq!(
        (machine.seen(&data), machine.traces()),
        ("0:0".into(), String::new())
    );
    assert!(!machine.changes(restored()));
}

#[test]
fn a_unit_mounts_it_before_what_needs_it() {
    let machine = Machine::new();
    let first = machine.run(with(
        to_docker(),
        json!({"services": ["a.service", "b.service"]}),
    ));
    let unit = first["unit"].as_str().unwrap();
    let text = machine.sh(&format!("cat '/etc/systemd/system/{unit}'"));
    assert!(
        text.contains("Before=a.service b.service bulkhead-recover.service shutdown.target"),
        "{text}"
    );
    let traces = machine.traces();
    for link in [
        "a.service.requires",
        "b.service.requires",
        "multi-user.target.wants",
    ] {
        assert!(traces.contains(&format!("{link}/{unit}")), "{traces}");
    }
    assert!(
        traces.contains("/var/lib/bulkhead/volume_rechown"),
        "{traces}"
    );
    // As after a boot.
    machine.sh("umount $1");
    machine.sh(&format!("systemctl start '{unit}'"));
    assert_eq!(machine.seen(&machine.host.data()), "100000:100000");
    // Others may need it, while it stays mounted.
    let mount = machine.options_of(&machine.host.data());
    let other = machine.run(with(to_docker(), json!({"services": ["c.service"]})));
    assert_eq!(other["changed"], true);
    let traces = machine.traces();
    assert!(traces.contains("c.service.requires") && !traces.contains("/a.service.requires"));
    assert_eq!(machine.options_of(&machine.host.data()), mount);
}

#[test]
fn check_mode_tells_and_changes_nothing() {
    let machine = Machine::new();
    let data = machine.host.data();
    let check = json!({"_ansible_check_mode": true, "_ansible_diff": true});
    let told = machine.run(with(to_docker(), check.clone()));
    assert_eq!(told["changed"], true);
    let after = told["diff"][0]["after"].as_str().unwrap();
    assert!(
        after.contains("uid 0-65535 seen as 100000-165535\n"),
        "{after}"
    );
    assert_eq!(
        (machine.options_of(&data), machine.traces()),
        (String::new(), String::new())
    );
    assert!(machine.changes(to_docker()));
    let before = (machine.options_of(&data), machine.traces());
    assert!(!machine.changes(with(to_docker(), check.clone())));
    assert!(machine.changes(with(restored(), check)));
    assert_eq!((machine.options_of(&data), machine.traces()), before);
}

#[test]
fn another_map_or_place_is_a_change() {
    let machine = Machine::new();
    let (data, view) = (machine.host.data(), machine.host.path("view"));
    fs::create_dir(&view).unwrap();
    assert!(machine.changes(to_docker()));
    let several = json!({"map": ["u:0:200000:5", "u:5:300000:10", "g:0:400000:100"]});
    assert!(machine.changes(several.clone()));
    assert_eq!(machine.seen(&data.join("sub/file")), "300000:400006");
    let elsewhere = with(several, json!({"mount_at": view}));
    assert!(machine.changes(elsewhere.clone()));
    assert_eq!(machine.seen(&view.join("sub/file")), "300000:400006");
    assert_eq!(machine.seen(&data.join("sub/file")), "5:6");
    assert!(!machine.changes(elsewhere));
    // The record knows where.
    assert!(machine.changes(restored()));
    assert_eq!(machine.options_of(&view), "");
}

#[test]
fn what_was_unmounted_is_mounted_again() {
    let machine = Machine::new();
    assert!(machine.changes(to_docker()));
    machine.sh("umount $1");
    let verified = machine.refused(verified());
    assert!(verified.contains("it is not mounted"), "{verified}");
    assert!(machine.changes(to_docker()));
    assert_eq!(machine.seen(&machine.host.data()), "100000:100000");
    machine.sh("umount $1");
    assert!(machine.changes(restored()));
    assert_eq!(machine.traces(), "");
}

#[test]
fn a_mount_that_is_not_the_recorded_one_is_left_alone() {
    let machine = Machine::new();
    assert!(machine.changes(to_docker()));
    machine.sh("sed -i s/0:100000:/0:150000:/g /var/lib/bulkhead/idmapped/*");
    for options in [to_docker(), restored()] {
        let refused = machine.refused(options);
        assert!(
            refused.contains("does not show what was recorded"),
            "{refused}"
        );
    }
    assert_eq!(machine.seen(&machine.host.data()), "100000:100000");
}

#[test]
fn the_unit_of_a_tree_that_is_gone_can_be_removed() {
    let machine = Machine::new();
    assert!(machine.changes(to_docker()));
    machine.sh("umount $1 && rm -r $1");
    assert!(machine.refused(to_docker()).contains("No such file"));
    assert!(machine.changes(restored()));
    assert_eq!(machine.traces(), "");
}

#[test]
fn a_tree_that_is_a_mount_of_its_own_is_shown_too() {
    let machine = Machine::new();
    machine.sh("mount -t tmpfs -o mode=0755 tmpfs $1 && : >$1/file && chown 5:6 $1/file");
    let file = machine.host.data().join("file");
    assert!(machine.changes(to_docker()));
    assert_eq!(machine.seen(&file), "100005:100006");
    assert!(!machine.changes(to_docker()));
    assert!(machine.changes(json!({"map": ["0:200000:10"]})));
    assert_eq!(machine.seen(&file), "200005:200006");
    assert!(machine.changes(restored()));
    assert_eq!(machine.seen(&file), "5:6");
}

#[test]
fn a_read_only_mount_is_shown_read_only() {
    let machine = Machine::new();
    machine.sh("mount --bind $1 $1 && mount -o remount,bind,ro $1");
    assert!(machine.changes(to_docker()));
    let data = machine.host.data();
    assert_eq!(machine.seen(&data.join("sub/file")), "100005:100006");
    let options = machine.options_of(&data);
    assert!(
        options.lines().last().unwrap().contains(" ro,"),
        "{options}"
    );
}

#[test]
fn who_uses_the_mount_is_named() {
    let machine = Machine::new();
    assert!(machine.changes(to_docker()));
    let mut inside = machine
        .command(&["sh", "-c", "cd \"$1\" && echo in && exec cat", "sh"])
        .arg(machine.host.data())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = inside.stdout.as_mut().unwrap();
    stdout.read_exact(&mut [0; 3]).unwrap();
    for options in [restored(), json!({"map": ["0:200000:10"]})] {
        let refused = machine.refused(options);
        assert!(
            refused.contains(&format!("in use by {} (cat", inside.id())),
            "{refused}"
        );
    }
    assert!(!machine.changes(to_docker()));
    drop(inside.stdin.take());
    inside.wait().unwrap();
    // As a volume of the engine that is bound to it.
    let bound = machine.host.path("bound");
    fs::create_dir(&bound).unwrap();
    machine.said(&[
        "mount",
        "--bind",
        machine.host.data().to_str().unwrap(),
        bound.to_str().unwrap(),
    ]);
    let refused = machine.refused(with(restored(), json!({"_ansible_check_mode": true})));
    assert!(
        refused.contains(&format!("in use, mounted on {}", bound.display())),
        "{refused}"
    );
    machine.said(&["umount", bound.to_str().unwrap()]);
    assert!(machine.changes(restored()));
}

#[test]
fn what_shows_the_owners_on_disk_is_warned_of() {
    let machine = Machine::new();
    let bound = machine.host.path("bound");
    fs::create_dir(&bound).unwrap();
    machine.said(&[
        "mount",
        "--bind",
        machine.host.data().to_str().unwrap(),
        bound.to_str().unwrap(),
    ]);
    let told = machine.run(to_docker());
    let warning = told["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains(bound.to_str().unwrap()), "{told}");
}

#[test]
fn a_unit_that_does_not_start_is_taken_back() {
    let machine = Machine::new();
    machine.sh(": >/run/broken");
    let refused = machine.refused(to_docker());
    assert!(
        refused.contains("taken back") && refused.contains("broken for the test"),
        "{refused}"
    );
    assert_eq!(
        (machine.options_of(&machine.host.data()), machine.traces()),
        (String::new(), String::new())
    );
    machine.sh("rm /run/broken");
    assert!(machine.changes(to_docker()));
    machine.sh(": >/run/broken-once");
    let refused = machine.refused(json!({"map": ["0:200000:10"]}));
    assert!(refused.contains("taken back"), "{refused}");
    assert_eq!(machine.seen(&machine.host.data()), "100000:100000");
    assert!(!machine.changes(to_docker()));
}

#[test]
fn a_tree_in_reach_of_local_users_is_refused_unless_insisted_on() {
    let machine = Machine::new();
    let above = machine.host.path("");
    fs::set_permissions(&above, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = machine.refused(to_docker());
    assert!(refused.contains("local users can reach"), "{refused}");
    let insisted = machine.run(with(to_docker(), json!({"allow_exposed_path": true})));
    assert_eq!(insisted["changed"], true, "{insisted}");
    assert!(
        machine
            .refused(verified())
            .contains("local users can reach")
    );
}

#[test]
fn a_tree_that_would_be_shown_wrongly_is_refused() {
    let machine = Machine::new();
    let data = machine.host.data();
    chown(&data, Some(100_000), Some(0)).unwrap();
    assert!(machine.refused(to_docker()).contains("shifted already"));
    chown(&data, Some(0), Some(0)).unwrap();
    machine.sh("mount --bind $1/sub $1/sub");
    assert!(machine.refused(to_docker()).contains("is mounted inside"));
    machine.sh("umount $1/sub");
    let many: Vec<_> = (0..400)
        .map(|n| format!("{}:{}:1", 2 * n, 100_000 + 3 * n))
        .collect();
    assert!(
        machine
            .refused(json!({"map": many}))
            .contains("400 extents")
    );
    machine.sh("mkdir -p /run/o/u /run/o/w && mount -t overlay -o lowerdir=/etc,upperdir=/run/o/u,workdir=/run/o/w overlay $1");
    let refused = machine.refused(to_docker());
    assert!(
        refused.contains("is on overlay, which cannot be idmapped: use strategy=shift"),
        "{refused}"
    );
    assert_eq!(machine.traces(), "");
}

#[test]
fn odd_places_and_services_are_refused() {
    let machine = Machine::new();
    let data = machine.host.data();
    for (options, text) in [
        (json!({"mount_at": "/no/such"}), "No such file or directory"),
        (json!({"mount_at": "/etc/passwd"}), "is not a directory"),
        (json!({"mount_at": "/etc"}), "/etc belongs to the system"),
        (json!({"mount_at": data.join("sub")}), "lies in the other"),
        (
            json!({"mount_at": "/usr/local/sbin", "allow_dangerous_path": true}),
            "is mounted on",
        ),
        (json!({"services": ["docker"]}), "no name of a systemd unit"),
        (json!({"path": "/etc"}), "/etc belongs to the system"),
        (
            json!({"strategy": "shift", "services": []}),
            "for strategy=idmap only",
        ),
    ] {
        let check = json!({"_ansible_check_mode": true});
        let refused = machine.refused(with(with(to_docker(), options), check));
        assert!(refused.contains(text), "{refused}");
    }
    machine.sh("rm -r /run/systemd");
    assert!(
        machine
            .refused(to_docker())
            .contains("systemd does not run")
    );
}

#[test]
fn the_strategies_do_not_meet_on_one_tree() {
    let machine = Machine::new();
    let shift = |options: Value| with(options, json!({"strategy": "shift"}));
    assert!(machine.changes(to_docker()));
    for options in [to_docker(), restored()] {
        let refused = machine.refused(shift(options));
        assert!(
            refused.contains("is mounted with strategy=idmap"),
            "{refused}"
        );
    }
    let inside = with(
        to_docker(),
        json!({"path": machine.host.data().join("sub")}),
    );
    assert!(
        machine
            .refused(shift(inside.clone()))
            .contains("on an idmapped mount")
    );
    assert!(machine.refused(inside).contains("none of ours"));
    assert!(machine.changes(restored()));
    assert!(machine.changes(shift(to_docker())));
    assert_eq!(owner(&machine.host.data()), (100_000, 100_000));
    for options in [to_docker(), restored()] {
        let refused = machine.refused(options);
        assert!(refused.contains("strategy=shift first"), "{refused}");
    }
}
