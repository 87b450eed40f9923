//! The strategy that touches no inode: the tree is mounted so that it shows other owners, now and at every boot.

mod plan;
mod present;

use crate::{
    args::{Args, OrKeep, State},
    observe::Tree,
};
use ansible_module::{Invocation, Outcome};
use anyhow::{Context, Result, bail, ensure};
use host::mounts;
use idmap::IdMaps;
use plan::Plan;
use std::time::Instant;
use trees::{
    guard::{check_path, homes},
    idmapped::{self, Record, Shown, Unit},
};

/// What was planned, and what for.
struct Planned {
    plan: Plan,
    /// The mount that shall be, or the one that shall go.
    record: Option<Record>,
    found: plan::Found,
}

/// Refuses what is shown by an idmapped mount to the other strategy, which would work on the ids seen.
pub fn check_unmapped(tree: &Tree) -> Result<()> {
    let path = tree.path.display();
    ensure!(
        Record::of(&tree.path)?.is_none(),
        "{path} is mounted with strategy=idmap; take that back with state=restored strategy=idmap first"
    );
    ensure!(
        !mounts::of_path(&tree.path)?.has("idmapped"),
        "{path} is on an idmapped mount: name the tree by its place on disk"
    );
    Ok(())
}

/// What a run would do, or whether it has nothing to do.
pub fn look(args: &Args, tree: &Tree, maps: Option<IdMaps>) -> Result<Outcome> {
    let since = Instant::now();
    let planned = prepare(args, tree, maps)?;
    if let (State::Verified, Plan::Show(reasons)) = (args.state, &planned.plan) {
        bail!(
            "{} is not shown as asked: {}",
            tree.path.display(),
            reasons.join(", ")
        );
    }
    outcome(planned, tree, since)
}

pub fn change(
    args: &Args,
    tree: &Tree,
    maps: Option<IdMaps>,
    invocation: &mut Invocation,
) -> Result<Outcome> {
    let since = Instant::now();
    let planned = prepare(args, tree, maps)?;
    let Planned {
        plan,
        record,
        found,
    } = &planned;
    let is_shown = found.shown == Shown::Yes;
    if let Some(record) = record {
        match plan {
            Plan::Nothing => {}
            Plan::Hide => idmapped::hide(record, is_shown)?,
            Plan::Show(_) => {
                idmapped::show(record, found.record.as_ref(), is_shown)?;
                let raw = idmapped::raw_copies(record)?;
                if !raw.is_empty() {
                    invocation.warn(format!(
                        "what is mounted on {} goes on to show the owners on disk until it is mounted again",
                        raw.join(", ")
                    ));
                }
            }
        }
    }
    outcome(planned, tree, since)
}

fn outcome(planned: Planned, tree: &Tree, since: Instant) -> Result<Outcome> {
    let Planned {
        plan,
        record,
        found,
    } = planned;
    let outcome = match record {
        Some(record) => {
            let unit = Unit::of(&record)?;
            present::outcome(&plan, &record, found.record.as_ref(), unit.name())
        }
        None => Outcome::new(false),
    };
    Ok(outcome
        .returning("path", tree.path.to_string_lossy())
        .returning("seconds", since.elapsed().as_secs_f64()))
}

/// Observes, plans, and refuses what has to be refused.
fn prepare(args: &Args, tree: &Tree, maps: Option<IdMaps>) -> Result<Planned> {
    ensure!(
        tree.record.is_none(),
        "{} was shifted; take that back with state=restored strategy=shift first",
        tree.path.display()
    );
    let recorded = Record::of(&tree.path)?;
    let shown = recorded.as_ref().map_or(Ok(Shown::No), idmapped::shown)?;
    let found = plan::Found {
        record: recorded,
        shown,
        is_installed: false,
    };
    if args.state == State::Restored {
        let plan = plan::hide(&found)?;
        let record = found.record.clone();
        if let (Some(record), Shown::Yes) = (&record, &found.shown) {
            idmapped::check_unused(record)?;
        }
        return Ok(Planned {
            plan,
            record,
            found,
        });
    }
    prepare_show(wanted(args, tree, maps)?, args, found)
}

fn prepare_show(wanted: Record, args: &Args, mut found: plan::Found) -> Result<Planned> {
    idmapped::check_systemd()?;
    found.is_installed = Unit::of(&wanted)?.is_installed()?;
    let shown = found.record.as_ref().filter(|_| found.shown == Shown::Yes);
    let source = idmapped::source(&wanted.path, shown)?;
    if !args.allow_exposed_path {
        idmapped::check_exposure(&wanted, &source.ancestors)?;
    }
    let plan = plan::show(&wanted, &found)?;
    if shown.is_none_or(|shown| !shown.shows_as(&wanted)) {
        let is_mount = idmapped::mounted_at(&wanted.mount_at)?.is_some();
        let is_ours = shown.is_some_and(|shown| shown.mount_at == wanted.mount_at);
        idmapped::check_place(&wanted.path, &wanted.mount_at, is_mount && !is_ours)?;
        idmapped::check_source(&wanted, &source, args.unmapped == OrKeep::Keep)?;
        match shown {
            Some(shown) => idmapped::check_unused(shown)?,
            None => drop(idmapped::view(&wanted)?),
        }
    }
    Ok(Planned {
        plan,
        record: Some(wanted),
        found,
    })
}

fn wanted(args: &Args, tree: &Tree, maps: Option<IdMaps>) -> Result<Record> {
    let place = args.mount_at.as_deref().map(idmapped::directory);
    let mount_at = place.unwrap_or_else(|| Ok(tree.path.clone()))?;
    check_path(&mount_at, &homes()?, args.allow_dangerous_path)?;
    Ok(Record {
        path: tree.path.clone(),
        mount_at,
        maps: maps.context("map or from is needed")?,
        services: plan::services(args.services.as_ref(), args.to.as_ref())?,
        executable: "volume_rechown".to_owned(),
    })
}
