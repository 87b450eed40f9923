//! What the user gets to see. Pure.

use crate::{observe::Tree, plan::Plan};
use ansible_module::{Diff, Failure, Outcome};
use idmap::{IdMap, IdMaps};
use rechown::{Counts, Report, Sample, Survey, Unmapped};
use serde_json::{Value, json};
use std::fmt::Write;

/// What a run did. To finish one that was cut short is a change even where no owner was left to change.
pub fn done(plan: &Plan, tree: &Tree, report: &Report) -> Outcome {
    let changed = report.changed || report.resumed;
    let outcome = outcome(plan, tree, changed, &report.counts)
        .returning("resumed", report.resumed)
        .returning("seconds", report.seconds);
    with_unmapped(outcome, &report.unmapped)
}

/// What a run would do.
pub fn planned(plan: &Plan, tree: &Tree, survey: &Survey, begun: bool) -> Outcome {
    let changed = !matches!(plan, Plan::Nothing) && (begun || !survey.source.is_empty());
    with_unmapped(
        outcome(plan, tree, changed, &survey.counts),
        &survey.unmapped,
    )
}

/// What the operator should know beside the counts.
pub fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |count: u64, text: String| warnings.extend((count > 0).then_some(text));
    let Report {
        boundaries,
        outside_links,
        unmapped,
        lost,
        ..
    } = report;
    warn(
        boundaries.count,
        format!("other mounts were left alone: {boundaries}"),
    );
    warn(
        outside_links.count,
        format!("hard links outside the tree have the new owner too: {outside_links}"),
    );
    warn(
        unmapped.count,
        format!("left alone, for their ids are outside the map: {unmapped}"),
    );
    warn(
        lost.count,
        format!("gone or replaced since, set-id bits and capabilities not given back: {lost}"),
    );
    warnings
}

/// The failure, with the list of what the map does not cover.
pub fn failure(error: anyhow::Error, half_done: bool) -> Failure {
    let unmapped = match error.downcast_ref() {
        Some(rechown::Error::Unmapped(sample)) => Some(list(sample)),
        _ => None,
    };
    let mut failure = Failure::from(error);
    if half_done {
        failure.msg += "; the tree is half done: run it again, or take it back with state=restored";
        failure = failure.returning("changed", true);
    }
    match unmapped {
        Some(unmapped) => failure.returning("unmapped", unmapped),
        None => failure,
    }
}

fn outcome(plan: &Plan, tree: &Tree, changed: bool, counts: &Counts) -> Outcome {
    let outcome = Outcome::new(changed)
        .returning("path", tree.path.to_string_lossy())
        .returning("entries", counts.entries)
        .returning("shifted", shifted(counts));
    match plan {
        Plan::Shift(maps) | Plan::Undo(maps) if changed => outcome.diff(diff(tree, maps)),
        _ => outcome,
    }
}

fn shifted(counts: &Counts) -> Value {
    json!({
        "entries": counts.changed(),
        "directories": counts.directories,
        "files": counts.files,
        "symlinks": counts.symlinks,
        "specials": counts.specials,
        "hard_links": counts.hard_links,
        "acls": counts.acls,
        "capabilities": counts.capabilities,
        "set_ids": counts.set_ids,
    })
}

fn with_unmapped(outcome: Outcome, sample: &Sample<Unmapped>) -> Outcome {
    match sample.is_empty() {
        true => outcome,
        false => outcome.returning("unmapped", list(sample)),
    }
}

fn list(sample: &Sample<Unmapped>) -> Value {
    let entry = |unmapped: &Unmapped| {
        let kind = match unmapped.kind {
            rechown::IdKind::Uid => "uid",
            rechown::IdKind::Gid => "gid",
        };
        json!({"path": unmapped.path.to_string_lossy(), kind: unmapped.id})
    };
    sample.examples.iter().map(entry).collect()
}

fn diff(tree: &Tree, maps: &IdMaps) -> Diff {
    let back = maps.invert();
    Diff::texts(tree.path.to_string_lossy(), ids(maps), ids(&back))
}

/// The ids on the first side of maps, one extent a line.
fn ids(maps: &IdMaps) -> String {
    let mut text = String::new();
    let mut add = |kind: &str, map: &IdMap| {
        for extent in map.extents() {
            // Writing to a string cannot fail.
            let last = extent.container + (extent.size - 1);
            let _ = writeln!(text, "{kind} {}-{last}", extent.container);
        }
    };
    add("uid", &maps.uid);
    add("gid", &maps.gid);
    text
}
