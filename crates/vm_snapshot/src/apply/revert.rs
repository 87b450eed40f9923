//! The steps of a revert.

use super::Context;
use crate::{
    record::{self, Place},
    step::{Aside, Fresh, Resuming},
};
use anyhow::{Context as _, Result, ensure};
use host::{
    files,
    libvirt::domain::{self, Domain, State},
    qemu_img,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};

pub fn make_overlays(context: &Context, fresh: &[Fresh]) -> Result<()> {
    for overlay in fresh {
        let (file, below) = (&overlay.file, &overlay.below);
        qemu_img::check(&below.file, &below.format, context.timeout())?;
        qemu_img::create_overlay(file, &below.file, &below.format, context.timeout())?;
        // As the file below: libvirt gives a running VM's files to QEMU's account itself, if it does.
        let like = fs::metadata(&below.file).with_context(|| below.file.clone())?;
        chown(file, Some(like.uid()), Some(like.gid())).with_context(|| file.clone())?;
        fs::set_permissions(file, like.permissions()).with_context(|| file.clone())?;
    }
    Ok(())
}

/// Removes the overlays, but for what somebody who started the VM since an interrupted run has written.
pub fn remove_overlays(context: &mut Context, place: &Place, fresh: &[Fresh]) -> Result<()> {
    for overlay in fresh {
        let file = Path::new(&overlay.file);
        let used = context.recovering
            && file.exists()
            && qemu_img::holds_data(&overlay.file, context.timeout())?;
        if !used {
            files::remove_optional(file)?;
            continue;
        }
        // This may not be the first try to take the change back.
        take_along(place, &[file.into()])?;
        leave(place, &[file.into()])?;
        context.warnings.push(format!(
            "{} holds what the VM wrote after the interrupted revert, and is kept; abandoned=remove removes it",
            overlay.file
        ));
    }
    Ok(())
}

/// Stops a VM that somebody started in the middle of a revert: its files are about to go.
pub fn stop_on_others(context: &mut Context, uuid: &str, before: &str) -> Result<()> {
    let files = |domain: &Domain| -> Vec<_> {
        let disks = domain.disks.iter();
        disks.map(|disk| disk.source.clone()).collect()
    };
    let now = context.libvirt.domain(uuid)?;
    if now.state.is_on() && files(&now) != files(&Domain::parse(before, None)?) {
        super::stop(context, uuid)?;
        context
            .warnings
            .push("the VM ran on the disks of an interrupted revert, and was stopped".to_owned());
    }
    Ok(())
}

pub fn put_aside(aside: &Aside) -> Result<()> {
    record::make(&aside.directory)?;
    let definition = aside.directory.join("domain.xml");
    files::write_atomic(&definition, aside.definition.as_bytes(), 0o600)?;
    match &aside.nvram {
        Some(nvram) => super::take::save_nvram(nvram, &aside.directory.join("nvram")),
        None => Ok(()),
    }
}

pub fn remove_aside(aside: &Aside) -> Result<()> {
    match aside.directory.exists() {
        true => fs::remove_dir_all(&aside.directory)
            .with_context(|| aside.directory.display().to_string()),
        false => Ok(()),
    }
}

/// Gives a file the content of a copy of it, and leaves owner and mode as they are.
pub fn copy_back(copy: &Path, file: &Path) -> Result<()> {
    let content = fs::read(copy).with_context(|| copy.display().to_string())?;
    files::write_atomic(file, &content, 0o600)
}

pub fn leave(place: &Place, files: &[PathBuf]) -> Result<()> {
    let mut left = place.left()?;
    left.abandoned.extend_from_slice(files);
    place.write_left(&left)
}

pub fn take_along(place: &Place, files: &[PathBuf]) -> Result<()> {
    let mut left = place.left()?;
    left.abandoned.retain(|file| !files.contains(file));
    place.write_left(&left)
}

pub fn resume(context: &Context, uuid: &str, resuming: &Resuming) -> Result<()> {
    let libvirt = &context.libvirt;
    match resuming {
        Resuming::Off => Ok(()),
        Resuming::Boot => libvirt.call(&["start", uuid]).map(drop),
        Resuming::Memory { file, sources } => {
            let saved = libvirt.call(&["save-image-dumpxml", file, "--security-info"])?;
            let changed = domain::with_sources(&saved, sources)?;
            libvirt
                .with_file(&["restore", file, "--xml", "{}", "--running"], &changed)
                .map(drop)
        }
    }
}

pub fn internal(context: &Context, uuid: &str, name: &str) -> Result<()> {
    let name = format!("--snapshotname={name}");
    let reverted = context.libvirt.call(&["snapshot-revert", uuid, &name]);
    let Err(refused) = reverted else {
        return Ok(());
    };
    // libvirt will not exchange a running VM for one of another shape, and its force means just this.
    let on = context.libvirt.domain(uuid)?.state != State::ShutOff;
    ensure!(on && format!("{refused:#}").contains("force"), refused);
    super::stop(context, uuid)?;
    context
        .libvirt
        .call(&["snapshot-revert", uuid, &name, "--force"])
        .map(drop)
}
