//! What stops a run before its first change, so that it does no harm.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Host, restored, to_docker};
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

fn failed(result: &Value, words: &str) {
    assert_eq!(result["failed"], true, "{result}");
    assert!(result["msg"].as_str().unwrap().contains(words), "{result}");
}

#[test]
fn a_disk_that_is_too_full_for_the_journal_stops_it_before_any_change() {
    let host = Host::new();
    for number in 0..1000 {
        let path = host.file(&format!("sub/{number}"), 5, 6);
        fs::set_permissions(path, Permissions::from_mode(0o4755)).unwrap();
    }
    let mut command = host.command(to_docker());
    let output = command
        .env(
            "BEFORE",
            "mount -t tmpfs -o size=64k none /var/lib/bulkhead",
        )
        .output()
        .unwrap();
    failed(
        &serde_json::from_slice(&output.stdout).unwrap(),
        "No space left",
    );
    assert_eq!(host.owner(""), (0, 0));
    assert_eq!(host.owner("sub/0"), (5, 6));
    assert_eq!(host.run(to_docker())["changed"], true);
    assert_eq!(host.owner("sub/999"), (100_005, 100_006));
    assert_eq!(host.run(restored())["changed"], true);
}

#[test]
fn a_second_run_at_the_same_time_is_refused() {
    let host = Host::new();
    let mut first = Command::new("flock");
    first
        .arg(host.path("state/lock"))
        .args(["sh", "-c", "echo locked; read end"]);
    let mut first = first
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(first.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    failed(&host.run(to_docker()), "another run is at work");
    assert_eq!(host.owner("sub/file"), (5, 6));
    drop(first.stdin.take());
    first.wait().unwrap();
    assert_eq!(host.run(to_docker())["changed"], true);
}
