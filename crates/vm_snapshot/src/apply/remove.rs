//! Removing a snapshot. All of it comes after the commit, and can be repeated.

use super::{
    Context,
    merge::{self, join_files},
    take,
};
use crate::{
    record::{Place, Stamp},
    step::{Merge, Removal},
};
use anyhow::Result;
use host::{
    files,
    libvirt::{
        Libvirt,
        domain::Source,
        snapshot::{self, Snapshot},
    },
};
use std::{collections::BTreeMap, fs, path::Path};

pub fn remove(context: &Context, uuid: &str, removal: &Removal) -> Result<()> {
    let (libvirt, place) = (&context.libvirt, Place::of(uuid));
    let snapshots = libvirt.snapshots(uuid)?;
    let listed = removal
        .name
        .as_ref()
        .filter(|name| snapshots.iter().any(|snapshot| snapshot.name == **name));
    if let Some(name) = listed {
        // Before its data goes, so that nobody reverts to it meanwhile.
        drop_listed(libvirt, uuid, name, removal.internal)?;
    }
    for merge in &removal.merges {
        join_files(libvirt, uuid, merge)?;
    }
    for snapshot in libvirt.snapshots(uuid)? {
        if let Some(frozen) = removal.frozen.get(&snapshot.name) {
            freeze(libvirt, uuid, &snapshot, frozen)?;
        }
    }
    stamp_again(&place, removal)?;
    for file in &removal.drop {
        files::remove_optional(file)?;
        // What a revert put aside has a directory of its own, which goes with the last of it.
        if let Some(directory) = file.parent().filter(|directory| place.is_aside(directory)) {
            let _ = fs::remove_dir(directory);
        }
    }
    note_left(&place, removal)?;
    match &removal.name {
        Some(name) => take::forget(&place, name),
        None => Ok(()),
    }
}

fn drop_listed(libvirt: &Libvirt, uuid: &str, name: &str, internal: bool) -> Result<()> {
    if !internal {
        return merge::forget(libvirt, uuid, name);
    }
    let name = format!("--snapshotname={name}");
    libvirt.call(&["snapshot-delete", uuid, &name]).map(drop)
}

/// Tells libvirt in which files another snapshot's data is now. It has its own mind about that: when it
/// forgets a snapshot, it takes the file above for merged, also where nothing was.
fn freeze(
    libvirt: &Libvirt,
    uuid: &str,
    snapshot: &Snapshot,
    frozen: &BTreeMap<String, Source>,
) -> Result<()> {
    if snapshot.frozen() == *frozen {
        return Ok(());
    }
    let text = libvirt.snapshot_xml(uuid, &snapshot.name)?;
    let mut words = vec!["snapshot-create", uuid, "{}", "--redefine"];
    if snapshot.current {
        words.push("--current");
    }
    libvirt
        .with_file(&words, &snapshot::with_frozen(&text, frozen)?)
        .map(drop)
}

/// A merge changes the file below, and names it in those above: none of them is written to by the VM.
fn stamp_again(place: &Place, removal: &Removal) -> Result<()> {
    for mut record in place.records()?.into_values() {
        let before = record.clone();
        for (target, stamp) in &mut record.frozen {
            let now = removal
                .frozen
                .get(&record.name)
                .and_then(|frozen| frozen.get(target));
            let moved = now.filter(|source| Path::new(&source.file) != stamp.file);
            let named =
                |merge: &Merge| merge.above.iter().any(|file| Path::new(file) == stamp.file);
            if let Some(source) = moved {
                *stamp = Stamp::of(Path::new(&source.file))?;
            } else if removal.merges.iter().any(named) {
                *stamp = Stamp::of(&stamp.file)?;
            }
        }
        if record != before {
            place.write(&record)?;
        }
    }
    Ok(())
}

fn note_left(place: &Place, removal: &Removal) -> Result<()> {
    let before = place.left()?;
    let mut left = before.clone();
    let gone = |file: &Path| removal.drop.iter().any(|dropped| dropped == file);
    left.abandoned.retain(|file| !gone(file));
    for file in &removal.abandon {
        if !left.abandoned.contains(file) {
            left.abandoned.push(file.clone());
        }
    }
    let joined = |source: &Source| removal.merges.iter().any(|merge| merge.base == *source);
    left.unmerged.retain(|(_, source)| !joined(source));
    for unmerged in &removal.unmerged {
        if !left.unmerged.contains(unmerged) {
            left.unmerged.push(unmerged.clone());
        }
    }
    match left == before {
        true => Ok(()),
        false => place.write_left(&left),
    }
}
