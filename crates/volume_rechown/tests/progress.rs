//! What a long run tells while it runs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Host;
use serde_json::{Value, json};
use std::{fs, process::Stdio, thread::sleep, time::Duration};

const NAMES: u64 = 1_200_000;

/// Names cost less than files; these take a run seconds.
const MANY_NAMES: &str = r#"mount -t tmpfs none "$DATA"
python3 - <<END
import os
for directory in range(200):
    os.mkdir(f"$DATA/{directory}")
    first = f"$DATA/{directory}/first"
    open(first, "w").close()
    for name in range($NAMES // 200 - 2):
        os.link(first, f"$DATA/{directory}/{name}")
END"#;

#[test]
fn a_long_run_says_how_far_it_is_and_clears_away() {
    let host = Host::new();
    let mut command = host.command(json!({"map": ["0:100000:65536"]}));
    command
        .env("BEFORE", MANY_NAMES)
        .env("DATA", host.data())
        .env("NAMES", NAMES.to_string())
        .stdout(Stdio::piped());
    let mut run = command.spawn().unwrap();
    let file = format!("/proc/{}/root/run/bulkhead/progress.json", run.id());
    let mut told: Vec<Value> = Vec::new();
    while run.try_wait().unwrap().is_none() {
        // Until the namespace is there the path leads to this machine's own.
        if let Ok(bytes) = fs::read(&file) {
            let now: Value = serde_json::from_slice(&bytes).unwrap();
            if now["pid"] == run.id() && told.last() != Some(&now) {
                told.push(now);
            }
        }
        sleep(Duration::from_millis(10));
    }
    let result: Value = serde_json::from_reader(run.stdout.take().unwrap()).unwrap();
    assert_eq!(result["entries"], NAMES + 1, "{result}");
    assert!(!told.is_empty());
    for now in told {
        assert_eq!(now["module"], "volume_rechown", "{now}");
        let entries = now["entries"].as_u64().unwrap();
        assert!(entries > 0 && entries <= NAMES + 1, "{now}");
        match now["doing"].as_str().unwrap() {
            "look" => assert_eq!(now["total"], Value::Null, "{now}"),
            "shift" => {
                assert_eq!(now["total"], NAMES + 1, "{now}");
                assert_eq!(now["percent"], entries * 100 / (NAMES + 1), "{now}");
            }
            other => panic!("{other}"),
        }
    }
}
