//! From one range to another, on an engine that runs remapped. Pure.

use super::draft::{Plan, account_step, configure, layout_root, left_behind, named, unconfigured};
use crate::{
    args::{Args, CarryOver, MaskedData},
    bind_mounts,
    change::{Change, moved},
    compat, config, loss,
    observed::{Masked, Observed},
    range::{self, Choice},
    record::Record,
    refuse,
    step::{Carry, Direction, Step},
    users, verdict,
};
use anyhow::{Result, bail, ensure};
use idmap::IdMaps;

/// The maps that the running engine uses. Its root's name only tells where they begin: the rest is read from a
/// container that runs by them or, where none does, from the files and what was kept when they were last set.
pub fn in_use(observed: &Observed) -> Result<IdMaps> {
    if let Some(maps) = &observed.container_maps {
        return Ok(maps.clone());
    }
    let files = observed
        .in_use
        .as_ref()
        .and_then(|ids| range::of_files(ids).ok());
    let kept = observed
        .record
        .as_ref()
        .and_then(|record| record.maps.clone());
    let fits = |maps: &IdMaps| Some(range::root_ids(maps)) == observed.remapped;
    let found: Vec<_> = files.into_iter().chain(kept).filter(fits).collect();
    let Some((first, others)) = found.split_first() else {
        let (uid, gid) = observed.remapped.unwrap_or_default();
        let name = observed
            .in_use
            .as_ref()
            .map_or("its account", |ids| &ids.name);
        bail!(
            "the engine runs remapped from {uid}:{gid}, but /etc/subuid and /etc/subgid give {name} other ids now; \
             start a container, so that its map can be read, or put the old ranges back"
        )
    };
    ensure!(
        others.iter().all(|other| other == first),
        "the ranges in /etc/subuid and /etc/subgid have changed since the engine was remapped, and no container \
         runs that tells which it uses; start one"
    );
    Ok(first.clone())
}

/// The masked data that is to be carried over in place of what the engine has, which has the wanted ids.
pub fn to_adopt<'o>(args: &Args, observed: &'o Observed, choice: &Choice) -> Option<&'o Masked> {
    let is_wanted = args.masked_data == MaskedData::Adopt && args.carry_over == CarryOver::InPlace;
    let has_ids = observed.remapped == Some(choice.ids())
        && observed.configured.as_ref() == Some(&args.user)
        && choice.add.is_empty();
    observed.masked.as_ref().filter(|_| is_wanted && has_ids)
}

/// Nothing, where all is as wanted; a line in a file, where only that is missing; else the move of everything.
pub fn plan(args: &Args, observed: &Observed, choice: Choice, stamp: &str) -> Result<Plan> {
    let (not_yet, unknown) = named(&args.host_mode, observed);
    let mut plan = Plan {
        data_root: observed.engine_root(),
        refusals: [unknown, bind_mounts::settled(args, observed)].concat(),
        ..Plan::default()
    };
    if !not_yet.is_empty() {
        plan.refusals.push(format!(
            "host_mode names containers that run remapped: {}; their files have been shifted; disable that first",
            not_yet.join(", ")
        ));
    }
    if observed.masked.is_some() && args.masked_data == MaskedData::Adopt {
        plan.refusals.push(
            "masked_data=adopt carries over in place, by the ids that the engine has now; leave carry_over at in_place, \
             and adopt before you change user or range"
                .to_owned(),
        );
    }
    let masked = observed.masked.iter();
    let masked = masked.filter(|_| args.carry_over == CarryOver::InPlace);
    plan.warnings
        .extend(masked.map(|masked| masked.out_of_sight(observed)));
    let before = match in_use(observed) {
        Ok(before) => before,
        Err(unproven) => {
            plan.refusals.push(unproven.to_string());
            return Ok(plan);
        }
    };
    plan.maps = Some(choice.maps.clone());
    let after = config::with_remap(observed.config.as_deref(), Some(&args.user))?;
    let record = record(args, observed, after.clone(), &choice.maps)?;
    let configure = configure(args, observed, after, stamp, Some(record));
    if before == choice.maps {
        plan.steps.extend(account_step(observed, &choice));
        if observed.configured.as_ref() != Some(&args.user) {
            plan.refusals
                .extend(users::refusals(&args.user, &observed.ids));
            plan.steps.push(Step::Configure(Box::new(configure)));
        }
        if let Some(links) = missing_links(observed) {
            plan.steps.push(links);
            plan.warnings.extend(compat::warnings(observed));
        }
        return Ok(plan);
    }
    plan.refusals
        .extend(users::refusals(&args.user, &observed.ids));
    let (from, to) = (
        observed.engine_root(),
        layout_root(&observed.data_root, choice.ids()),
    );
    plan.data_root.clone_from(&to);
    plan.refusals.extend(refuse::engine(observed));
    plan.refusals.extend(refuse::closed(observed));
    let conditions = observed.conditions.refusals(Direction::Between);
    plan.refusals.extend(conditions);
    let (binds, shown) = bind_mounts::between(observed, moved(&before, &choice.maps));
    plan.refusals.extend(shown);
    plan.lost = loss::allowed(observed, &args.allow_loss);
    let staying = &observed.without(&plan.lost);
    let change = Change {
        now: observed,
        observed: staying,
        lost: &plan.lost.clone(),
        aside: None,
        binds: &binds,
        from: &from,
        to: &to,
        before,
        after: choice.maps.clone(),
        keep: refuse::kept(observed),
        carry: match args.carry_over {
            // A kept plain root is as good a way back from these ids as it was from those.
            CarryOver::InPlace | CarryOver::Copy => Carry::Move,
            CarryOver::None => Carry::Nothing,
        },
        host_mode: vec![],
        sysctls: vec![],
        compat_links: observed.compat_links.clone(),
    };
    let workloads = observed.workloads();
    if change.carry == Carry::Move {
        plan.refusals.extend(refuse::carry_over(observed));
        let inside = observed
            .remapped_roots
            .get(&*to.file_name().unwrap_or_default().to_string_lossy());
        let inside = inside.into_iter().flatten().filter(|_| from != to);
        plan.refusals.extend(refuse::occupied(inside, &to));
        for (workload, findings) in verdict::findings(&workloads, &observed.facts, &choice.maps.uid)
        {
            plan.take(workload, findings);
        }
    } else if from == to {
        plan.refusals.push(format!(
            "the new ids begin where the old ones do, so that {} stays the root and nothing can be left behind; take \
             carry_over=in_place",
            to.display()
        ));
    } else {
        plan.take_stops(&workloads, observed);
        plan.warnings.push(left_behind(observed));
    }
    plan.shift = change.shift();
    plan.steps = change.steps(account_step(observed, &choice), configure);
    plan.binds = Some(binds);
    Ok(plan)
}

/// Links that are asked for and not there yet; nothing has to stop for them.
fn missing_links(observed: &Observed) -> Option<Step> {
    let root = observed.engine_root();
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let entries = observed.remapped_roots.get(&*name);
    let names = compat::to_make(observed, entries.map_or(&[], Vec::as_slice));
    (!names.is_empty()).then(|| Step::CompatLinks {
        data_root: observed.data_root.clone(),
        engine_root: root.clone(),
        names,
        make: true,
    })
}

/// What it was before the engine was first remapped stays known.
fn record(
    args: &Args,
    observed: &Observed,
    after: Option<String>,
    maps: &IdMaps,
) -> Result<Record> {
    let former = observed.record.clone();
    let none = Record {
        config_file: args.config_file.clone(),
        ..Record::default()
    };
    Ok(Record {
        original: unconfigured(observed)?,
        written: after,
        maps: Some(maps.clone()),
        ..former.unwrap_or(none)
    })
}

#[cfg(test)]
mod tests;
