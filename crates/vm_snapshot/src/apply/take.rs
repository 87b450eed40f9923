//! Taking a snapshot, and taking that back.

use super::{
    Context,
    merge::{self, join_files},
};
use crate::{
    decide::{Kind, Quiesce},
    plan,
    record::{self, Place},
    step::{Merge, Taking},
};
use anyhow::{Context as _, Result, bail, ensure};
use host::{
    command, files,
    libvirt::{
        Libvirt,
        domain::State,
        snapshot::{Memory, Overlay, Wish},
    },
};
use std::{fs, path::Path};

/// How long the guest agent may take with each command while libvirt waits for it, in seconds.
const AGENT_SECONDS: &str = "--timeout=20";
/// libvirt's own: without end.
const AGENT_USUALLY: &str = "--timeout=-2";

pub fn save_definition(place: &Place, name: &str, new: &[String], definition: &str) -> Result<()> {
    for file in new {
        // libvirt would write over an empty one.
        ensure!(!Path::new(file).exists(), plan::there_already(file));
    }
    record::make(&place.snapshot(name))?;
    files::write_atomic(&place.definition(name), definition.as_bytes(), 0o600)
}

/// Removes all that is remembered of a snapshot.
pub fn forget(place: &Place, name: &str) -> Result<()> {
    let directory = place.snapshot(name);
    match directory.exists() {
        true => fs::remove_dir_all(&directory).with_context(|| directory.display().to_string()),
        false => Ok(()),
    }
}

pub fn take(context: &mut Context, uuid: &str, taking: &Taking) -> Result<()> {
    let bounded = taking.quiesce != Quiesce::No;
    if bounded {
        context
            .libvirt
            .call(&["guest-agent-timeout", uuid, AGENT_SECONDS])?;
    }
    let quiesced = match taking.quiesce {
        Quiesce::No => create(context, uuid, taking, false).map(|()| false),
        Quiesce::Must => create(context, uuid, taking, true).map(|()| true),
        Quiesce::Try => try_quiesced(context, uuid, taking),
    };
    if bounded {
        // The VM may be gone by now; what it failed with is worth more.
        let _ = context
            .libvirt
            .call(&["guest-agent-timeout", uuid, AGENT_USUALLY]);
    }
    context.quiesced = quiesced?;
    Ok(())
}

fn try_quiesced(context: &mut Context, uuid: &str, taking: &Taking) -> Result<bool> {
    let Err(refused) = create(context, uuid, taking, true) else {
        return Ok(true);
    };
    // Nothing was made yet where it was the guest that refused.
    if taking.new_files().any(|file| Path::new(file).exists()) {
        return Err(refused);
    }
    create(context, uuid, taking, false)?;
    let warning = "the guest would not bring its file systems to rest; after a revert it is as after a power cut";
    context.warnings.push(format!("{warning}: {refused:#}"));
    Ok(false)
}

fn create(context: &Context, uuid: &str, taking: &Taking, quiesce: bool) -> Result<()> {
    let wish = Wish {
        name: &taking.name,
        description: taking.description.as_deref(),
        memory: &taking.memory,
        overlays: &taking.overlays,
    };
    let mut words = vec!["snapshot-create", uuid, "{}"];
    if taking.kind == Kind::External {
        words.push("--atomic");
        if taking.memory == Memory::No {
            words.push("--disk-only");
        }
    }
    if quiesce {
        words.push("--quiesce");
    }
    context.libvirt.with_file(&words, &wish.xml()?).map(drop)
}

/// Merges the overlays back, so that nothing is lost that the VM wrote meanwhile.
pub fn take_back(context: &mut Context, uuid: &str, taking: &Taking) -> Result<()> {
    let libvirt = &context.libvirt;
    merge::await_jobs(libvirt, uuid)?;
    let domain = libvirt.domain(uuid)?;
    if taking.running && domain.state == State::Paused {
        libvirt.call(&["resume", uuid])?;
    }
    let listed = libvirt
        .snapshots(uuid)?
        .iter()
        .any(|snapshot| snapshot.name == taking.name);
    if taking.kind == Kind::Internal {
        return take_back_internal(libvirt, uuid, taking, listed);
    }
    for (target, overlay) in &taking.overlays {
        if let (Overlay::External(top), Some(base)) = (overlay, taking.before.get(target)) {
            join_files(
                libvirt,
                uuid,
                &Merge {
                    target: target.clone(),
                    base: base.clone(),
                    top: top.clone(),
                    above: vec![],
                },
            )?;
        }
    }
    if let Memory::External(file) = &taking.memory {
        files::remove_optional(Path::new(file))?;
    }
    match listed {
        true => merge::forget(libvirt, uuid, &taking.name),
        false => Ok(()),
    }
}

fn take_back_internal(libvirt: &Libvirt, uuid: &str, taking: &Taking, listed: bool) -> Result<()> {
    if listed {
        let name = format!("--snapshotname={}", taking.name);
        libvirt.call(&["snapshot-delete", uuid, &name])?;
    }
    if libvirt.domain(uuid)?.state.is_on() {
        return Ok(());
    }
    // Without its daemon, libvirt leaves it in the disks that came first.
    for source in taking.before.values() {
        let chain = host::qemu_img::chain(&source.file, &source.format, libvirt.timeout)?;
        let image = chain.first().context("an empty chain")?;
        if image
            .snapshots
            .iter()
            .any(|within| within.name == taking.name)
        {
            let words = [
                "qemu-img",
                "snapshot",
                "-q",
                "-d",
                &taking.name,
                &source.file,
            ];
            command::run(words).timeout(libvirt.timeout).stdout()?;
        }
    }
    Ok(())
}

/// Copies a file that may be written to meanwhile, until two copies are the same.
pub fn save_nvram(file: &Path, to: &Path) -> Result<()> {
    let read =
        || fs::read(file).with_context(|| format!("the UEFI variables in {}", file.display()));
    let mut before = read()?;
    for _ in 0..10 {
        let again = read()?;
        if again == before {
            return files::write_atomic(to, &again, 0o600);
        }
        before = again;
    }
    bail!(
        "the UEFI variables in {} do not come to rest",
        file.display()
    )
}
