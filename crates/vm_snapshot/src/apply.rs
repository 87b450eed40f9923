//! Carries a plan out, as one transaction a VM.

mod merge;
mod remove;
mod revert;
mod take;
mod verify;

use crate::{
    record::Place,
    step::{Power, Step, What},
};
use anyhow::{Context as _, Result, bail};
use host::{
    command, files,
    libvirt::{Libvirt, domain::Domain},
    qemu_img::{self, Image},
};
use std::time::Duration;
use transaction::{Recovery, Store, Undone};

/// The kind of transaction, as the journal has it.
const KIND: &str = "vm_snapshot";

/// What the steps share.
pub struct Context {
    pub libvirt: Libvirt,
    pub warnings: Vec<String>,
    /// Whether the guest's file systems were at rest for the snapshot.
    pub quiesced: bool,
    /// What was found right.
    pub checks: Vec<String>,
    /// The change is one of an earlier run, and the VM may have been used since.
    pub recovering: bool,
}

impl Context {
    pub fn new(libvirt: Libvirt) -> Context {
        Context {
            libvirt,
            warnings: vec![],
            quiesced: false,
            checks: vec![],
            recovering: false,
        }
    }

    fn timeout(&self) -> Duration {
        self.libvirt.timeout
    }
}

/// Carries out all of `steps`, or nothing.
///
/// # Errors
/// With the step that failed, and what became of the change.
pub fn run(store: &Store, steps: Vec<Step>, context: &mut Context) -> Result<()> {
    let mut open = store.begin(KIND, steps, vec![store.in_progress()])?;
    match open.run(context) {
        Ok(()) => Ok(()),
        Err(failed) => bail!("{failed}"),
    }
}

/// Finishes or undoes what an earlier run left open.
///
/// # Errors
/// When that is impossible; it stays open then.
pub fn recover(store: &Store, context: &mut Context) -> Result<Option<Recovery>> {
    let Some(mut open) = store.interrupted::<Step>(KIND)? else {
        return Ok(None);
    };
    context.recovering = true;
    let recovered = open.recover(context);
    context.recovering = false;
    let recovered = recovered.map_err(|(step, reason)| anyhow::anyhow!("{reason} (step {step})"));
    recovered.map(Some).with_context(|| {
        let directory = store.in_progress();
        format!(
            "an earlier run was interrupted, and its change ({}) cannot be ended",
            directory.display()
        )
    })
}

impl transaction::Step for Step {
    type Context = Context;
    type Error = anyhow::Error;

    fn name(&self) -> &str {
        Step::name(self)
    }

    fn apply(&self, context: &mut Context) -> Result<()> {
        let (uuid, place) = (self.uuid.as_str(), Place::of(&self.uuid));
        match &self.what {
            What::SaveDefinition {
                name,
                new,
                definition,
            } => take::save_definition(&place, name, new, definition),
            What::Take(taking) => take::take(context, uuid, taking),
            What::SaveNvram { name, file } => take::save_nvram(file, &place.nvram(name)),
            What::Verify { taking, nvram } => verify::taken(context, uuid, &place, taking, *nvram),
            What::MakeOverlays(fresh) => revert::make_overlays(context, fresh),
            What::PutAside(aside) => revert::put_aside(aside),
            What::Stop { .. } => stop(context, uuid),
            What::RestoreNvram { name, file, .. } => revert::copy_back(&place.nvram(name), file),
            What::Define { after, .. } => define(context, after),
            What::Leave { files } => revert::leave(&place, files),
            What::MakeCurrent { name, .. } => make_current(context, uuid, name),
            What::Resume(resuming) => revert::resume(context, uuid, resuming),
            What::RevertInternal { name, .. } => revert::internal(context, uuid, name),
            What::VerifyReverted(reverted) => verify::reverted(context, uuid, reverted),
            // What cannot be taken back waits for the commit.
            What::Remove(_) => Ok(()),
        }
    }

    fn undo(&self, context: &mut Context) -> Result<Undone> {
        let (uuid, place) = (self.uuid.as_str(), Place::of(&self.uuid));
        match &self.what {
            What::SaveDefinition { name, .. } => take::forget(&place, name)?,
            What::Take(taking) => take::take_back(context, uuid, taking)?,
            What::MakeOverlays(fresh) => revert::remove_overlays(context, &place, fresh)?,
            What::PutAside(aside) => revert::remove_aside(aside)?,
            What::Stop { was } => start_again(context, uuid, *was)?,
            What::RevertInternal { name, was } => {
                start_again(context, uuid, *was)?;
                context.warnings.push(format!(
                    "a revert to internal snapshot \"{name}\" cannot be taken back: the VM may be as it was then, or as \
                     before; revert again, or look at it"
                ));
            }
            What::RestoreNvram { file, aside, .. } => match aside.exists() {
                true => revert::copy_back(aside, file)?,
                false => files::remove_optional(file)?,
            },
            What::Define { before, .. } => {
                revert::stop_on_others(context, uuid, before)?;
                define(context, before)?;
            }
            What::Leave { files } => revert::take_along(&place, files)?,
            What::MakeCurrent { before, .. } => {
                if let Some(before) = before {
                    make_current(context, uuid, before)?;
                }
            }
            What::Resume(_) => stop(context, uuid)?,
            What::SaveNvram { .. }
            | What::Verify { .. }
            | What::VerifyReverted(_)
            | What::Remove(_) => {}
        }
        Ok(Undone::Whole)
    }

    fn finish(&self, context: &mut Context) -> Result<()> {
        match &self.what {
            What::Remove(removal) => remove::remove(context, &self.uuid, removal),
            _ => Ok(()),
        }
    }
}

/// Cuts the power, once QEMU has written out what it holds.
fn stop(context: &Context, uuid: &str) -> Result<()> {
    if context.libvirt.domain(uuid)?.state.is_on() {
        let graceful = context.libvirt.call(&["destroy", uuid, "--graceful"]);
        if graceful.is_err() && context.libvirt.domain(uuid)?.state.is_on() {
            context.libvirt.call(&["destroy", uuid])?;
        }
    }
    command::until(context.timeout(), "the VM's end", || {
        Ok((!context.libvirt.domain(uuid)?.state.is_on()).then_some(()))
    })
}

/// Starts a VM that ran before it was stopped.
fn start_again(context: &Context, uuid: &str, was: Power) -> Result<()> {
    if was == Power::Off || context.libvirt.domain(uuid)?.state.is_on() {
        return Ok(());
    }
    context.libvirt.call(&["start", uuid]).map(drop)
}

fn define(context: &Context, definition: &str) -> Result<()> {
    context
        .libvirt
        .with_file(&["define", "{}"], definition)
        .map(drop)
}

fn make_current(context: &Context, uuid: &str, name: &str) -> Result<()> {
    let name = format!("--snapshotname={name}");
    context
        .libvirt
        .call(&["snapshot-current", uuid, &name])
        .map(drop)
}

/// The files of a disk, the one in use first.
fn chain(libvirt: &Libvirt, domain: &Domain, target: &str) -> Result<Vec<Image>> {
    let disk = domain.disks.iter().find(|disk| disk.target == target);
    let disk = disk.with_context(|| format!("the VM has no disk {target} any more"))?;
    let file = disk
        .source
        .as_ref()
        .with_context(|| format!("disk {target} is no file any more"))?;
    qemu_img::chain(file, &disk.format, libvirt.timeout)
}
