//! What the user gets to see. Pure.

use crate::{observed::Shape, remains::Remains};
use ansible_module::{Diff, Outcome};
use host::accounts;
use idmap::SubRange;
use serde_json::{Value, json};
use std::fmt::Write;

/// An account, as it is or will be.
#[must_use]
pub fn account(outcome: Outcome, shape: &Shape) -> Outcome {
    let Shape { traits, .. } = shape;
    outcome
        .returning("uid", shape.uid)
        .returning("gid", shape.gid)
        .returning("group", traits.group.as_str())
        .returning("home", traits.home.to_string_lossy())
        .returning("shell", traits.shell.to_string_lossy())
        .returning("groups", traits.groups.clone())
        .returning("comment", traits.comment.as_str())
        .returning("linger", shape.linger)
        .returning(
            "runtime_dir",
            accounts::runtime_directory(shape.uid).to_string_lossy(),
        )
        .returning("secrets_dir", json!(shape.secrets_dir))
        .returning("subuid", ranges(&shape.subuid))
        .returning("subgid", ranges(&shape.subgid))
}

/// Ranges of subordinate ids, in file order.
#[must_use]
pub fn ranges(ranges: &[SubRange]) -> Value {
    let one = |range: &SubRange| json!({"start": range.start, "count": range.count});
    ranges.iter().map(one).collect()
}

/// How far the search for files went.
#[must_use]
pub fn searched(remains: &Remains) -> Value {
    let found = &remains.files;
    json!({
        "entries": found.entries,
        "mounts": found.mounts,
        "passed_over": found.passed_over,
        "complete": found.whole,
    })
}

/// The account before and after.
#[must_use]
pub fn difference(name: &str, before: Option<&Shape>, after: Option<&Shape>) -> Diff {
    let text = |shape: Option<&Shape>| shape.map(text).unwrap_or_default();
    Diff::texts(format!("account {name}"), text(before), text(after))
}

fn text(shape: &Shape) -> String {
    let Shape { traits, .. } = shape;
    let list = |ranges: &[SubRange]| {
        let all: Vec<_> = ranges.iter().map(ToString::to_string).collect();
        all.join(" ")
    };
    let secrets = shape
        .secrets_dir
        .as_ref()
        .map(|path| path.display().to_string());
    let lines = [
        ("uid", shape.uid.to_string()),
        ("group", format!("{} ({})", traits.group, shape.gid)),
        ("home", traits.home.display().to_string()),
        ("shell", traits.shell.display().to_string()),
        ("groups", traits.groups.join(" ")),
        ("comment", traits.comment.clone()),
        ("linger", shape.linger.to_string()),
        ("secrets_dir", secrets.unwrap_or_default()),
        ("subuid", list(&shape.subuid)),
        ("subgid", list(&shape.subgid)),
    ];
    let mut text = String::new();
    for (key, value) in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", format!("{key}: {value}").trim_end());
    }
    text
}
