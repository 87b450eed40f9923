//! The way back to an engine that runs plain. Pure.

use super::{
    draft::{Plan, configure, layout_root, left_behind, unconfigured},
    reassign,
};
use crate::{
    args::{Args, CarryOver, Others},
    bind_mounts::{self, Binds},
    change::Change,
    kept, layout, loss,
    observed::Observed,
    overrides, refuse,
    step::{Carry, Direction, Step},
};
use anyhow::Result;
use idmap::IdMaps;

pub fn plan(args: &Args, observed: &Observed, stamp: &str) -> Result<Plan> {
    let mut plan = Plan {
        data_root: observed.data_root.clone(),
        ..Plan::default()
    };
    let after = unconfigured(observed)?;
    let configure = configure(args, observed, after, stamp, None);
    let Some(ids) = observed.remapped else {
        // The file may say so without the engine having been restarted: then only the file changes.
        if observed.configured.is_some() {
            plan.steps.push(Step::Configure(Box::new(configure)));
        }
        return Ok(plan);
    };
    let before = reassign::in_use(observed)?;
    plan.refusals = refuse::engine(observed);
    let conditions = observed.conditions.refusals(Direction::ToPlain);
    plan.refusals.extend(conditions);
    plan.lost = loss::allowed(observed, &args.allow_loss);
    plan.take_stops(&observed.workloads(), observed);
    let from = layout_root(&observed.data_root, ids);
    let (binds, gone) = bind_mounts::back(observed, &before.invert());
    plan.warnings.extend(gone);
    let staying = &observed.without(&plan.lost);
    let change = Change {
        now: observed,
        observed: staying,
        lost: &plan.lost.clone(),
        aside: None,
        from: &from,
        to: &observed.data_root,
        before,
        after: IdMaps::identity(),
        keep: refuse::kept(observed),
        binds: &binds,
        carry: match args.carry_over {
            _ if args.discard_new_data => Carry::FallBack,
            // The way back of a copy is a move: what came since the copy is nowhere else.
            CarryOver::InPlace | CarryOver::Copy => Carry::Move,
            CarryOver::None => Carry::Nothing,
        },
        host_mode: (observed.record.iter())
            .flat_map(|record| record.host_mode.clone())
            .collect(),
        sysctls: (observed.record.iter())
            .flat_map(|record| record.sysctls.clone())
            .collect(),
        compat_links: observed.compat_links.clone(),
    };
    plan.refusals.extend(kept::refusals(observed, change.carry));
    match change.carry {
        Carry::Move | Carry::Copy => plan.refusals.extend(refusals(args, observed, &binds)),
        Carry::FallBack => plan.warnings.push(kept::discarded(observed)),
        Carry::Nothing => plan.warnings.push(left_behind(observed)),
    }
    plan.warnings.extend(set_aside_earlier(observed));
    let (overrides, left) = overrides::back(observed);
    plan.warnings.extend(left);
    let overrides = (!overrides.is_empty()).then_some(Step::Overrides(overrides));
    plan.shift = change.shift();
    plan.steps = change.steps(overrides, configure);
    plan.binds = Some(binds);
    Ok(plan)
}

/// What stands in the way of taking the data along.
fn refusals(args: &Args, observed: &Observed, binds: &Binds) -> Vec<String> {
    let mut found = refuse::carry_over(observed);
    let left = bind_mounts::left_alone(args);
    let decided = binds.mounts.iter().map(|(mount, _)| mount).chain(&left);
    found.extend(bind_mounts::volumes(observed, decided, Others::Warn));
    let root = observed.root.iter();
    let old =
        root.filter(|entry| !layout::is_beside(&entry.name) && !observed.is_kept(&entry.name));
    let occupied = refuse::occupied(old, &observed.data_root);
    found.extend(occupied.map(|said| {
        format!("{said}; or carry it over first, with state=enabled masked_data=adopt")
    }));
    found
}

fn set_aside_earlier(observed: &Observed) -> Vec<String> {
    let root = observed.root.iter();
    let aside = root.filter(|entry| layout::is_aside(&entry.name));
    let told = aside.map(|entry| {
        let path = observed.data_root.join(&entry.name);
        format!("{} was set aside earlier, and stays", path.display())
    });
    told.collect()
}
