//! From what is asked and what is there to the steps, the refusals and the warnings. Pure.

use crate::{
    args::{Args, CarryOver, MaskedData, State},
    change::{Change, Shift},
    compat, config, layout,
    loss::{self, Lost},
    masked,
    observe::Observed,
    overrides,
    range::{self, Choice},
    record::{Override, Record},
    refuse,
    step::{Configure, Direction, Step},
    verdict::{self, Finding, Verdict},
    workload::Workload,
};
use anyhow::{Context, Result};
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
    match args.state {
        State::Enabled => enable(args, observed, stamp),
        State::Disabled => disable(args, observed, stamp),
    }
}

fn enable(args: &Args, observed: &Observed, stamp: &str) -> Result<Plan> {
    let choice = range::choose(args, &observed.ids)?;
    let target = layout_root(&observed.data_root, choice.ids());
    let mut unmasked = None;
    if let Some(ids) = observed.remapped {
        let adopt = args.masked_data == MaskedData::Adopt && args.carry_over == CarryOver::InPlace;
        let masked = observed.masked.as_ref().filter(|_| adopt);
        match (otherwise_remapped(args, observed, &choice, ids), masked) {
            (None, Some(masked)) => unmasked = Some(masked.unmasked(observed)),
            (refusal, _) => return already_remapped(args, observed, choice, refusal),
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
        refusals: [refuse::engine(observed), unknown].concat(),
        maps: Some(choice.maps.clone()),
        data_root: target.clone(),
        lost: loss::all(lost),
        ..Plan::default()
    };
    if args.user != "default" && observed.ids.account.is_none() {
        plan.refusals.push(format!(
            "there is no account {}; make it first, or leave `user` at default",
            observed.ids.name
        ));
    }
    plan.refusals.extend(refuse::closed(observed));
    let workloads = observed.workloads();
    match args.carry_over {
        CarryOver::InPlace => {
            let found = verdict::findings(&workloads, &observed.facts, &choice.maps.uid);
            found
                .into_iter()
                .for_each(|(workload, findings)| plan.take(workload, findings));
            let also_stops =
                |workload: &Workload| workloads.iter().all(|other| other.id != workload.id);
            let others: Vec<_> = now.workloads().into_iter().filter(also_stops).collect();
            plan.take_stops(&others, now);
        }
        CarryOver::None => plan.take_stops(&now.workloads(), now),
    }
    let remember = Some((host_mode.clone(), overrides.clone()));
    let mut configure = configure(args, observed, after, stamp, remember);
    if let Some(record) = &mut configure.record_after {
        record.sysctls.clone_from(&sysctls);
        if unmasked.is_some() {
            // Whoever switched by hand left no record of the file as it was.
            record.original = unconfigured(now)?;
        }
    }
    let account = Step::Account {
        name: observed.ids.name.clone(),
        create: observed.ids.account.is_none(),
        ranges: choice.add.clone(),
    };
    let may_set_aside = unmasked.is_some() || args.masked_data == MaskedData::SetAside;
    let in_place = args.carry_over == CarryOver::InPlace;
    let (aside, occupied) = masked::make_way(observed, &target, may_set_aside && in_place, stamp);
    plan.aside = aside;
    let change = Change {
        now,
        observed,
        lost: &plan.lost.clone(),
        aside: plan.aside.clone().map(|aside| (target.clone(), aside)),
        from: &observed.data_root,
        to: &target,
        ids: choice.ids(),
        maps: choice.maps.clone(),
        direction: Direction::ToRemapped,
        keep,
        in_place,
        host_mode,
        sysctls,
        compat_links: compat::to_make(observed, &observed.root),
    };
    if change.in_place {
        plan.refusals.extend(refuse::carry_over(observed));
        plan.refusals
            .extend(refuse::unknown(&observed.root, &observed.data_root));
        plan.refusals.extend(occupied);
        plan.warnings
            .extend(plan.aside.iter().map(|aside| masked::set_aside(now, aside)));
        plan.warnings.extend(compat::warnings(observed));
    } else {
        plan.warnings.push(left_behind(observed));
    }
    let account = Some(account).filter(account_needed);
    let overrides = (!overrides.is_empty()).then_some(Step::Overrides(overrides));
    plan.shift = change.shift();
    plan.steps = change.steps(account.into_iter().chain(overrides), configure);
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
    let maps = active_maps(observed, ids)?;
    plan.refusals = refuse::engine(observed);
    plan.lost = loss::allowed(observed, &args.allow_loss);
    plan.take_stops(&observed.workloads(), observed);
    let from = layout_root(&observed.data_root, ids);
    let staying = &observed.without(&plan.lost);
    let change = Change {
        now: observed,
        observed: staying,
        lost: &plan.lost.clone(),
        aside: None,
        from: &from,
        to: &observed.data_root,
        ids,
        maps: maps.invert(),
        direction: Direction::ToPlain,
        keep: refuse::kept(observed),
        in_place: args.carry_over == CarryOver::InPlace,
        host_mode: (observed.record.iter())
            .flat_map(|record| record.host_mode.clone())
            .collect(),
        sysctls: (observed.record.iter())
            .flat_map(|record| record.sysctls.clone())
            .collect(),
        compat_links: observed.compat_links.clone(),
    };
    if change.in_place {
        plan.refusals.extend(refuse::carry_over(observed));
        let old = observed
            .root
            .iter()
            .filter(|entry| !layout::is_other_root(&entry.name));
        let occupied = refuse::occupied(old, &observed.data_root);
        plan.refusals.extend(occupied.map(|said| {
            format!("{said}; or carry it over first, with state=enabled masked_data=adopt")
        }));
    } else {
        plan.warnings.push(left_behind(observed));
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
    Ok(plan)
}

/// The engine runs remapped: by the wanted ids, and there is nothing to do, or by others.
fn already_remapped(
    args: &Args,
    observed: &Observed,
    choice: Choice,
    refusal: Option<String>,
) -> Result<Plan> {
    let mut plan = Plan {
        data_root: observed.engine_root(),
        refusals: refusal.into_iter().collect(),
        ..Plan::default()
    };
    if observed.masked.is_some()
        && args.masked_data == MaskedData::Adopt
        && plan.refusals.is_empty()
    {
        plan.refusals.push(
            "masked_data=adopt carries over in place; leave carry_over at in_place".to_owned(),
        );
    }
    let masked = observed.masked.iter();
    let masked = masked.filter(|_| args.carry_over == CarryOver::InPlace);
    plan.warnings.extend(masked.map(|masked| {
        format!(
            "{} holds {} that are out of the engine's sight, of an earlier attempt most likely; \
             masked_data=adopt carries them over in place of what the engine has now",
            observed.data_root.display(),
            masked.counts()
        )
    }));
    let root = observed.engine_root();
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let entries = observed.remapped_roots.get(&*name);
    let links = compat::to_make(observed, entries.map_or(&[], Vec::as_slice));
    if !links.is_empty() {
        plan.warnings.extend(compat::warnings(observed));
        plan.steps.push(Step::CompatLinks {
            data_root: observed.data_root.clone(),
            engine_root: root.clone(),
            names: links,
            make: true,
        });
    }
    let (not_yet, unknown) = named(&args.host_mode, observed);
    plan.refusals.extend(unknown);
    if !not_yet.is_empty() {
        plan.refusals.push(format!(
            "host_mode names containers that run remapped: {}; their files have been shifted; disable that first",
            not_yet.join(", ")
        ));
    }
    plan.maps = Some(choice.maps);
    Ok(plan)
}

/// Whether the engine runs remapped, but not by the wanted ids.
fn otherwise_remapped(
    args: &Args,
    observed: &Observed,
    choice: &Choice,
    ids: (u32, u32),
) -> Option<String> {
    let configured = observed.configured.as_deref();
    let otherwise = configured != Some(&args.user) || choice.ids() != ids || !choice.add.is_empty();
    otherwise.then(|| {
        format!(
            "the engine already runs remapped, as {} from {}:{}; disable that first",
            configured.unwrap_or("nobody that the configuration file names"),
            ids.0,
            ids.1
        )
    })
}

/// The maps that the running engine uses, read from the files and held against its root's name.
fn active_maps(observed: &Observed, ids: (u32, u32)) -> Result<IdMaps> {
    let account = &observed.ids;
    let uid = account.account.as_ref().map(|account| account.uid);
    let maps = IdMaps {
        uid: idmap::docker(&account.subuid.ranges_of(&account.name, uid))?,
        gid: idmap::docker(&account.subgid.ranges_of(&account.name, uid))?,
    };
    let found = (maps.uid.to_host(0), maps.gid.to_host(0));
    let agree = found == (Some(ids.0), Some(ids.1));
    agree.then_some(maps).with_context(|| {
        format!(
            "the engine runs remapped from {}:{}, but /etc/subuid and /etc/subgid give {} other ids now; \
             put its old ranges back before going back",
            ids.0, ids.1, account.name
        )
    })
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

/// With the ids of the containers that are set to host mode and the overrides to remember; without, nothing is
/// remembered any more.
fn configure(
    args: &Args,
    observed: &Observed,
    after: Option<String>,
    stamp: &str,
    remember: Option<(Vec<String>, Vec<Override>)>,
) -> Configure {
    let backup = args.backup && observed.config.is_some() && after != observed.config;
    Configure {
        path: args.config_file.clone(),
        before: observed.config.clone(),
        after: after.clone(),
        backup: backup.then(|| host::files::backup_path(&args.config_file, stamp)),
        record_before: observed.record.clone(),
        record_after: remember.map(|(host_mode, overrides)| Record {
            config_file: args.config_file.clone(),
            original: observed.config.clone(),
            written: after,
            host_mode,
            overrides,
            sysctls: vec![],
        }),
    }
}

fn account_needed(step: &Step) -> bool {
    matches!(step, Step::Account { create, ranges, .. } if *create || !ranges.is_empty())
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
