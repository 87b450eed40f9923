//! What has to be asked for: each refused without it, done with it, unchanged when done again, taken back.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Host, owner, restored, to_docker, with};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::chown, path::Path, process::Command};

fn run(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Refused as it is, in check mode too; with the option told, done, and unchanged when done again.
fn only_with(host: &Host, option: &Value, text: &str) -> Value {
    let check = json!({"_ansible_check_mode": true});
    for more in [json!({}), check.clone()] {
        let refused = host.run(with(to_docker(), more));
        let msg = refused["msg"].as_str().unwrap_or_default();
        assert!(msg.contains(text), "{refused}");
        assert_eq!(host.owner("sub/file"), (5, 6));
    }
    let asked = with(to_docker(), option.clone());
    let told = host.run(with(asked.clone(), check));
    assert_eq!(told["changed"], true, "{told}");
    assert_eq!(host.owner("sub/file"), (5, 6));
    let done = host.run(asked.clone());
    assert_eq!(done["changed"], true, "{done}");
    assert_eq!(host.owner("sub/file"), (100_005, 100_006));
    assert_eq!(done["shifted"], told["shifted"]);
    let again = host.run(asked.clone());
    assert_eq!(again["changed"], false, "{again}");
    let verified = host.run(with(asked, json!({"state": "verified"})));
    assert_eq!(verified.get("failed"), None, "{verified}");
    done
}

#[test]
fn ids_outside_the_map_are_kept_when_asked_for() {
    let host = Host::new();
    host.file("foreign", 70_000, 6);
    let done = only_with(&host, &json!({"unmapped": "keep"}), "ids outside the map");
    assert_eq!(host.owner("foreign"), (70_000, 100_006));
    assert_eq!(done["unmapped"][0]["uid"], 70_000, "{done}");
    assert_eq!(done["skipped"]["unmapped"], 1);
    assert!(
        done["warnings"][0]
            .as_str()
            .unwrap()
            .contains("outside the map")
    );
    host.run(restored());
    assert_eq!(host.owner("foreign"), (70_000, 6));
    assert_eq!(host.owner("sub/file"), (5, 6));
}

/// Lets a test that failed leave nothing that cannot be removed.
struct Immutable(std::path::PathBuf);

impl Immutable {
    fn new(path: std::path::PathBuf) -> Self {
        run("chattr", &["+i"], &path);
        Self(path)
    }

    fn is_still(&self) -> bool {
        let shown = run("lsattr", &[], &self.0);
        shown.split(' ').next().unwrap().contains('i')
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        run("chattr", &["-i"], &self.0);
    }
}

#[test]
fn immutable_files_are_lifted_when_asked_for() {
    let host = Host::new();
    let file = Immutable::new(host.file("fixed", 5, 6));
    let done = only_with(
        &host,
        &json!({"immutable": "lift"}),
        "immutable or append-only",
    );
    assert_eq!(done["shifted"]["immutable"], 1, "{done}");
    assert!(file.is_still());
    assert_eq!(host.owner("fixed"), (100_005, 100_006));
    host.run(restored());
    assert!(file.is_still());
    assert_eq!(host.owner("fixed"), (5, 6));
}

#[test]
fn what_became_immutable_since_stands_in_the_way_back() {
    let host = Host::new();
    let path = host.file("fixed", 5, 6);
    host.run(to_docker());
    let file = Immutable::new(path);
    for check in [true, false] {
        let refused = host.run(with(restored(), json!({"_ansible_check_mode": check})));
        let msg = refused["msg"].as_str().unwrap_or_default();
        assert!(msg.contains("immutable or append-only"), "{refused}");
    }
    assert_eq!(host.owner("sub/file"), (100_005, 100_006));
    drop(file);
    host.run(restored());
    assert_eq!(host.owner("fixed"), (5, 6));
}

#[test]
fn a_flag_lifted_by_a_run_cut_short_is_given_back_there_and_back() {
    let lift = with(to_docker(), json!({"immutable": "lift"}));
    for chowns in 1..=4 {
        for (next, owner) in [
            (to_docker(), 100_005),
            (lift.clone(), 100_005),
            (restored(), 5),
        ] {
            let host = Host::new();
            let file = Immutable::new(host.file("fixed", 5, 6));
            host.crash(lift.clone(), chowns);
            let done = host.run(next);
            assert_eq!(done["resumed"], true, "{done}");
            assert!(file.is_still(), "after {chowns}");
            assert_eq!(host.owner("fixed").0, owner);
        }
    }
}

#[test]
fn files_with_names_outside_are_kept_when_asked_for() {
    let host = Host::new();
    let outside = host.path("outside");
    fs::hard_link(host.file("linked", 5, 6), &outside).unwrap();
    let done = only_with(
        &host,
        &json!({"outside_links": "keep"}),
        "hard links from outside",
    );
    assert_eq!(owner(&outside), (5, 6));
    assert_eq!(done["skipped"]["outside_links"], 1, "{done}");
    assert!(
        done["warnings"][0]
            .as_str()
            .unwrap()
            .contains("hard links outside")
    );
    host.run(restored());
    assert_eq!((owner(&outside), host.owner("sub/file")), ((5, 6), (5, 6)));
}

#[test]
fn a_home_is_shifted_only_when_insisted_on() {
    let host = Host::new();
    let data = host.data();
    let passwd = format!(
        "ann:x:1000:1000::{}:\ndockremap:x:500:500:::\n",
        data.display()
    );
    host.etc("passwd", &passwd);
    let insisted = json!({"allow_dangerous_path": true});
    only_with(&host, &insisted, "somebody's home");
    assert_eq!(host.run(restored())["changed"], true);
}

/// In check mode only, as what a failing guard would cost is the machine under test.
#[test]
fn what_is_the_kernels_is_refused_even_when_insisted_on() {
    let host = Host::new();
    for path in ["/", "/proc", "/sys/fs", "/dev"] {
        let options =
            json!({"path": path, "_ansible_check_mode": true, "allow_dangerous_path": true});
        let refused = host.run(with(to_docker(), options));
        let msg = refused["msg"].as_str().unwrap_or_default();
        assert!(msg.contains("is never shifted"), "{refused}");
    }
}

/// A mount on a directory of the host's, gone at the end.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(host: &Host, name: &str, arguments: &[&str]) -> Self {
        let path = host.path(name);
        fs::create_dir(&path).unwrap();
        run("mount", arguments, &path);
        Self(path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[], &self.0);
    }
}

#[test]
fn file_systems_that_cannot_are_refused_in_check_mode_too() {
    let host = Host::new();
    let data = host.data();
    let kernel = Mount::new(&host, "kernel", &["-t", "proc", "proc"]);
    let fixed = Mount::new(&host, "fixed", &["--bind", data.to_str().unwrap()]);
    run("mount", &["-o", "remount,bind,ro"], &fixed.0);
    for (mount, text) in [
        (&kernel, "file system of the kernel's"),
        (&fixed, "read-only mount"),
    ] {
        for check in [true, false] {
            let options = json!({"path": mount.0, "_ansible_check_mode": check});
            let refused = host.run(with(to_docker(), options));
            let msg = refused["msg"].as_str().unwrap_or_default();
            assert!(msg.contains(text), "{refused}");
        }
    }
    assert_eq!(host.owner("sub/file"), (5, 6));
}

#[test]
fn verify_root_trusts_the_record_and_full_does_not() {
    let host = Host::new();
    let (full, root) = (json!({"verify": "full"}), json!({"verify": "root"}));
    let run = |verify: &Value| host.run(with(to_docker(), verify.clone()));
    assert_eq!(run(&root)["changed"], true);
    host.file("late", 5, 6);
    let trusted = run(&root);
    assert_eq!(
        (&trusted["changed"], &trusted["entries"]),
        (&json!(false), &json!(0))
    );
    let mixed = run(&full);
    assert!(
        mixed["msg"].as_str().unwrap().contains("partly shifted"),
        "{mixed}"
    );
    fs::remove_file(host.data().join("late")).unwrap();
    let looked = run(&full);
    assert_eq!(
        (&looked["changed"], &looked["entries"]),
        (&json!(false), &json!(3))
    );
    // A root that was changed is looked at again.
    chown(host.data(), Some(100_001), Some(100_000)).unwrap();
    assert_eq!(run(&root)["entries"], 3);
}

#[test]
fn the_result_tells_how_fast_what_and_what_not() {
    let host = Host::new();
    let diff = json!({"_ansible_diff": true});
    for check in [true, false] {
        let more = with(diff.clone(), json!({"_ansible_check_mode": check}));
        let told = host.run(with(to_docker(), more));
        assert!(told["seconds"].as_f64().unwrap() > 0.0, "{told}");
        assert!(told["entries_per_second"].as_u64().unwrap() > 0, "{told}");
        let (from, to) = (
            json!({"uid": 5, "gid": 6}),
            json!({"uid": 100_005, "gid": 100_006}),
        );
        let path = host.data().join("sub/file");
        let change = json!({"path": path, "from": from, "to": to});
        assert_eq!(told["sample"][2], change, "{told}");
        let line = |owner: &str| format!("{owner} {}\n", path.display());
        let shown = &told["diff"][1];
        assert!(
            shown["before"].as_str().unwrap().contains(&line("5:6")),
            "{told}"
        );
        assert!(
            shown["after"]
                .as_str()
                .unwrap()
                .contains(&line("100005:100006")),
            "{told}"
        );
    }
    let again = host.run(to_docker());
    assert_eq!(
        (&again["skipped"]["already"], &again["sample"]),
        (&json!(3), &json!([]))
    );
}
