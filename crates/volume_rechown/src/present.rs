//! What the user gets to see. Pure.

use crate::{observe::Tree, plan::Plan};
use ansible_module::{Diff, Failure, Outcome};
use idmap::{IdMap, IdMaps};
use rechown::{Change, Counts, Owner, Report, Sample, Survey, Unmapped};
use serde_json::{Value, json};
use std::{fmt::Write, time::Duration};

/// What was seen of a tree, by a run or by a mere look.
struct Seen<'a> {
    counts: &'a Counts,
    sample: &'a Sample<Change>,
    /// Entries on the target side.
    already: u64,
    unmapped: &'a Sample<Unmapped>,
    outside_links: u64,
    mounts: u64,
    seconds: f64,
}

/// What a run did. To finish one that was cut short is a change even where no owner was left to change.
pub fn done(plan: &Plan, tree: &Tree, report: &Report) -> Outcome {
    let changed = report.changed || report.resumed;
    let seen = Seen {
        counts: &report.counts,
        sample: &report.sample,
        already: report.already,
        unmapped: &report.unmapped,
        outside_links: report.outside_links.count,
        mounts: report.boundaries.count,
        seconds: report.seconds,
    };
    outcome(plan, tree, changed, &seen).returning("resumed", report.resumed)
}

/// What a run would do.
pub fn planned(plan: &Plan, tree: &Tree, survey: &Survey, begun: bool) -> Outcome {
    let changed = !matches!(plan, Plan::Nothing) && (begun || !survey.source.is_empty());
    let seen = Seen {
        counts: &survey.counts,
        sample: &survey.sample,
        already: survey.target.count,
        unmapped: &survey.unmapped,
        outside_links: survey.outside_links.count,
        mounts: survey.boundaries.count,
        seconds: survey.seconds,
    };
    outcome(plan, tree, changed, &seen)
}

/// What the operator should know beside the counts.
pub fn warnings(plan: &Plan, report: &Report) -> Vec<String> {
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
    let what = match plan {
        Plan::Undo(..) => "hard links outside the tree have the old owner too",
        _ => "left alone, for they have hard links outside the tree",
    };
    warn(outside_links.count, format!("{what}: {outside_links}"));
    warn(
        unmapped.count,
        format!("left alone, for their ids are outside the map: {unmapped}"),
    );
    warn(
        lost.count,
        format!(
            "gone or replaced since, set-id bits, capabilities or flags not given back: {lost}"
        ),
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

fn outcome(plan: &Plan, tree: &Tree, changed: bool, seen: &Seen<'_>) -> Outcome {
    let &Seen {
        counts,
        sample,
        seconds,
        ..
    } = seen;
    let mut outcome = Outcome::new(changed)
        .returning("path", tree.path.to_string_lossy())
        .returning("entries", counts.entries)
        .returning("shifted", shifted(counts))
        .returning("skipped", skipped(seen))
        .returning("sample", changes(sample))
        .returning("seconds", seconds)
        .returning("entries_per_second", rate(counts.entries, seconds));
    if !seen.unmapped.is_empty() {
        outcome = outcome.returning("unmapped", list(seen.unmapped));
    }
    match plan {
        Plan::Shift(maps) | Plan::Undo(maps, _) if changed => {
            outcome.diff(diff(tree, maps)).diff(owners(sample))
        }
        _ => outcome,
    }
}

/// How many were left alone, by reason.
fn skipped(seen: &Seen<'_>) -> Value {
    json!({
        "already": seen.already,
        "unmapped": seen.unmapped.count,
        "outside_links": seen.outside_links,
        "mounts": seen.mounts,
    })
}

/// Whole entries a second; none where there was nothing to measure.
fn rate(entries: u64, seconds: f64) -> u64 {
    let micros = Duration::from_secs_f64(seconds).as_micros();
    let rate = (u128::from(entries) * 1_000_000).checked_div(micros);
    rate.map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
}

fn changes(sample: &Sample<Change>) -> Value {
    let ids = |owner: Owner| json!({"uid": owner.uid, "gid": owner.gid});
    let change = |change: &Change| {
        let path = change.path.to_string_lossy();
        json!({"path": path, "from": ids(change.from), "to": ids(change.to)})
    };
    sample.examples.iter().map(change).collect()
}

/// The sample as two lists of who owns what.
fn owners(sample: &Sample<Change>) -> Diff {
    let text = |owner: fn(&Change) -> Owner| {
        let mut text = String::new();
        for change in &sample.examples {
            let Owner { uid, gid } = owner(change);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{uid}:{gid} {}", change.path.display());
        }
        text
    };
    let header = format!("{} of {} owners", sample.examples.len(), sample.count);
    Diff::texts(header, text(|change| change.from), text(|change| change.to))
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
        "immutable": counts.immutable,
    })
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
