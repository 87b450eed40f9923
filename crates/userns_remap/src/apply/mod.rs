//! Runs the plan's steps: the only room that changes the host.

mod configure;
mod containers;
mod convert;
mod engine;
mod overrides;

use crate::{
    compat, guard,
    paths::{IN_PROGRESS, STATE},
    step::{Direction, Step},
};
use anyhow::{Context as _, Result, ensure};
use host::accounts;
use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use transaction::{Recovery, Store, Undone};

/// The kind of our transactions.
const KIND: &str = "userns_remap";

/// What the steps of one run share, and what they learned.
pub struct Context {
    /// This early in the boot no unit can be started.
    pub boot: bool,
    pub timeout: Duration,
    /// Set when the user wants it to end: the change is then taken back.
    pub interrupted: Arc<AtomicBool>,
    pub warnings: Vec<String>,
    /// The step that is being taken, forward or back.
    pub step: Arc<Mutex<&'static str>>,
    pub shifted: Option<rechown::Report>,
    pub restarted: Vec<String>,
    containers_stopped: Option<Instant>,
    engine_stopped: Option<Instant>,
    /// From the stop of the first container to the last one's coming back.
    pub downtime: Option<Duration>,
    /// How long the engine itself was down.
    pub engine_downtime: Option<Duration>,
}

impl Context {
    pub fn new(boot: bool, timeout: Duration) -> Context {
        Context {
            boot,
            timeout,
            interrupted: Arc::default(),
            warnings: vec![],
            step: Arc::new(Mutex::new("look")),
            shifted: None,
            restarted: vec![],
            containers_stopped: None,
            engine_stopped: None,
            downtime: None,
            engine_downtime: None,
        }
    }

    fn takes(&self, step: &Step) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step.name();
    }
}

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

    fn finish(&self, _context: &mut Context) -> Result<(), String> {
        match self {
            Step::Guard { .. } => guard::remove().map_err(|error| format!("{error:#}")),
            _ => Ok(()),
        }
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
        } => {
            if *create {
                accounts::add_system(name)?;
            }
            ranges
                .iter()
                .try_for_each(|(kind, range)| accounts::add_range(name, *kind, *range))
        }
        Step::Overrides(changes) => overrides::apply(changes),
        Step::Guard { needs } => guard::install(needs),
        Step::StopContainers { running, .. } => {
            context.containers_stopped = Some(Instant::now());
            containers::stop(running)
        }
        Step::StopEngine { units } => {
            context.engine_stopped = Some(Instant::now());
            engine::stop(units)
        }
        Step::Hold => guard::hold(),
        Step::ProveStopped { data_root } => engine::prove_stopped(data_root),
        Step::SetAside { from, to, bridges } => {
            engine::remove_bridges(bridges)?;
            convert::set_aside(from, to)
        }
        Step::MoveRoot { from, to } => convert::move_root(from, to),
        Step::Own {
            engine_root,
            data_root,
            ids,
            direction,
        } => convert::own(engine_root, data_root, *ids, *direction),
        Step::Shift {
            engine_root,
            maps,
            keep,
            direction,
        } => {
            context.shifted = Some(convert::shift(engine_root, maps, keep, *direction)?);
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
        } => {
            engine::start(units, expected_root, context.timeout)?;
            context.engine_downtime = context.engine_stopped.map(|since| since.elapsed());
            Ok(())
        }
        Step::VerifyInventory(expected) => engine::verify(expected),
        Step::StartContainers {
            running,
            idle,
            uid_start,
        } => {
            containers::start_exactly(running, idle, *uid_start, context.timeout)?;
            context.downtime = context.containers_stopped.map(|since| since.elapsed());
            context.restarted = running
                .iter()
                .map(|container| container.name.clone())
                .collect();
            Ok(())
        }
    }
}

fn undo(step: &Step, context: &mut Context) -> Result<Undone> {
    context.takes(step);
    match step {
        Step::Account {
            name,
            create,
            ranges,
        } => {
            if *create {
                accounts::remove(name)?;
            } else {
                for (kind, range) in ranges {
                    accounts::remove_range(name, *kind, *range)?;
                }
            }
        }
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
        Step::SetAside { from, to, .. } => convert::set_aside(to, from)?,
        Step::MoveRoot { from, to } => convert::move_back(from, to)?,
        Step::Own {
            engine_root,
            data_root,
            ids,
            direction,
        } => {
            convert::own(engine_root, data_root, *ids, direction.reversed())?;
        }
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
        Step::ProveStopped { .. }
        | Step::StartEngine { .. }
        | Step::VerifyInventory(_)
        | Step::StartContainers { .. } => {}
    }
    Ok(Undone::Whole)
}

impl Direction {
    fn reversed(self) -> Direction {
        match self {
            Direction::ToRemapped => Direction::ToPlain,
            Direction::ToPlain => Direction::ToRemapped,
        }
    }
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
