//! What the user gets to see: the steps in words, the difference, the returned values. Pure.

use crate::{
    apply::Context,
    args::{Args, State},
    observed::Observed,
    plan::Plan,
    record::BindMount,
    step::Step,
};
use ansible_module::{Diff, Outcome};
use idmap::IdMaps;
use serde_json::{Value, json};

/// The outcome of a plan, carried out or (in check mode, without a context) only made.
pub fn outcome(args: &Args, observed: &Observed, plan: &Plan, done: Option<&Context>) -> Outcome {
    let names: Vec<_> = plan.steps.iter().map(Step::name).collect();
    let mut outcome = Outcome::new(!plan.steps.is_empty())
        .returning(
            "state",
            match args.state {
                State::Enabled => "enabled",
                State::Disabled => "disabled",
            },
        )
        .returning(
            "data_root",
            json!({"before": observed.engine_root(), "after": plan.data_root}),
        )
        .returning("steps", names);
    if !plan.lost.is_empty() {
        outcome = outcome.returning("lost", json!(plan.lost));
    }
    if let Some(aside) = &plan.aside {
        outcome = outcome.returning("set_aside", json!(aside));
    }
    if let Some(maps) = &plan.maps {
        outcome = outcome
            .returning("user", observed.ids.name.as_str())
            .returning("uid_map", extents(&maps.uid))
            .returning("gid_map", extents(&maps.gid));
    }
    if let Some(binds) = &plan.binds {
        let one = |(mount, _): &(BindMount, _)| json!({"path": mount.path, "strategy": mount.prepared.name()});
        let mounts: Value = binds.mounts.iter().map(one).collect();
        outcome = outcome.returning("bind_mounts", mounts);
    }
    outcome.diff = diff(plan);
    match done {
        Some(context) => carried(outcome, plan, context),
        None => outcome,
    }
}

/// A map as it is returned.
pub fn extents(map: &idmap::IdMap) -> Value {
    let extent = |extent: &idmap::Extent| json!({"container": extent.container, "host": extent.host, "size": extent.size});
    map.extents().iter().map(extent).collect()
}

fn carried(mut outcome: Outcome, plan: &Plan, context: &Context) -> Outcome {
    for step in &plan.steps {
        if let Step::VerifyInventory(inventory) = step {
            outcome = outcome.returning(
                "carried",
                json!({
                    "images": inventory.images.len(), "containers": inventory.containers.len(),
                    "networks": inventory.networks.len(), "volumes": inventory.volumes.len(),
                }),
            );
        }
        if let Step::Configure(change) = step
            && let Some(backup) = &change.backup
        {
            outcome = outcome.returning("backup_file", backup.to_string_lossy().into_owned());
        }
    }
    if let Some(report) = &context.shifted {
        outcome = outcome.returning("shifted", json!({
            "entries": report.counts.changed(), "acls": report.counts.acls, "capabilities": report.counts.capabilities,
            "set_ids": report.counts.set_ids, "hard_links": report.counts.hard_links, "seconds": report.seconds,
        }));
    }
    outcome
        .returning("restarted", context.restarted.clone())
        .returning("downtime", context.downtime.seconds())
}

fn diff(plan: &Plan) -> Vec<Diff> {
    let files = plan.steps.iter().flat_map(|step| match step {
        Step::Configure(change) => vec![(&change.path, &change.before, &change.after)],
        Step::Overrides(overrides) => (overrides.iter())
            .map(|change| (&change.path, &change.before, &change.after))
            .collect(),
        _ => vec![],
    });
    let changed = files.filter(|(_, before, after)| before != after);
    let text = |side: &Option<String>| side.clone().unwrap_or_default();
    let texts = changed.map(|(path, before, after)| {
        Diff::texts(path.to_string_lossy(), text(before), text(after))
    });
    let steps: String = plan
        .steps
        .iter()
        .enumerate()
        .map(|(at, step)| format!("{}. {}\n", at + 1, describe(step)))
        .collect();
    let steps = (!steps.is_empty()).then(|| Diff::prepared(steps));
    texts.chain(steps).collect()
}

/// A step in words, for `--diff`.
fn describe(step: &Step) -> String {
    match step {
        Step::Account {
            name,
            create,
            ranges,
        } => {
            let ranges: Vec<_> = ranges
                .iter()
                .map(|(kind, range)| format!("{}:{} in {}", range.start, range.count, kind.path()))
                .collect();
            let verb = if *create { "make account" } else { "account" };
            format!("{verb} {name} with {}", ranges.join(", "))
        }
        Step::Overrides(overrides) => {
            let paths: Vec<_> = overrides
                .iter()
                .map(|change| change.path.to_string_lossy())
                .collect();
            format!("write {}", paths.join(", "))
        }
        Step::Guard { .. } => {
            "keep the engine from starting on half-moved data, also after a reboot".to_owned()
        }
        Step::StopContainers { running, .. } => {
            let names: Vec<_> = running
                .iter()
                .rev()
                .map(|container| container.name.as_str())
                .collect();
            let removed = running.iter().filter(|container| container.removed);
            let removed: Vec<_> = removed.map(|container| container.name.as_str()).collect();
            let and_lose = match removed.as_slice() {
                [] => String::new(),
                names => format!(
                    ", of which these and their anonymous volumes are deleted: {}",
                    names.join(", ")
                ),
            };
            format!(
                "stop containers: {}{and_lose}",
                if names.is_empty() {
                    "none runs".to_owned()
                } else {
                    names.join(", ")
                }
            )
        }
        Step::StopEngine { units } => format!("stop {}", units.join(", ")),
        Step::Hold => "hold the engine".to_owned(),
        Step::ProveStopped { data_root } => {
            format!("prove that nothing uses {}", data_root.display())
        }
        Step::CopyLayers { from, to, .. } => format!(
            "copy the image layers of {} to {} and shift their owners, while all runs",
            from.display(),
            to.display()
        ),
        Step::CopyRest { from, to, maps, .. } => format!(
            "copy all else of {} to {}, and shift the owners of layers and volumes from {}",
            from.display(),
            to.display(),
            shifted_by(maps)
        ),
        Step::UseCopy { copy, .. } => format!("let containers write to {}", copy.display()),
        Step::SetAside {
            data_root, names, ..
        } => format!(
            "set aside what {} keeps of another state, to be deleted at the end: {}",
            data_root.display(),
            names.join(", ")
        ),
        Step::SetRootAside { from, to, .. } => {
            format!("set {} aside as {}", from.display(), to.display())
        }
        Step::MoveRoot { from, to } => format!("move {} to {}", from.display(), to.display()),
        Step::Own { engine_root, .. } => format!(
            "set the owners of what the engine keeps in {}",
            engine_root.display()
        ),
        Step::Shift { maps, .. } => format!(
            "shift the owners of layers and volumes from {}",
            shifted_by(maps)
        ),
        Step::RewriteContainers { .. } => {
            "rewrite the paths in the containers' configurations".to_owned()
        }
        Step::SetHostMode {
            containers, host, ..
        } => {
            let ids: Vec<_> = containers
                .iter()
                .map(|id| id.get(..12).unwrap_or(id))
                .collect();
            let whose = if *host { "the host's" } else { "the usual" };
            format!(
                "set containers to {whose} user namespace: {}",
                ids.join(", ")
            )
        }
        Step::ShiftBindMount { path, .. } => format!("shift the owners of {}", path.display()),
        Step::ShowBindMount { record, visible } => {
            let owners = if *visible {
                "other owners than on disk"
            } else {
                "its owners on disk"
            };
            format!("have {} show {owners}", record.path.display())
        }
        Step::SetSysctls { containers, on, .. } => {
            let ids: Vec<_> = containers
                .iter()
                .map(|of| of.container.get(..12).unwrap_or(&of.container))
                .collect();
            let verb = if *on { "give back" } else { "take away" };
            format!("{verb} the sysctls of containers: {}", ids.join(", "))
        }
        Step::CompatLinks {
            data_root,
            names,
            make,
            ..
        } => {
            let verb = if *make { "make" } else { "remove" };
            let root = data_root.display();
            format!("{verb} links in {root}: {}", names.join(", "))
        }
        Step::Configure(change) => format!("write {}", change.path.display()),
        Step::Release => "let the engine start".to_owned(),
        Step::StartEngine { units, .. } => format!("start {}", units.join(", ")),
        Step::VerifyInventory(inventory) => format!(
            "see that all {} images, {} containers, {} networks and {} volumes are there",
            inventory.images.len(),
            inventory.containers.len(),
            inventory.networks.len(),
            inventory.volumes.len()
        ),
        Step::StartContainers { running, .. } => {
            let names: Vec<_> = running
                .iter()
                .map(|container| container.name.as_str())
                .collect();
            format!(
                "start containers: {}",
                if names.is_empty() {
                    "none ran".to_owned()
                } else {
                    names.join(", ")
                }
            )
        }
    }
}

fn shifted_by(maps: &IdMaps) -> String {
    let extents = maps.uid.extents().iter();
    let words =
        extents.map(|extent| format!("{}+{} to {}", extent.container, extent.size, extent.host));
    words.collect::<Vec<_>>().join(", ")
}
