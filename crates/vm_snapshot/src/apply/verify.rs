//! A snapshot counts only if it was looked at.

use super::{Context, chain};
use crate::{
    decide::Kind,
    record::{Place, Record, Stamp},
    step::{Reverted, Taking},
};
use anyhow::{Context as _, Result, bail, ensure};
use host::{
    command,
    libvirt::{
        domain::{Domain, State},
        snapshot::{Memory, Overlay},
    },
    qemu_img::{self, Image},
};
use std::{fs, path::Path, time::Duration};

/// What a VM that dies at once takes for it.
const SETTLE: Duration = Duration::from_secs(1);

/// Looks at a snapshot that was just taken, and records it.
pub fn taken(
    context: &mut Context,
    uuid: &str,
    place: &Place,
    taking: &Taking,
    nvram: bool,
) -> Result<()> {
    let mut record = Record {
        name: taking.name.clone(),
        quiesced: context.quiesced,
        running: taking.running,
        nvram,
        ..Record::default()
    };
    record.created = listed(context, uuid, taking)?;
    let domain = context.libvirt.domain(uuid)?;
    ensure!(
        domain.state.is_on() == taking.running,
        "the VM is {} after the snapshot, and was not before",
        domain.reason
    );
    match taking.kind {
        Kind::External => external(context, &domain, taking, &mut record)?,
        Kind::Internal => internal(context, &domain, taking)?,
    }
    record.checks.clone_from(&context.checks);
    record.verified = host::clock::now();
    place.write(&record)
}

/// When libvirt took it.
fn listed(context: &mut Context, uuid: &str, taking: &Taking) -> Result<i64> {
    let snapshots = context.libvirt.snapshots(uuid)?;
    let found = snapshots
        .iter()
        .find(|snapshot| snapshot.name == taking.name);
    let found = found.context("libvirt does not list the snapshot")?;
    for (target, overlay) in &taking.overlays {
        let told = found.overlays.get(target).unwrap_or(&Overlay::No);
        ensure!(
            told == overlay,
            "libvirt took disk {target} otherwise than asked: {told:?}"
        );
    }
    ensure!(
        found.memory == taking.memory,
        "libvirt took the memory otherwise than asked: {:?}",
        found.memory
    );
    context
        .checks
        .push("listed by libvirt, with every disk as asked".to_owned());
    Ok(found.created)
}

fn external(
    context: &mut Context,
    domain: &Domain,
    taking: &Taking,
    record: &mut Record,
) -> Result<()> {
    for (target, overlay) in &taking.overlays {
        let Overlay::External(overlay) = overlay else {
            continue;
        };
        let frozen = taking
            .before
            .get(target)
            .context("a disk that was not there before")?;
        let chain = chain(&context.libvirt, domain, target)?;
        stands_on(&chain, overlay, &frozen.file)?;
        qemu_img::check(&frozen.file, &frozen.format, context.timeout())?;
        record
            .frozen
            .insert(target.clone(), Stamp::of(Path::new(&frozen.file))?);
        let files: Vec<_> = chain.iter().map(|image| image.filename.as_str()).collect();
        context
            .checks
            .push(format!("disk {target}: {} is complete", files.join(" on ")));
        context
            .checks
            .push(format!("disk {target}: qemu-img check of {}", frozen.file));
    }
    if let Memory::External(file) = &taking.memory {
        let bytes = fs::metadata(file).with_context(|| file.clone())?.len();
        ensure!(bytes > 0, "{file} is empty");
        context.libvirt.call(&["save-image-dumpxml", file])?;
        context
            .checks
            .push(format!("memory: {file} is read by libvirt"));
    }
    Ok(())
}

fn internal(context: &mut Context, domain: &Domain, taking: &Taking) -> Result<()> {
    let held = taking
        .overlays
        .iter()
        .filter(|(_, overlay)| **overlay == Overlay::Internal);
    for (target, _) in held {
        let chain = chain(&context.libvirt, domain, target)?;
        let image = chain.first().context("an empty chain")?;
        let within = image
            .snapshots
            .iter()
            .any(|within| within.name == taking.name);
        ensure!(
            within,
            "{} does not have the snapshot within",
            image.filename
        );
        context
            .checks
            .push(format!("disk {target}: {} has it within", image.filename));
        // While the VM writes to it, its structure is on the move.
        if !taking.running {
            qemu_img::check(&image.filename, &image.format, context.timeout())?;
            context.checks.push(format!(
                "disk {target}: qemu-img check of {}",
                image.filename
            ));
        }
    }
    Ok(())
}

fn stands_on(chain: &[Image], top: &str, below: &str) -> Result<()> {
    match chain {
        [first, second, ..] if first.filename == top && second.filename == below => Ok(()),
        _ => {
            let files: Vec<_> = chain.iter().map(|image| image.filename.as_str()).collect();
            bail!(
                "{top} was to stand on {below}, but there is: {}",
                files.join(" on ")
            )
        }
    }
}

/// Looks whether a VM is what a revert was to make of it.
pub fn reverted(context: &mut Context, uuid: &str, reverted: &Reverted) -> Result<()> {
    command::until(context.timeout(), "the VM's coming back", || {
        let state = context.libvirt.domain(uuid)?.state;
        Ok(((state == State::Running) == reverted.running).then_some(()))
    })?;
    if reverted.running {
        std::thread::sleep(SETTLE);
    }
    let domain = context.libvirt.domain(uuid)?;
    ensure!(
        (domain.state == State::Running) == reverted.running,
        "the VM did not stay up: it is {}",
        domain.reason
    );
    context.checks.push(match reverted.running {
        true => "it runs".to_owned(),
        false => "it is off".to_owned(),
    });
    for (target, (top, below)) in &reverted.chains {
        stands_on(&chain(&context.libvirt, &domain, target)?, top, below)?;
        context
            .checks
            .push(format!("disk {target}: {top} on {below} is complete"));
    }
    let current = context
        .libvirt
        .snapshots(uuid)?
        .into_iter()
        .find(|snapshot| snapshot.current);
    ensure!(
        current.is_some_and(|current| current.name == reverted.name),
        "libvirt does not take the snapshot \"{}\" for the current one",
        reverted.name
    );
    context
        .checks
        .push("the current snapshot of libvirt's list".to_owned());
    Ok(())
}
