//! Carries a plan out, as one transaction.

mod data;
mod files;
mod guard;
mod run;
mod store;
mod verify;

use crate::{
    record::{self, Record, STATE},
    step::{Expected, Side, Step, What},
};
use anyhow::{Context as _, Result, bail};
use host::{accounts::Account, clock::now, podman::Podman};
use std::{fs, path::Path, time::Duration};
use transaction::{Recovery, Store, Undone};

/// The kind of transaction, as the journal has it.
const KIND: &str = "podman_service";

/// Copying an image of many gigabytes.
const COPYING: Duration = Duration::from_secs(4 * 3600);

/// What the steps share.
pub struct Context {
    /// How long the service may take to come up.
    pub timeout: Duration,
    pub warnings: Vec<String>,
    /// What was found right.
    pub checks: Vec<String>,
    /// When the service was started, in seconds since 1970.
    started: i64,
    /// Entries of the data, and how many of them were shifted.
    pub shifted: Option<rechown::Report>,
}

impl Context {
    pub fn new(timeout: Duration) -> Context {
        Context {
            timeout,
            warnings: vec![],
            checks: vec![],
            started: now(),
            shifted: None,
        }
    }
}

impl Step {
    fn account(&self, side: Side) -> &Account {
        match side {
            Side::Old => &self.from,
            Side::New => &self.to,
        }
    }

    fn podman(&self, side: Side) -> Podman<'_> {
        Podman {
            account: self.account(side),
            timeout: COPYING,
        }
    }
}

/// Carries out all of `steps`, or nothing.
///
/// # Errors
/// With the step that failed, and what became of the move.
pub fn run(store: &Store, steps: Vec<Step>, context: &mut Context) -> Result<()> {
    let sync = file_systems(&steps);
    let mut open = store.begin(KIND, steps, sync)?;
    match open.run(context) {
        Ok(()) => Ok(()),
        Err(failed) => bail!("{failed}"),
    }
}

/// A path on every file system that the steps touch.
fn file_systems(steps: &[Step]) -> Vec<std::path::PathBuf> {
    let mut paths = vec![STATE.into(), "/etc".into()];
    for step in steps {
        paths.push(step.to.home.clone());
        let trees: Vec<&Path> = match &step.what {
            What::Stop { trees, .. } => trees.iter().map(|tree| &**tree).collect(),
            // The place may not be there yet.
            What::Move { trees, .. } => (trees.iter())
                .filter_map(|(_, to)| to.ancestors().skip(1).find(|above| above.exists()))
                .collect(),
            _ => continue,
        };
        paths.extend(
            trees
                .iter()
                .map(|tree| tree.parent().unwrap_or(tree).to_owned()),
        );
    }
    paths.sort();
    paths.dedup();
    paths.retain(|path: &std::path::PathBuf| path.exists());
    paths
}

/// Finishes or undoes what an earlier run left open.
///
/// # Errors
/// When that is impossible; it stays open then.
pub fn recover(store: &Store, context: &mut Context) -> Result<Option<Recovery>> {
    let Some(mut open) = store.interrupted::<Step>(KIND)? else {
        return Ok(None);
    };
    let recovered = open.recover(context);
    let recovered = recovered.map_err(|(step, reason)| anyhow::anyhow!("{reason} (step {step})"));
    recovered.map(Some).with_context(|| {
        format!(
            "an earlier move was interrupted, and ({}) cannot be ended",
            store.in_progress().display()
        )
    })
}

impl transaction::Step for Step {
    type Context = Context;
    type Error = anyhow::Error;

    fn name(&self) -> &str {
        self.what.name()
    }

    fn apply(&self, context: &mut Context) -> Result<()> {
        self.carry_out(&self.what, context)
    }

    fn undo(&self, context: &mut Context) -> Result<Undone> {
        match &self.what {
            What::Guard => guard::remove()?,
            What::Shift { trees, .. } => data::unshift(trees)?,
            // What was started at boot on the data as it is now must not be in the way.
            What::Write { .. } => {
                run::stop_new(self, context)?;
                self.take_back(context)?;
            }
            What::Record { name, .. } => host::files::remove_optional(&record::place(name))?,
            _ => self.take_back(context)?,
        }
        Ok(Undone::Whole)
    }

    fn finish(&self, _context: &mut Context) -> Result<()> {
        match &self.what {
            What::Guard => guard::remove(),
            What::Tidy { made } => made.iter().try_for_each(|what| {
                let step = Step {
                    what: what.clone(),
                    ..self.clone()
                };
                step.unmake()
            }),
            _ => Ok(()),
        }
    }
}

impl Step {
    fn take_back(&self, context: &mut Context) -> Result<()> {
        match self.what.inverse() {
            Some(inverse) => self.carry_out(&inverse, context),
            None => self.unmake(),
        }
    }

    fn carry_out(&self, what: &What, context: &mut Context) -> Result<()> {
        match what {
            What::Guard => guard::install([&self.from, &self.to]),
            What::Image { name, pull } => store::image(self, name, *pull),
            What::Network(network) => store::network(self, network),
            What::Secret { name } => store::secret(self, name),
            What::Login { registries } => store::log_in(self, registries),
            What::Volume(volume) => store::volume(self, volume),
            What::Files { copies } => files::copy(copies, &self.from, &self.to),
            What::KeepSecrets {
                configuration,
                text,
            } => host::files::write_atomic(configuration, text.as_bytes(), 0o644),
            What::Stop { side, units, trees } => {
                run::stop(self, *side, units, context.timeout)?;
                data::prove_unused(trees)
            }
            What::Start { side, units, .. } => {
                context.started = now();
                run::start(self, *side, units, context.timeout)
            }
            What::Disable { side, units } => run::enable(self, *side, "disable", units),
            What::Enable { side, units } => run::enable(self, *side, "enable", units),
            What::Hide { files } => {
                files::hide(files, &self.to)?;
                run::reload(self, Side::Old)
            }
            What::Show { files } => {
                files::show(files, &self.to)?;
                run::reload(self, Side::Old)
            }
            What::Move { side, trees } => data::rename(trees, self.account(*side)),
            What::Shift {
                trees,
                maps,
                policy,
            } => {
                context.shifted = Some(data::shift(trees, maps, *policy)?);
                Ok(())
            }
            What::Write { changes } => {
                files::write_units(changes, &self.to)?;
                run::reload(self, Side::New)
            }
            What::Verify { side, expected } => {
                let started = context.started;
                let checks = verify::service(self, *side, expected, started, context.timeout)?;
                context.checks.extend(checks);
                Ok(())
            }
            What::Record { name, steps } => match steps {
                Some(steps) => write_record(name, steps),
                None => host::files::remove_optional(&record::place(name)),
            },
            What::Own(_) | What::Tidy { .. } => Ok(()),
        }
    }

    /// Removes what it made for the new account.
    fn unmake(&self) -> Result<()> {
        match &self.what {
            What::Image { name, .. } => store::remove_image(self, name),
            What::Network(network) => store::remove_network(self, &network.name),
            What::Own(own) => store::remove_own(self, own),
            What::Secret { name } => store::remove_secret(self, name),
            What::Login { registries } => store::forget_logins(&self.to, registries),
            What::Volume(volume) => store::remove_volume(self, &volume.name),
            What::Files { copies } => files::remove_copies(copies),
            What::KeepSecrets { configuration, .. } => host::files::remove_optional(configuration),
            _ => Ok(()),
        }
    }
}

/// Whether a service that was moved earlier is well still, but for its log.
///
/// # Errors
/// With what it is not.
pub fn check(record: &Record, context: &mut Context) -> Result<()> {
    for step in &record.steps {
        if let What::Verify { side, expected } = &step.what {
            let expected = Expected {
                complaints: None,
                ..expected.clone()
            };
            let checks = verify::service(step, *side, &expected, now(), context.timeout)?;
            context.checks.extend(checks);
        }
    }
    Ok(())
}

fn write_record(name: &str, steps: &[Step]) -> Result<()> {
    let record = Record {
        at: now(),
        steps: steps.to_vec(),
    };
    let place = record::place(name);
    let directory = place.parent().context("no parent")?;
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    host::files::write_atomic(&place, &serde_json::to_vec(&record)?, 0o600)
}
