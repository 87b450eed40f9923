//! A snapshot is removed; what was written after it is merged into the file it froze.

use super::{Plan, Refusals};
use crate::{
    decide,
    observed::Observed,
    record::Left,
    step::{Merge, Removal, What},
};
use host::libvirt::{
    domain::Source,
    snapshot::{Memory, Overlay, Snapshot},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// The steps that remove the snapshot of this name; none where it is not there.
///
/// # Errors
/// Everything that stands in the way.
pub fn remove(observed: &Observed, name: &str) -> Result<Plan, Refusals> {
    let Some(snapshot) = observed.snapshot(name) else {
        return forgotten(observed, name);
    };
    let mut refusals = decide::busy(observed);
    let mut removal = Removal::of(observed, Some(name));
    let mut warnings = vec![];
    if snapshot.is_external() {
        refusals.extend(observed.broken(None));
        let files = Files::without(observed, Some(name));
        for (target, source) in snapshot.frozen() {
            match files.merge(&target, &source) {
                Ok(Some(merge)) => removal.add(merge),
                Ok(None) => removal.dead_end(snapshot, &target, &source, &files),
                Err(reason) => {
                    warnings.push(format!("{} stays a file of its own: {reason}", source.file));
                    removal.unmerged.push((target, source));
                }
            }
        }
        if let Memory::External(file) = &snapshot.memory {
            removal.drop.push(file.into());
        }
        refusals.extend(no_room(observed, &removal));
    } else {
        removal.internal = true;
        refusals.extend(out_of_reach(observed, snapshot));
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mut plan = Plan::of(&observed.domain.uuid, [What::Remove(removal)]);
    plan.warnings = warnings;
    Ok(plan)
}

/// A record whose snapshot somebody else removed.
fn forgotten(observed: &Observed, name: &str) -> Result<Plan, Refusals> {
    if !observed.forgotten.contains(name) {
        return Ok(Plan::default());
    }
    let removal = Removal::of(observed, Some(name));
    Ok(Plan::of(&observed.domain.uuid, [What::Remove(removal)]))
}

/// The steps that remove what reverts left behind, and merge what only that had kept apart.
///
/// # Errors
/// Everything that stands in the way.
pub fn clean(observed: &Observed) -> Result<Plan, Refusals> {
    let left = &observed.left;
    if let (false, Some(reason)) = (*left == Left::default(), observed.untold.first()) {
        return Ok(Plan {
            warnings: vec![format!("what reverts left behind stays: {reason}")],
            ..Plan::default()
        });
    }
    let mut files = Files::without(observed, None);
    let mut removal = Removal::of(observed, None);
    for file in &left.abandoned {
        match files.needed(&file.to_string_lossy()) {
            true => removal.abandon.push(file.clone()),
            false => removal.drop.push(file.clone()),
        }
    }
    for file in &removal.drop {
        files.forget(&file.to_string_lossy());
    }
    for (target, source) in &left.unmerged {
        match files.merge(target, source) {
            Ok(Some(merge)) => removal.add(merge),
            Ok(None) => {}
            Err(_) => removal.unmerged.push((target.clone(), source.clone())),
        }
    }
    if removal.drop.is_empty() && removal.merges.is_empty() {
        return Ok(Plan::default());
    }
    let mut refusals = decide::busy(observed);
    refusals.extend(observed.broken(None));
    refusals.extend(no_room(observed, &removal));
    match refusals.is_empty() {
        true => Ok(Plan::of(&observed.domain.uuid, [What::Remove(removal)])),
        false => Err(refusals),
    }
}

impl Removal {
    fn of(observed: &Observed, name: Option<&str>) -> Removal {
        let staying = observed
            .snapshots
            .iter()
            .filter(|other| name != Some(other.name.as_str()));
        let frozen = staying.map(|other| (other.name.clone(), other.frozen()));
        Removal {
            name: name.map(str::to_owned),
            frozen: frozen.filter(|(_, frozen)| !frozen.is_empty()).collect(),
            ..Removal::default()
        }
    }

    fn add(&mut self, merge: Merge) {
        for frozen in self.frozen.values_mut() {
            if let Some(source) = frozen.get_mut(&merge.target)
                && source.file == merge.top
            {
                *source = merge.base.clone();
            }
        }
        self.merges.push(merge);
    }

    /// The VM does not descend from the snapshot: its files serve at most what a revert left behind.
    fn dead_end(&mut self, snapshot: &Snapshot, target: &str, frozen: &Source, files: &Files) {
        if let Some(Overlay::External(overlay)) = snapshot.overlays.get(target)
            && files.exists(overlay)
            && !files.needed(overlay)
        {
            self.abandon.push(overlay.into());
        }
        if !files.needed(&frozen.file) && files.is_overlay(&frozen.file) {
            self.abandon.push(PathBuf::from(&frozen.file));
        }
    }
}

/// An internal snapshot can be taken out only of the file in use.
fn out_of_reach(observed: &Observed, snapshot: &Snapshot) -> Refusals {
    let name = &snapshot.name;
    let within = snapshot
        .overlays
        .iter()
        .filter(|(_, overlay)| **overlay == Overlay::Internal);
    let mut refusals: Vec<_> = observed.broken(None).collect();
    for (target, _) in within {
        let lower = observed.chain(target).iter().skip(1);
        let held = lower.filter(|image| image.snapshots.iter().any(|within| within.name == *name));
        refusals.extend(held.map(|image| {
            format!(
                "snapshot \"{name}\" is within {}, below external snapshots: remove those first",
                image.filename
            )
        }));
    }
    refusals
}

/// A merge can make the lower file grow by what is in the upper one.
fn no_room(observed: &Observed, removal: &Removal) -> Refusals {
    let mut refusals = vec![];
    for merge in &removal.merges {
        let top = observed
            .chain(&merge.target)
            .iter()
            .find(|image| image.filename == merge.top);
        let free = observed.free.get(&merge.base.file);
        if let (Some(top), Some(free)) = (top, free)
            && *free < top.actual_size
        {
            refusals.push(format!(
                "{} takes in up to {} MiB from {}, and there are {} MiB left",
                merge.base.file,
                top.actual_size >> 20,
                merge.top,
                free >> 20
            ));
        }
    }
    refusals
}

/// Who stands on whom.
struct Files<'o> {
    observed: &'o Observed,
    /// By file: those that stand on it.
    above: BTreeMap<String, BTreeSet<String>>,
    /// Files that hold the data of a snapshot that stays.
    frozen: BTreeSet<String>,
}

impl<'o> Files<'o> {
    /// As it is once the snapshot `leaving` is gone.
    fn without(observed: &'o Observed, leaving: Option<&str>) -> Files<'o> {
        let staying = observed
            .snapshots
            .iter()
            .filter(|snapshot| leaving != Some(snapshot.name.as_str()));
        let frozen =
            staying.flat_map(|snapshot| snapshot.frozen().into_values().map(|source| source.file));
        let mut files = Files {
            observed,
            above: BTreeMap::new(),
            frozen: frozen.collect(),
        };
        let chains = observed
            .chains
            .values()
            .chain(observed.frozen.values().flat_map(BTreeMap::values));
        for image in chains.flatten().flatten() {
            files.stands_on(&image.filename, image.full_backing_filename.as_deref());
        }
        for (file, below) in &observed.below {
            files.stands_on(file, below.as_deref());
        }
        files
    }

    fn stands_on(&mut self, file: &str, below: Option<&str>) {
        if let Some(below) = below {
            self.above
                .entry(below.to_owned())
                .or_default()
                .insert(file.to_owned());
        }
    }

    fn forget(&mut self, file: &str) {
        self.above.values_mut().for_each(|above| {
            above.remove(file);
        });
    }

    fn above(&self, file: &str) -> impl Iterator<Item = &String> {
        self.above.get(file).into_iter().flatten()
    }

    fn exists(&self, file: &str) -> bool {
        self.observed.below.contains_key(file)
    }

    fn is_overlay(&self, file: &str) -> bool {
        let mut chains = self
            .observed
            .frozen
            .values()
            .flat_map(BTreeMap::values)
            .flatten()
            .flatten();
        chains.any(|image| image.filename == file && image.full_backing_filename.is_some())
    }

    /// Whether a VM or a snapshot that stays has its data in it, or in a file that stands on it.
    fn needed(&self, file: &str) -> bool {
        let used = self
            .observed
            .chains
            .keys()
            .filter_map(|target| self.observed.in_use(target));
        used.map(|source| source.file).any(|used| used == *file)
            || self.observed.foreign.contains_key(file)
            || self.frozen.contains(file)
            || self.above(file).any(|above| self.needed(above))
    }

    /// How the frozen file takes in what stands on it; `None` where the VM does not stand on it.
    fn merge(&self, target: &str, base: &Source) -> Result<Option<Merge>, String> {
        let chain = self.observed.chain(target);
        let Some(at) = chain.iter().position(|image| image.filename == base.file) else {
            return Ok(None);
        };
        let Some(top) = at.checked_sub(1).and_then(|above| chain.get(above)) else {
            // A revert past libvirt's own check: the VM writes to the frozen file itself.
            return Ok(None);
        };
        if let Some(other) = self.above(&base.file).find(|above| **above != top.filename) {
            return Err(format!("{other} stands on it too"));
        }
        if self.frozen.contains(&base.file) {
            return Err("another snapshot has its data in it".to_owned());
        }
        if let Some(reason) = self.observed.untold.first() {
            return Err(reason.clone());
        }
        let foreign = [&base.file, &top.filename]
            .into_iter()
            .find_map(|file| self.observed.foreign.get(file));
        if let Some(vm) = foreign {
            return Err(format!("VM \"{vm}\" uses it too"));
        }
        if let Some(within) = top.snapshots.first() {
            return Err(format!(
                "{} has the internal snapshot \"{}\"",
                top.filename, within.name
            ));
        }
        Ok(Some(Merge {
            target: target.to_owned(),
            base: base.clone(),
            top: top.filename.clone(),
            above: self.above(&top.filename).cloned().collect(),
        }))
    }
}

#[cfg(test)]
mod tests;
