//! What the user gets to see. Pure.

use super::plan::{Plan, describe};
use ansible_module::{Diff, Outcome};
use idmap::IdMap;
use serde_json::Value;
use trees::idmapped::Record;

/// What was done, or would be; `record` is that of the mount which is, was or would be there.
pub fn outcome(plan: &Plan, record: &Record, old: Option<&Record>, unit: &str) -> Outcome {
    let text = |record: Option<&Record>| record.map(describe_mount).unwrap_or_default();
    let outcome = Outcome::new(*plan != Plan::Nothing)
        .returning("mount_at", record.mount_at.to_string_lossy())
        .returning("uid_map", extents(&record.maps.uid))
        .returning("gid_map", extents(&record.maps.gid))
        .returning("services", record.services.clone())
        .returning("unit", unit);
    let (before, after) = match plan {
        Plan::Nothing => return outcome,
        Plan::Show(_) => (text(old), text(Some(record))),
        Plan::Hide => (text(Some(record)), String::new()),
    };
    outcome.diff(Diff::texts(record.path.to_string_lossy(), before, after))
}

fn describe_mount(record: &Record) -> String {
    let before = match record.services.as_slice() {
        [] => String::new(),
        services => format!("before {}\n", services.join(" ")),
    };
    let place = record.mount_at.display();
    format!("shown at {place}\n{}{before}", describe(&record.maps))
}

fn extents(map: &IdMap) -> Value {
    let extents = map.extents().iter();
    extents
        .map(|extent| Value::from(extent.to_string()))
        .collect()
}
