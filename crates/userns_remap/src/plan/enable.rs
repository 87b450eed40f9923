//! The way there: on an engine that runs plain, or that was remapped by hand over data that is to be adopted. Pure.

use super::draft::{Plan, account_step, configure, layout_root, left_behind, named, unconfigured};
use crate::{
    args::{Args, CarryOver, MaskedData},
    bind_mounts::{self, Binds, decide::decide},
    change::Change,
    compat, config, copying, loss, masked,
    observed::{Masked, Observed},
    overrides,
    range::Choice,
    record::{Kept, Override, Record, Sysctls},
    refuse,
    step::{Carry, Direction, Step},
    users, verdict,
};
use anyhow::Result;
use idmap::{IdMap, IdMaps};
use std::path::Path;

pub fn plan(
    args: &Args,
    now: &Observed,
    choice: &Choice,
    adopted: Option<&Masked>,
    stamp: &str,
) -> Result<Plan> {
    let unmasked = adopted.map(|masked| masked.unmasked(now));
    let observed = unmasked.as_ref().unwrap_or(now);
    let target = layout_root(&observed.data_root, choice.ids());
    let settings = Settings::of(args, observed, &choice.maps.uid)?;
    let observed = &settings.made(observed);
    let keep = refuse::kept(observed);
    let lost = [now, observed].map(|observed| loss::allowed(observed, &args.allow_loss));
    let observed = &observed.without(&lost[1]);
    let mut plan = Plan {
        refusals: refusals(args, observed),
        maps: Some(choice.maps.clone()),
        data_root: target.clone(),
        lost: loss::all(lost),
        ..Plan::default()
    };
    plan.refusals.extend(settings.unknown.clone());
    let binds = plan.judge(args, now, observed, &choice.maps);
    let after = config::with_remap(observed.config.as_deref(), Some(&args.user))?;
    let record = Record {
        config_file: args.config_file.clone(),
        original: match adopted {
            // Whoever switched by hand left no record of the file as it was.
            Some(_) => unconfigured(now)?,
            None => observed.config.clone(),
        },
        written: after.clone(),
        host_mode: settings.host_mode.clone(),
        overrides: settings.overrides.clone(),
        maps: Some(choice.maps.clone()),
        kept: (args.carry_over == CarryOver::Copy).then(|| Kept::of(observed)),
        bind_mounts: binds.recorded(),
        sysctls: settings.sysctls.clone(),
    };
    let configure = configure(args, observed, after, stamp, Some(record));
    let carry = match args.carry_over {
        CarryOver::InPlace => Carry::Move,
        CarryOver::Copy => Carry::Copy,
        CarryOver::None => Carry::Nothing,
    };
    match carry {
        Carry::Nothing => plan.warnings.push(left_behind(observed)),
        _ => plan.carries(args, observed, &binds),
    }
    if carry == Carry::Copy {
        plan.refusals.extend(copying::refusals(observed));
    } else if carry == Carry::Move {
        plan.warnings.extend(compat::warnings(observed));
    }
    plan.make_way(args, (now, observed), &target, carry, stamp);
    let first = account_step(observed, choice).into_iter();
    let first = first.chain(settings.write());
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
        host_mode: settings.host_mode,
        sysctls: settings.sysctls,
        compat_links: match carry {
            Carry::Move => compat::to_make(observed, &observed.root),
            _ => vec![],
        },
    };
    plan.shift = change.shift();
    plan.steps = change.steps(first, configure);
    plan.binds = Some(binds);
    Ok(plan)
}

/// What is set so that each container can run.
struct Settings {
    /// The ids of containers that are to stay in the host's user namespace.
    host_mode: Vec<String>,
    sysctls: Vec<Sysctls>,
    overrides: Vec<Override>,
    /// A refusal for each name that nobody has.
    unknown: Vec<String>,
}

impl Settings {
    fn of(args: &Args, observed: &Observed, uids: &IdMap) -> Result<Self> {
        let (mut host_mode, unknown) = named(&args.host_mode, observed);
        host_mode.extend(overrides::containers(observed, uids));
        host_mode.sort();
        host_mode.dedup();
        Ok(Self {
            host_mode,
            sysctls: overrides::sysctls(observed, uids),
            overrides: overrides::to_write(observed, uids)?,
            unknown,
        })
    }

    /// The host as if they were made already.
    fn made(&self, observed: &Observed) -> Observed {
        observed
            .with_host_mode(&self.host_mode)
            .without_sysctls(&self.sysctls)
    }

    fn write(&self) -> Option<Step> {
        (!self.overrides.is_empty()).then(|| Step::Overrides(self.overrides.clone()))
    }
}

/// What stands in the way whatever becomes of the data.
fn refusals(args: &Args, observed: &Observed) -> Vec<String> {
    [
        refuse::engine(observed),
        users::refusals(&args.user, &observed.ids),
        refuse::closed(observed),
        observed.conditions.refusals(Direction::ToRemapped),
    ]
    .concat()
}

impl Plan {
    /// Takes what is to be said of each container, and decides how each bind mount is prepared.
    fn judge(&mut self, args: &Args, now: &Observed, observed: &Observed, maps: &IdMaps) -> Binds {
        let workloads = observed.workloads();
        let mut found = vec![];
        if args.carry_over == CarryOver::None {
            self.take_stops(&now.workloads(), now);
        } else {
            found = verdict::findings(&workloads, &observed.facts, &maps.uid);
            let mut others = now.workloads();
            others.retain(|workload| workloads.iter().all(|other| other.id != workload.id));
            self.take_stops(&others, now);
        }
        let decided = decide(args, observed, &workloads, maps, &mut found);
        self.refusals.extend(decided.refusals);
        self.warnings.extend(decided.warnings);
        found
            .into_iter()
            .for_each(|(workload, findings)| self.take(workload, findings));
        Binds {
            mounts: decided.mounts,
            maps: maps.clone(),
            direction: Direction::ToRemapped,
        }
    }

    /// What stands in the way of taking the data along.
    fn carries(&mut self, args: &Args, observed: &Observed, binds: &Binds) {
        self.refusals.extend(refuse::carry_over(observed));
        let decided = binds.mounts.iter().map(|(mount, _)| mount);
        let volumes = bind_mounts::volumes(observed, decided, args.other_bind_mounts);
        self.refusals.extend(volumes);
        self.refusals
            .extend(refuse::unknown(&observed.root, &observed.data_root));
        if args.compat_links && args.carry_over == CarryOver::Copy {
            self.refusals.push(
                "compat_links would stand where carry_over=copy keeps the old root; leave one of them out"
                    .to_owned(),
            );
        }
    }

    /// What is where the new root is to be.
    fn make_way(
        &mut self,
        args: &Args,
        (now, observed): (&Observed, &Observed),
        target: &Path,
        carry: Carry,
        stamp: &str,
    ) {
        if carry == Carry::Nothing {
            return;
        }
        let is_wanted = now.remapped.is_some() || args.masked_data == MaskedData::SetAside;
        let may_set_aside = is_wanted && carry == Carry::Move;
        let (aside, occupied) = masked::make_way(observed, target, may_set_aside, stamp);
        self.refusals.extend(occupied);
        self.warnings
            .extend(aside.iter().map(|aside| masked::set_aside(now, aside)));
        self.aside = aside;
    }
}
