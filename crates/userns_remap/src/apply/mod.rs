//! Runs the plan's steps: the only room that changes the host.

mod account;
mod aside;
mod bind_mounts;
mod configure;
mod containers;
mod context;
mod convert;
mod copy;
mod downtime;
mod engine;
mod overrides;

pub use context::Context;

use crate::{
    compat, guard,
    paths::{IN_PROGRESS, STATE},
    step::Step,
};
use anyhow::{Context as _, Result, ensure};
use std::{path::Path, sync::atomic::Ordering};
use transaction::{Recovery, Store, Undone};

/// The kind of our transactions.
const KIND: &str = "userns_remap";

impl transaction::Step for Step {
    type Context = Context;
    type Error = String;

    fn name(&self) -> &str {
        Step::name(self)
    }

    fn apply(&self, context: &mut Context) -> Result<(), String> {
        apply(self, context).map_err(|error| format!("{error:#}"))
    }

    fn undo(&self, context: &mut Context) -> Result<Undone, String> {
        undo(self, context).map_err(|error| format!("{error:#}"))
    }

    fn finish(&self, context: &mut Context) -> Result<(), String> {
        context.takes(self);
        match self {
            Step::Guard { .. } => guard::remove(),
            Step::SetAside { aside, .. } => aside::delete(aside),
            _ => Ok(()),
        }
        .map_err(|error| format!("{error:#}"))
    }
}

fn apply(step: &Step, context: &mut Context) -> Result<()> {
    context.takes(step);
    ensure!(
        !context.interrupted.load(Ordering::Relaxed),
        "interrupted by a signal"
    );
    match step {
        Step::Account {
            name,
            create,
            ranges,
        } => account::apply(name, *create, ranges),
        Step::Overrides(changes) => overrides::apply(changes),
        Step::Guard { needs } => guard::install(needs),
        Step::StopContainers { running, .. } => {
            context.downtime.begin();
            containers::stop(running)?;
            if context.copied_layers.is_some() {
                context.inventory = Some(engine::inventory()?);
            }
            Ok(())
        }
        Step::StopEngine { units } => engine::stop(units),
        Step::Hold => engine::hold(),
        Step::ProveStopped { data_root } => engine::prove_stopped(data_root),
        Step::CopyLayers {
            from,
            to,
            maps,
            running,
        } => copy::layers(from, to, maps, running, context),
        Step::CopyRest {
            from,
            to,
            maps,
            keep,
        } => copy::rest(from, to, maps, keep, context),
        Step::UseCopy { .. } => Ok(()),
        Step::SetAside {
            data_root,
            names,
            aside,
        } => aside::put(data_root, names, aside),
        Step::SetRootAside { from, to, bridges } => {
            engine::remove_bridges(bridges)?;
            convert::set_aside(from, to)
        }
        Step::MoveRoot { from, to } => convert::move_root(from, to),
        Step::Own {
            engine_root,
            data_root,
            after,
            ..
        } => convert::own(engine_root, data_root, *after),
        Step::Shift {
            engine_root,
            maps,
            keep,
            direction,
        } => {
            context.shifted = Some(convert::shift(
                engine_root,
                maps,
                keep,
                *direction,
                "shift",
            )?);
            Ok(())
        }
        Step::RewriteContainers {
            engine_root,
            from,
            to,
        } => convert::rewrite(engine_root, from, to),
        Step::SetHostMode {
            engine_root,
            containers,
            host,
        } => convert::set_host_mode(engine_root, containers, *host),
        Step::ShiftBindMount {
            path,
            maps,
            policy,
            journal,
        } => bind_mounts::shift(path, maps, *policy, journal),
        Step::ShowBindMount { record, visible } => bind_mounts::show(record, *visible),
        Step::SetSysctls {
            engine_root,
            containers,
            on,
        } => convert::set_sysctls(engine_root, containers, *on),
        Step::CompatLinks {
            data_root,
            engine_root,
            names,
            make,
        } => compat::set(data_root, engine_root, names, *make),
        Step::Configure(change) => configure::apply(change),
        Step::Release => guard::release(),
        Step::StartEngine {
            units,
            expected_root,
        } => engine::start(units, expected_root, context.timeout),
        Step::VerifyInventory(expected) => {
            engine::verify(context.inventory.as_ref().unwrap_or(expected))
        }
        Step::StartContainers {
            running,
            idle,
            maps,
        } => {
            containers::start(running, maps, context.timeout)?;
            context.downtime.end(step);
            containers::settle(running, idle, maps, context.timeout)?;
            context.restarted = running
                .iter()
                .map(|container| container.name.clone())
                .collect();
            Ok(())
        }
    }?;
    context.downtime.count(step);
    Ok(())
}

fn undo(step: &Step, context: &mut Context) -> Result<Undone> {
    context.takes(step);
    match step {
        Step::Account {
            name,
            create,
            ranges,
        } => account::undo(name, *create, ranges)?,
        Step::Overrides(changes) => overrides::undo(changes)?,
        Step::Guard { .. } => guard::remove()?,
        // The engine is not up yet this early in the boot, and may not be waited for.
        Step::StopContainers { .. } | Step::StopEngine { .. } if context.boot => {
            return Ok(Undone::Later);
        }
        Step::StopContainers { running, idle } => {
            context
                .warnings
                .extend(containers::start_what_can(running, idle, context.timeout));
        }
        Step::StopEngine { units } => engine::restart(units, context.timeout)?,
        Step::Hold => guard::release()?,
        Step::CopyLayers { to, .. } => aside::delete(to)?,
        Step::UseCopy { copy, aside } => context.warnings.extend(copy::give_up(copy, aside)?),
        Step::SetAside {
            data_root,
            names,
            aside,
        } => aside::bring_back(data_root, names, aside)?,
        Step::SetRootAside { from, to, .. } => convert::set_aside(to, from)?,
        Step::MoveRoot { from, to } => convert::move_back(from, to)?,
        Step::Own {
            engine_root,
            data_root,
            before,
            ..
        } => convert::own(engine_root, data_root, *before)?,
        Step::Shift {
            engine_root, keep, ..
        } => convert::unshift(engine_root, keep)?,
        Step::RewriteContainers {
            engine_root,
            from,
            to,
        } => convert::rewrite(engine_root, to, from)?,
        Step::SetHostMode {
            engine_root,
            containers,
            host,
        } => convert::set_host_mode(engine_root, containers, !host)?,
        Step::ShiftBindMount { path, journal, .. } => bind_mounts::unshift(path, journal)?,
        Step::ShowBindMount { record, visible } => bind_mounts::show(record, !visible)?,
        Step::SetSysctls {
            engine_root,
            containers,
            on,
        } => convert::set_sysctls(engine_root, containers, !on)?,
        Step::CompatLinks {
            data_root,
            engine_root,
            names,
            make,
        } => compat::set(data_root, engine_root, names, !make)?,
        Step::Configure(change) => configure::undo(change)?,
        Step::Release => guard::hold()?,
        Step::StartEngine { expected_root, .. } if !context.boot => engine::unstart(expected_root)?,
        // The copy goes as a whole, with the layers, once all runs again.
        Step::CopyRest { .. }
        | Step::ProveStopped { .. }
        | Step::StartEngine { .. }
        | Step::VerifyInventory(_)
        | Step::StartContainers { .. } => {}
    }
    Ok(Undone::Whole)
}

/// Runs the steps in one transaction.
pub fn run(store: &Store, steps: Vec<Step>, data_root: &Path, context: &mut Context) -> Result<()> {
    let sync = [STATE, "/etc"]
        .iter()
        .map(Into::into)
        .chain([data_root.to_owned()])
        .collect();
    let mut open = store.begin(KIND, steps, sync)?;
    open.run(context).map_err(anyhow::Error::new)
}

/// Finishes or undoes what an earlier run left open; `None` when it left nothing.
pub fn recover(store: &Store, context: &mut Context) -> Result<Option<Recovery>> {
    // After an update this executable may not know the steps that an older one wrote down.
    let interrupted = store.interrupted::<Step>(KIND).with_context(|| {
        format!(
            "an earlier run was interrupted, perhaps of another version: `{STATE}/userns_remap recover`, \
             which wrote the journal, finishes or undoes it"
        )
    })?;
    let Some(mut open) = interrupted else {
        return Ok(None);
    };
    let recovered = open.recover(context);
    recovered.map(Some).map_err(|(step, reason)| {
        anyhow::anyhow!(
            "an earlier run was interrupted, and taking back its step {step} failed: {reason}\n\
             The journal is in {IN_PROGRESS}; nothing else was touched"
        )
    })
}
