//! From what is asked and what is there to the steps, the refusals and the warnings. Pure.

mod reassign;

use crate::{
    args::{Args, CarryOver, MaskedData, Others, State},
    bind_mounts::{self, Binds},
    change::{Carry, Change, Shift},
    compat, config, copying, kept, layout,
    loss::{self, Lost},
    masked,
    observe::Observed,
    overrides,
    range::{self, Choice},
    record::{Kept, Record},
    refuse,
    step::{Configure, Direction, Step},
    users,
    verdict::{self, Finding, Verdict},
    workload::Workload,
};
use anyhow::Result;
use idmap::IdMaps;
use std::path::{Path, PathBuf};

/// What will be done.
#[derive(Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Not empty: nothing is done.
    pub refusals: Vec<String>,
    pub warnings: Vec<String>,
    /// Container ids to host ids, as they will be; `None` when plain.
    pub maps: Option<IdMaps>,
    /// The data root in use afterwards.
    pub data_root: PathBuf,
    /// The trees whose ids have to be looked at before anything stops.
    pub shift: Option<Shift>,
    /// What becomes of bind mounts.
    pub binds: Option<Binds>,
    /// What the stop deletes, and the operator allows.
    pub lost: Vec<Lost>,
    /// Where a root is put that is in the way.
    pub aside: Option<PathBuf>,
}

impl Plan {
    /// Sorts what was found of a container into refusals and warnings.
    fn take(&mut self, workload: &Workload, findings: Vec<Finding>) {
        for finding in findings {
            let text = finding.of(workload);
            let allowed = finding.verdict == Verdict::RemovedWhenStopped
                && self.lost.iter().any(|lost| lost.name == workload.name);
            if finding.verdict.stands_in_the_way() && !allowed {
                self.refusals.push(text);
            } else {
                self.warnings.push(text);
            }
        }
    }

    /// Only what a stop does to containers.
    fn take_stops(&mut self, workloads: &[Workload], observed: &Observed) {
        for workload in workloads {
            self.take(workload, verdict::at_stop(workload, &observed.facts));
        }
    }
}

/// The date for backup names is the caller's: this room knows no clock.
pub fn plan(args: &Args, observed: &Observed, stamp: &str) -> Result<Plan> {
    let mut plan = match args.state {
        State::Enabled => enable(args, observed, stamp),
        State::Disabled => disable(args, observed, stamp),
    }?;
    if args.discard_new_data && args.state == State::Enabled {
        let said = "discard_new_data is for the way back, with state=disabled";
        plan.refusals.push(said.to_owned());
    }
    Ok(plan)
}

fn enable(args: &Args, observed: &Observed, stamp: &str) -> Result<Plan> {
    let choice = range::choose(args, &observed.ids)?;
    let target = layout_root(&observed.data_root, choice.ids());
    let mut unmasked = None;
    if observed.remapped.is_some() {
        match reassign::to_adopt(args, observed, &choice) {
            Some(masked) => unmasked = Some(masked.unmasked(observed)),
            None => return reassign::plan(args, observed, choice, stamp),
        }
    }
    let now = observed;
    let observed = unmasked.as_ref().unwrap_or(observed);
    let after = config::with_remap(observed.config.as_deref(), Some(&args.user))?;
    let overrides = overrides::to_write(observed, &choice.maps.uid)?;
    let (mut host_mode, unknown) = named(&args.host_mode, observed);
    host_mode.extend(overrides::containers(observed, &choice.maps.uid));
    host_mode.sort();
    host_mode.dedup();
    let sysctls = overrides::sysctls(observed, &choice.maps.uid);
    let observed = &observed
        .with_host_mode(&host_mode)
        .without_sysctls(&sysctls);
    let keep = refuse::kept(observed);
    let lost = [now, observed].map(|observed| loss::allowed(observed, &args.allow_loss));
    let observed = &observed.without(&lost[1]);
    let mut plan = Plan {
        refusals: [
            refuse::engine(observed),
            users::refusals(&args.user, &observed.ids),
            unknown,
        ]
        .concat(),
        maps: Some(choice.maps.clone()),
        data_root: target.clone(),
        lost: loss::all(lost),
        ..Plan::default()
    };
    plan.refusals.extend(refuse::closed(observed));
    let conditions = observed.conditions.refusals(Direction::ToRemapped);
    plan.refusals.extend(conditions);
    let workloads = observed.workloads();
    let mut found = vec![];
    match args.carry_over {
        CarryOver::InPlace | CarryOver::Copy => {
            found = verdict::findings(&workloads, &observed.facts, &choice.maps.uid);
            let also_stops =
                |workload: &Workload| workloads.iter().all(|other| other.id != workload.id);
            let others: Vec<_> = now.workloads().into_iter().filter(also_stops).collect();
            plan.take_stops(&others, now);
        }
        CarryOver::None => plan.take_stops(&now.workloads(), now),
    }
    let decided = bind_mounts::decide(args, observed, &workloads, &choice.maps, &mut found);
    plan.refusals.extend(decided.refusals);
    plan.warnings.extend(decided.warnings);
    found
        .into_iter()
        .for_each(|(workload, findings)| plan.take(workload, findings));
    let binds = Binds {
        mounts: decided.mounts,
        maps: choice.maps.clone(),
        direction: Direction::ToRemapped,
    };
    let record = Record {
        config_file: args.config_file.clone(),
        original: match unmasked {
            // Whoever switched by hand left no record of the file as it was.
            Some(_) => unconfigured(now)?,
            None => observed.config.clone(),
        },
        written: after.clone(),
        host_mode: host_mode.clone(),
        overrides: overrides.clone(),
        maps: Some(choice.maps.clone()),
        kept: (args.carry_over == CarryOver::Copy).then(|| Kept::of(observed)),
        bind_mounts: binds.recorded(),
        sysctls: sysctls.clone(),
    };
    let configure = configure(args, observed, after, stamp, Some(record));
    let carry = match args.carry_over {
        CarryOver::InPlace => Carry::Move,
        CarryOver::Copy => Carry::Copy,
        CarryOver::None => Carry::Nothing,
    };
    let may_set_aside = unmasked.is_some() || args.masked_data == MaskedData::SetAside;
    let (aside, occupied) = masked::make_way(
        observed,
        &target,
        may_set_aside && carry == Carry::Move,
        stamp,
    );
    plan.aside = aside;
    let change = Change {
        now,
        observed,
        lost: &plan.lost.clone(),
        aside: plan.aside.clone().map(|aside| (target.clone(), aside)),
        from: &observed.data_root,
        to: &target,
        before: IdMaps::identity(),
        after: choice.maps.clone(),
        keep,
        binds: &binds,
        carry,
        host_mode,
        sysctls,
        compat_links: match carry {
            Carry::Move => compat::to_make(observed, &observed.root),
            _ => vec![],
        },
    };
    if change.carry == Carry::Copy {
        plan.refusals.extend(copying::refusals(observed));
        plan.refusals.extend(args.compat_links.then(|| {
            "compat_links would stand where carry_over=copy keeps the old root; leave one of them out".to_owned()
        }));
    }
    if change.carry != Carry::Nothing {
        plan.refusals.extend(refuse::carry_over(observed));
        let decided = binds.mounts.iter().map(|(mount, _)| mount);
        plan.refusals.extend(bind_mounts::volumes(
            observed,
            decided,
            args.other_bind_mounts,
        ));
        plan.refusals
            .extend(refuse::unknown(&observed.root, &observed.data_root));
        plan.refusals.extend(occupied);
        plan.warnings
            .extend(plan.aside.iter().map(|aside| masked::set_aside(now, aside)));
        plan.warnings.extend(compat::warnings(observed));
    } else {
        plan.warnings.push(left_behind(observed));
    }
    let account = account_step(observed, &choice);
    let overrides = (!overrides.is_empty()).then_some(Step::Overrides(overrides));
    plan.shift = change.shift();
    plan.steps = change.steps(account.into_iter().chain(overrides), configure);
    plan.binds = Some(binds);
    Ok(plan)
}

fn disable(args: &Args, observed: &Observed, stamp: &str) -> Result<Plan> {
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
        Carry::Move | Carry::Copy => {
            plan.refusals.extend(refuse::carry_over(observed));
            let left = bind_mounts::left_alone(args);
            let decided = binds.mounts.iter().map(|(mount, _)| mount).chain(&left);
            plan.refusals
                .extend(bind_mounts::volumes(observed, decided, Others::Warn));
            let old = observed
                .root
                .iter()
                .filter(|entry| !layout::is_beside(&entry.name) && !observed.is_kept(&entry.name));
            let occupied = refuse::occupied(old, &observed.data_root);
            plan.refusals.extend(occupied.map(|said| {
                format!("{said}; or carry it over first, with state=enabled masked_data=adopt")
            }));
        }
        Carry::FallBack => plan.warnings.push(kept::discarded(observed)),
        Carry::Nothing => plan.warnings.push(left_behind(observed)),
    }
    let aside = observed
        .root
        .iter()
        .filter(|entry| layout::is_aside(&entry.name));
    plan.warnings.extend(aside.map(|entry| {
        let path = observed.data_root.join(&entry.name);
        format!("{} was set aside earlier, and stays", path.display())
    }));
    let (overrides, left) = overrides::back(observed);
    plan.warnings.extend(left);
    let overrides = (!overrides.is_empty()).then_some(Step::Overrides(overrides));
    plan.shift = change.shift();
    plan.steps = change.steps(overrides, configure);
    plan.binds = Some(binds);
    Ok(plan)
}

/// The configuration without the key: what it was before `enabled`, byte for byte, unless somebody has
/// changed the file since.
fn unconfigured(observed: &Observed) -> Result<Option<String>> {
    match &observed.record {
        Some(record) if record.written == observed.config => Ok(record.original.clone()),
        _ => config::with_remap(observed.config.as_deref(), None),
    }
}

/// The ids of the containers that are named and do not stay in the host's user namespace yet; and a refusal for
/// each name that nobody has.
fn named(names: &[String], observed: &Observed) -> (Vec<String>, Vec<String>) {
    let find = |name: &String| {
        let mut containers = observed.containers.iter();
        containers.find(|container| container.name() == name)
    };
    let found = names.iter().filter_map(find);
    let to_set = found.filter(|container| container.host_config.userns_mode != "host");
    let unknown = names.iter().filter(|name| find(name).is_none());
    (
        to_set.map(|container| container.id.clone()).collect(),
        unknown
            .map(|name| format!("host_mode names {name}, but there is no such container"))
            .collect(),
    )
}

/// With the record of what it changes; without, nothing is remembered any more.
fn configure(
    args: &Args,
    observed: &Observed,
    after: Option<String>,
    stamp: &str,
    remember: Option<Record>,
) -> Configure {
    let backup = args.backup && observed.config.is_some() && after != observed.config;
    Configure {
        path: args.config_file.clone(),
        before: observed.config.clone(),
        after,
        backup: backup.then(|| host::files::backup_path(&args.config_file, stamp)),
        record_before: observed.record.clone(),
        record_after: remember,
    }
}

/// What is missing of the account and its ranges.
fn account_step(observed: &Observed, choice: &Choice) -> Option<Step> {
    let create = observed.ids.account.is_none();
    (create || !choice.add.is_empty()).then(|| Step::Account {
        name: observed.ids.name.clone(),
        create,
        ranges: choice.add.clone(),
    })
}

fn layout_root(data_root: &Path, (uid, gid): (u32, u32)) -> PathBuf {
    data_root.join(format!("{uid}.{gid}"))
}

fn left_behind(observed: &Observed) -> String {
    format!(
        "carry_over=none: {} images, {} containers and {} volumes stay behind in {}; they are out of sight, not lost",
        observed.images.len(),
        observed.containers.len(),
        observed.volumes.len(),
        observed.engine_root().display()
    )
}

#[cfg(test)]
mod tests;
