//! Two files of a disk become one.

use super::chain;
use crate::step::Merge;
use anyhow::{Context, Result, ensure};
use host::{
    command, files,
    libvirt::{
        Libvirt,
        domain::{self, Domain},
    },
    qemu_img,
};
use std::{path::Path, time::Duration};

/// How long a job that was asked to end may take for it.
const ABORT: Duration = Duration::from_secs(30);

/// Merges `top` into `base`, and removes `top`. Repeatable from wherever it was cut off.
pub fn join_files(libvirt: &Libvirt, uuid: &str, merge: &Merge) -> Result<()> {
    let mut domain = libvirt.domain(uuid)?;
    if end_block_job(libvirt, &domain, &merge.target)? {
        domain = libvirt.domain(uuid)?;
    }
    let chain = in_use(&domain, &merge.target, libvirt)?;
    let stands = chain.contains(&merge.top);
    let outside = merge
        .above
        .iter()
        .filter(|file| !chain.contains(file) && Path::new(file).exists());
    let (top_first, on) = (chain.first() == Some(&merge.top), domain.state.is_on());
    if stands && on {
        commit_live(libvirt, uuid, merge, top_first)?;
    } else if stands {
        qemu_img::commit(&merge.top, libvirt.timeout)?;
        let inside = chain
            .windows(2)
            .filter(|pair| pair[1] == merge.top)
            .map(|pair| &pair[0]);
        for file in inside {
            qemu_img::name_below(file, &merge.base.file, &merge.base.format, libvirt.timeout)?;
        }
        if top_first {
            use_base(libvirt, &domain, merge)?;
        }
    }
    for file in outside {
        qemu_img::name_below(file, &merge.base.file, &merge.base.format, libvirt.timeout)?;
    }
    files::remove_optional(Path::new(&merge.top))
}

fn in_use(domain: &Domain, target: &str, libvirt: &Libvirt) -> Result<Vec<String>> {
    let chain = chain(libvirt, domain, target)?;
    Ok(chain.into_iter().map(|image| image.filename).collect())
}

fn commit_live(libvirt: &Libvirt, uuid: &str, merge: &Merge, top_first: bool) -> Result<()> {
    let (base, top) = (
        format!("--base={}", merge.base.file),
        format!("--top={}", merge.top),
    );
    // virsh ends the job itself then, which our own time-out would leave running.
    let seconds = format!("--timeout={}", libvirt.timeout.as_secs());
    let patient = Libvirt {
        timeout: libvirt.timeout + ABORT,
        ..libvirt.clone()
    };
    let mut words = vec![
        "blockcommit",
        uuid,
        &merge.target,
        &base,
        &top,
        "--wait",
        &seconds,
    ];
    if top_first {
        words.extend(["--active", "--pivot"]);
    }
    if let Err(refused) = patient.call(&words) {
        // The virsh of a run that was killed goes on, and may have ended this merge too.
        let chain = in_use(&libvirt.domain(uuid)?, &merge.target, libvirt)?;
        ensure!(!chain.contains(&merge.top), refused);
    }
    command::until(ABORT, "the end of the merge", || {
        let chain = in_use(&libvirt.domain(uuid)?, &merge.target, libvirt)?;
        Ok((!chain.contains(&merge.top)).then_some(()))
    })
}

/// A VM that is off is told of the other file.
fn use_base(libvirt: &Libvirt, domain: &Domain, merge: &Merge) -> Result<()> {
    let definition = domain
        .lasting
        .as_deref()
        .context("the VM has no lasting definition")?;
    let sources = [(merge.target.clone(), merge.base.clone())];
    let changed = domain::with_sources(definition, &sources.into())?;
    libvirt.with_file(&["define", "{}"], &changed).map(drop)
}

/// Ends a merge that an earlier run began; whether there was one.
fn end_block_job(libvirt: &Libvirt, domain: &Domain, target: &str) -> Result<bool> {
    if !domain.state.is_on() {
        return Ok(false);
    }
    // What it tells without --raw is on standard error.
    let info = libvirt.call(&["blockjob", &domain.uuid, target, "--raw"])?;
    if info.trim().is_empty() {
        return Ok(false);
    }
    libvirt.call(&["blockjob", &domain.uuid, target, "--abort"])?;
    Ok(true)
}

/// Ends a snapshot that libvirt is still at, and waits for that.
pub fn await_jobs(libvirt: &Libvirt, uuid: &str) -> Result<()> {
    if !libvirt.domain(uuid)?.state.is_on() || libvirt.job(uuid)?.is_none() {
        return Ok(());
    }
    // It may have ended by itself.
    let _ = libvirt.call(&["domjobabort", uuid]);
    command::until(libvirt.timeout, "the end of the VM's job", || {
        let over = !libvirt.domain(uuid)?.state.is_on() || libvirt.job(uuid)?.is_none();
        Ok(over.then_some(()))
    })
}

/// Has libvirt forget a snapshot, whose files stay.
pub fn forget(libvirt: &Libvirt, uuid: &str, name: &str) -> Result<()> {
    let name = format!("--snapshotname={name}");
    libvirt
        .call(&["snapshot-delete", uuid, &name, "--metadata"])
        .map(drop)
}
