//! The executable on real trees: what it does, and does not do again.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Host, restored, to_docker, with};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::chown};

#[test]
fn shifted_then_unchanged_then_restored_then_unchanged() {
    let host = Host::new();
    let first = host.run(to_docker());
    assert_eq!(first["changed"], true, "{first}");
    assert_eq!(
        (&first["entries"], &first["shifted"]["entries"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(host.owner("sub/file"), (100_005, 100_006));
    assert_eq!(host.owner(""), (100_000, 100_000));
    let second = host.run(to_docker());
    assert_eq!(
        (&second["changed"], &second["shifted"]["entries"]),
        (&json!(false), &json!(0))
    );
    let back = host.run(restored());
    assert_eq!(back["changed"], true, "{back}");
    assert_eq!(host.owner("sub/file"), (5, 6));
    assert_eq!(host.run(restored())["changed"], false);
}

#[test]
fn a_run_cut_short_is_finished_or_taken_back() {
    // In the middle, and when all owners were changed but nothing said so.
    for chowns in [2, 3] {
        for (next, owner) in [(to_docker(), (100_005, 100_006)), (restored(), (5, 6))] {
            cut_short(chowns, &next, owner);
        }
    }
}

fn cut_short(chowns: u32, next: &Value, owner: (u32, u32)) {
    let host = Host::new();
    host.crash(to_docker(), chowns);
    let check = json!({"_ansible_check_mode": true});
    assert_eq!(host.run(with(next.clone(), check))["changed"], true);
    let verified = host.run(with(to_docker(), json!({"state": "verified"})));
    assert!(
        verified["msg"].as_str().unwrap().contains("interrupted"),
        "{verified}"
    );
    let other = host.run(json!({"map": ["0:200000:65536"]}));
    assert!(
        other["msg"].as_str().unwrap().contains("by another map"),
        "{other}"
    );
    let done = host.run(next.clone());
    assert_eq!(
        (&done["changed"], &done["resumed"]),
        (&json!(true), &json!(true)),
        "{done}"
    );
    assert_eq!(host.owner("sub/file"), owner);
    assert_eq!(host.run(next.clone())["changed"], false);
}

#[test]
fn an_undo_cut_short_is_finished_by_the_next() {
    let host = Host::new();
    host.run(to_docker());
    host.crash(restored(), 2);
    let refused = host.run(to_docker());
    assert!(
        refused["msg"]
            .as_str()
            .unwrap()
            .contains("undo was interrupted"),
        "{refused}"
    );
    assert_eq!(host.run(restored())["resumed"], true);
    assert_eq!(host.owner("sub/file"), (5, 6));
}

#[test]
fn check_mode_tells_and_changes_nothing() {
    let host = Host::new();
    let check = json!({"_ansible_check_mode": true, "_ansible_diff": true});
    let told = host.run(with(to_docker(), check.clone()));
    assert_eq!(
        (&told["changed"], &told["shifted"]["entries"]),
        (&json!(true), &json!(3))
    );
    assert_eq!(
        told["diff"][0]["after"], "uid 100000-165535\ngid 100000-165535\n",
        "{told}"
    );
    assert_eq!(host.owner("sub/file"), (5, 6));
    assert_eq!(fs::read_dir(host.path("state")).unwrap().count(), 0);
    host.run(to_docker());
    let told = host.run(with(to_docker(), check.clone()));
    assert_eq!(told["changed"], false);
    let told = host.run(with(restored(), check));
    assert_eq!(
        (&told["changed"], &told["shifted"]["entries"]),
        (&json!(true), &json!(3))
    );
    assert_eq!(host.owner("sub/file"), (100_005, 100_006));
}

#[test]
fn restored_carries_back_what_came_later() {
    let host = Host::new();
    host.run(to_docker());
    host.file("later", 100_007, 100_008);
    host.file("odd", 70_000, 100_008);
    let back = host.run(restored());
    assert_eq!(host.owner("later"), (7, 8));
    assert_eq!(host.owner("odd"), (70_000, 8));
    assert_eq!(back["unmapped"][0]["uid"], 70_000, "{back}");
    assert!(
        back["warnings"][0]
            .as_str()
            .unwrap()
            .contains("odd (uid 70000)")
    );
}

#[test]
fn verified_fails_with_what_is_not_shifted() {
    let host = Host::new();
    let verified = || host.run(with(to_docker(), json!({"state": "verified"})));
    let told = verified();
    assert_eq!(told["failed"], true);
    assert!(
        told["msg"].as_str().unwrap().starts_with("not shifted: "),
        "{told}"
    );
    host.run(to_docker());
    let told = verified();
    assert_eq!(
        (told.get("failed"), &told["changed"]),
        (None, &json!(false)),
        "{told}"
    );
    host.file("foreign", 70_000, 70_001);
    let told = verified();
    let path = host.data().join("foreign");
    assert_eq!(
        told["unmapped"],
        json!([{"path": path, "uid": 70_000}, {"path": path, "gid": 70_001}])
    );
}

#[test]
fn an_id_outside_the_map_is_refused_with_its_path() {
    let host = Host::new();
    host.file("foreign", 70_000, 6);
    let refused = host.run(to_docker());
    assert_eq!(refused["failed"], true);
    assert!(
        refused["msg"]
            .as_str()
            .unwrap()
            .ends_with("foreign (uid 70000)"),
        "{refused}"
    );
    assert_eq!(refused["unmapped"][0]["uid"], 70_000);
    assert_eq!(refused.get("changed"), None);
    assert_eq!(host.owner("sub/file"), (5, 6));
}

#[test]
fn a_service_moves_from_one_account_to_another() {
    let host = Host::new();
    chown(host.data(), Some(1000), Some(1001)).unwrap();
    chown(host.data().join("sub"), Some(300_998), Some(300_998)).unwrap();
    host.file("sub/file", 300_000, 365_535);
    let moved = host.run(json!({
        "from": {"engine": "podman", "user": "alice"}, "to": {"engine": "podman", "user": "bob"},
    }));
    assert_eq!(moved["changed"], true, "{moved}");
    assert_eq!(host.owner(""), (2000, 2001));
    assert_eq!(host.owner("sub"), (400_998, 400_998));
    assert_eq!(host.owner("sub/file"), (400_000, 465_535));
}

#[test]
fn a_map_by_numbers_may_be_for_one_kind_of_id() {
    let host = Host::new();
    host.run(json!({"map": ["u:0:100000:65536"]}));
    assert_eq!(host.owner("sub/file"), (100_005, 6));
}

#[test]
fn a_map_whose_targets_are_sources_shifts_once_and_back() {
    let host = Host::new();
    let near = json!({"map": ["0:1:65536"]});
    assert_eq!(host.run(near.clone())["changed"], true);
    assert_eq!(host.owner("sub/file"), (6, 7));
    assert_eq!(host.run(near.clone())["changed"], false);
    assert_eq!(host.owner("sub/file"), (6, 7));
    let verified = with(near, json!({"state": "verified"}));
    assert_eq!(host.run(verified)["failed"], Value::Null);
    assert_eq!(host.run(restored())["changed"], true);
    assert_eq!(host.owner("sub/file"), (5, 6));
}

#[test]
fn accounts_that_are_not_there_are_named() {
    let host = Host::new();
    let from =
        |user: Value| host.run(json!({"from": user, "to": {"engine": "host"}}))["msg"].clone();
    assert_eq!(
        from(json!({"engine": "docker", "user": "nobody-here"})),
        "there is no account nobody-here"
    );
    assert_eq!(
        from(json!({"engine": "podman"})),
        "user is required when engine is podman"
    );
    // Docker does not look for the number that newuidmap accepts.
    assert_eq!(
        from(json!({"engine": "docker", "user": "bob"})),
        "bob has no range in /etc/subuid"
    );
}

/// In check mode only: a guard that failed would otherwise cost the machine under test its /etc. A real run
/// goes through the same function.
#[test]
fn what_is_no_tree_of_containers_is_refused() {
    let host = Host::new();
    for (path, text) in [
        ("/etc", "/etc belongs to the system"),
        ("/var/../etc/", "/etc belongs to the system"),
        ("/etc/passwd", "is not a directory"),
        ("/no/such", "No such file or directory"),
    ] {
        let options = json!({"path": path, "_ansible_check_mode": true});
        let refused = host.run(with(to_docker(), options));
        assert!(
            refused["msg"].as_str().unwrap_or_default().contains(text),
            "{refused}"
        );
    }
}

#[test]
fn options_are_checked_as_ansible_does() {
    let host = Host::new();
    for (options, text) in [
        (
            json!({}),
            "state is shifted but any of the following are missing: map, from",
        ),
        (
            with(to_docker(), json!({"map": ["0:1:2"]})),
            "parameters are mutually exclusive: map|from, map|to",
        ),
        (
            json!({"from": {"engine": "host"}}),
            "parameters are required together: from, to",
        ),
        (
            json!({"map": ["0:1"]}),
            "'0:1' is not of the form [u:|g:|b:]container:host:size",
        ),
    ] {
        let refused = host.run(options);
        assert!(refused["msg"].as_str().unwrap().contains(text), "{refused}");
    }
}

#[test]
fn two_runs_do_not_meet() {
    let host = Host::new();
    let lock = transaction::Store::lock(&host.path("state")).unwrap();
    assert_eq!(host.run(to_docker())["failed"], true);
    assert_eq!(host.owner("sub/file"), (5, 6));
    drop(lock);
    assert_eq!(host.run(to_docker())["changed"], true);
}

#[test]
fn an_open_change_of_the_engine_stands_in_the_way() {
    let host = Host::new();
    fs::create_dir(host.path("state/in-progress")).unwrap();
    let refused = host.run(to_docker());
    assert!(
        refused["msg"].as_str().unwrap().contains("is open in"),
        "{refused}"
    );
    assert_eq!(host.owner("sub/file"), (5, 6));
}
