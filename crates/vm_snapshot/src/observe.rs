//! Gathers what is there. Changes nothing.

use crate::{
    observed::{Agent, Observed},
    record::{Place, Record, Stamp},
};
use anyhow::{Context, Result};
use host::{
    libvirt::{
        Libvirt,
        domain::{Domain, State},
        snapshot::{Memory, Overlay, Snapshot},
    },
    qemu_img::{self, Image},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a guest agent may take to answer a ping.
const AGENT: Duration = Duration::from_secs(3);

/// Everything about the VM with this UUID that a plan may ask for.
///
/// # Errors
/// When libvirt does not answer, or tells what cannot be read.
pub fn vm(libvirt: &Libvirt, uuid: &str) -> Result<Observed> {
    let mut observed = alone(libvirt, uuid)?;
    let chains = observed.chains.values().flatten().flatten();
    let own = chains.map(|image| image.filename.clone());
    let own = own.chain(observed.below.keys().cloned()).collect();
    (observed.foreign, observed.untold) = foreign(libvirt, uuid, own)?;
    Ok(observed)
}

/// The same without what other VMs use, for which each of them would have to be read.
///
/// # Errors
/// As [`vm`].
pub fn alone(libvirt: &Libvirt, uuid: &str) -> Result<Observed> {
    let domain = libvirt.domain(uuid)?;
    let place = Place::of(uuid);
    let (version, _) = libvirt.versions()?;
    let mut observed = Observed {
        libvirt: version,
        agent: agent(libvirt, &domain),
        nvram_there: domain
            .nvram
            .as_ref()
            .is_some_and(|nvram| Path::new(&nvram.file).exists()),
        job: match domain.state.is_on() {
            true => libvirt.job(uuid)?,
            false => None,
        },
        snapshots: parents_first(libvirt.snapshots(uuid)?),
        records: place.records()?,
        left: place.left()?,
        chains: chains(&domain, libvirt.timeout),
        now: host::clock::now(),
        domain,
        ..Observed::default()
    };
    forget(&mut observed);
    observed.free = free(&observed);
    observed.beside = beside(&observed);
    observed.frozen = frozen(&observed.snapshots, libvirt.timeout);
    observed.modified = modified(&observed.snapshots);
    observed.below = below(&observed, libvirt.timeout);
    observed.sizes = sizes(&observed);
    observed.written = written(&observed);
    Ok(observed)
}

fn agent(libvirt: &Libvirt, domain: &Domain) -> Agent {
    if !domain.agent || domain.state != State::Running {
        return Agent::None;
    }
    match libvirt.agent_answers(&domain.uuid, AGENT) {
        true => Agent::Answers,
        false => Agent::Silent,
    }
}

type Chains = BTreeMap<String, Result<Vec<Image>, String>>;

fn chains(domain: &Domain, timeout: Duration) -> Chains {
    let held = domain.disks.iter().filter(|disk| disk.holds_data());
    let files =
        held.filter_map(|disk| Some((disk.target.clone(), disk.source.as_ref()?, &disk.format)));
    files
        .map(|(target, file, format)| (target, chain(file, format, timeout)))
        .collect()
}

fn chain(file: &str, format: &str, timeout: Duration) -> Result<Vec<Image>, String> {
    qemu_img::chain(file, format, timeout).map_err(|error| format!("{error:#}"))
}

fn frozen(snapshots: &[Snapshot], timeout: Duration) -> BTreeMap<String, Chains> {
    let of = |snapshot: &Snapshot| {
        let files = snapshot.frozen().into_iter();
        files
            .map(|(target, source)| (target, chain(&source.file, &source.format, timeout)))
            .collect()
    };
    snapshots
        .iter()
        .map(|snapshot| (snapshot.name.clone(), of(snapshot)))
        .collect()
}

/// By file of this VM: another one that has it too, whatever path it uses; and the VMs whose files cannot be told.
fn foreign(
    libvirt: &Libvirt,
    uuid: &str,
    own: BTreeSet<String>,
) -> Result<(BTreeMap<String, String>, Vec<String>)> {
    let (mut users, mut unknown) = (BTreeMap::new(), vec![]);
    let others = libvirt
        .list()?
        .into_iter()
        .filter(|(other, _)| other != uuid);
    for (other, name) in others {
        match files(libvirt, &other) {
            Ok(files) => users.extend(files.iter().map(|file| (real(file), name.clone()))),
            // It may have been removed since the list was made.
            Err(_) if !libvirt.list()?.iter().any(|(uuid, _)| *uuid == other) => {}
            Err(error) => unknown.push(format!(
                "which files VM \"{name}\" uses cannot be told: {error:#}"
            )),
        }
    }
    let shared = own.into_iter().filter_map(|file| {
        let user = users.get(&real(&file))?.clone();
        Some((file, user))
    });
    Ok((shared.collect(), unknown))
}

/// All files of a VM's disks, down to the last one below.
fn files(libvirt: &Libvirt, uuid: &str) -> Result<Vec<String>> {
    let domain = libvirt.domain(uuid)?;
    let mut files = vec![];
    for disk in domain.disks.iter().filter(|disk| disk.holds_data()) {
        let Some(source) = &disk.source else { continue };
        // A VM whose disk is gone uses nothing by it.
        if !Path::new(source).exists() {
            continue;
        }
        let chain = qemu_img::chain(source, &disk.format, libvirt.timeout)?;
        files.extend(chain.into_iter().map(|image| image.filename));
    }
    Ok(files)
}

fn real(file: &str) -> PathBuf {
    fs::canonicalize(file).unwrap_or_else(|_| file.into())
}

/// Sets aside the records whose snapshot is not there any more, or is another one of the same name.
fn forget(observed: &mut Observed) {
    let snapshots = &observed.snapshots;
    let known = |record: &Record| {
        let same = |snapshot: &&Snapshot| {
            snapshot.name == record.name && snapshot.created == record.created
        };
        snapshots.iter().any(|snapshot| same(&snapshot))
    };
    let gone = observed.records.values().filter(|record| !known(record));
    observed.forgotten = gone.map(|record| record.name.clone()).collect();
    observed.records.retain(|_, record| known(record));
}

fn free(observed: &Observed) -> BTreeMap<String, u64> {
    let images = observed.chains.values().flatten().flatten();
    let files: BTreeSet<_> = images.map(|image| image.filename.clone()).collect();
    files
        .into_iter()
        .filter_map(|file| {
            let seen = rustix::fs::statvfs(Path::new(&file)).ok()?;
            Some((file, seen.f_bavail.saturating_mul(seen.f_frsize)))
        })
        .collect()
}

fn beside(observed: &Observed) -> BTreeSet<String> {
    let sources = observed.disks().filter_map(|disk| disk.source.as_ref());
    let directories: BTreeSet<_> = sources
        .filter_map(|file| Path::new(file).parent())
        .collect();
    // One that cannot be read is told of by the chains.
    let entries = directories
        .into_iter()
        .filter_map(|directory| directory.read_dir().ok());
    entries
        .flatten()
        .flatten()
        .map(|entry| entry.path().to_string_lossy().into_owned())
        .collect()
}

fn below(observed: &Observed, timeout: Duration) -> BTreeMap<String, Option<String>> {
    let overlays = observed.snapshots.iter().flat_map(|snapshot| {
        let memory = match &snapshot.memory {
            Memory::External(file) => Some(file.clone()),
            _ => None,
        };
        let files = snapshot
            .overlays
            .values()
            .filter_map(|overlay| match overlay {
                Overlay::External(file) => Some(file.clone()),
                _ => None,
            });
        files.chain(memory).collect::<Vec<_>>()
    });
    let left = observed.left.abandoned.iter();
    let left = left.map(|file| file.to_string_lossy().into_owned());
    let named: BTreeSet<_> = overlays.chain(left).collect();
    let there = named.into_iter().filter(|file| Path::new(file).exists());
    there
        .map(|file| {
            // What is no qcow2 image (saved RAM, UEFI's variables) has nothing below.
            let chain = qemu_img::chain(&file, "qcow2", timeout).unwrap_or_default();
            let below = chain
                .into_iter()
                .next()
                .and_then(|image| image.full_backing_filename);
            (file, below)
        })
        .collect()
}

fn modified(snapshots: &[Snapshot]) -> BTreeMap<String, i64> {
    let frozen = snapshots
        .iter()
        .flat_map(|snapshot| snapshot.frozen().into_values());
    let seen = frozen.filter_map(|source| {
        let stamp = Stamp::of(Path::new(&source.file)).ok()?;
        Some((source.file, stamp.modified.0))
    });
    seen.collect()
}

fn sizes(observed: &Observed) -> BTreeMap<String, u64> {
    let frozen = observed.frozen.values().flat_map(BTreeMap::values);
    let images = observed.chains.values().chain(frozen).flatten().flatten();
    let files = images.map(|image| &image.filename);
    files
        .chain(observed.below.keys())
        // A block device has no size of its own that would tell what is in use.
        .filter(|file| Path::new(file).is_file())
        .filter_map(|file| Some((file.clone(), size(Path::new(file)).ok()?)))
        .collect()
}

/// Where libvirt has moved a snapshot's data when it removed another one, its word has to do.
fn written(observed: &Observed) -> BTreeSet<String> {
    let mut written = BTreeSet::new();
    for snapshot in &observed.snapshots {
        let Some(record) = observed.records.get(&snapshot.name) else {
            continue;
        };
        for (target, source) in snapshot.frozen() {
            let stamp = record.frozen.get(&target);
            let stamp = stamp.filter(|stamp| stamp.file == Path::new(&source.file));
            if stamp.is_some_and(|stamp| Stamp::of(&stamp.file).ok().as_ref() != Some(stamp)) {
                written.insert(source.file);
            }
        }
    }
    written
}

/// Each snapshot behind its parent, brothers by age.
fn parents_first(mut snapshots: Vec<Snapshot>) -> Vec<Snapshot> {
    snapshots.sort_by_key(|snapshot| snapshot.created);
    let mut sorted: Vec<Snapshot> = vec![];
    while !snapshots.is_empty() {
        let placed = |parent: &String| sorted.iter().any(|snapshot| snapshot.name == *parent);
        let ready = snapshots
            .iter()
            .position(|snapshot| snapshot.parent.as_ref().is_none_or(placed));
        // One whose parent libvirt has lost comes as if it had none.
        sorted.push(snapshots.remove(ready.unwrap_or(0)));
    }
    sorted
}

/// The bytes of what is at a path.
///
/// # Errors
/// When it is not there.
pub fn size(file: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let seen = fs::metadata(file).with_context(|| file.display().to_string())?;
    Ok(seen.blocks() * 512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_comes_behind_its_parent() {
        let one = |name: &str, parent: Option<&str>, created| Snapshot {
            name: name.to_owned(),
            parent: parent.map(str::to_owned),
            created,
            ..Snapshot::default()
        };
        // The clock went back between the first two.
        let sorted = parents_first(vec![
            one("b", Some("a"), 1),
            one("a", None, 2),
            one("x", Some("gone"), 3),
        ]);
        let names: Vec<_> = sorted
            .iter()
            .map(|snapshot| snapshot.name.as_str())
            .collect();
        assert_eq!(names, ["a", "b", "x"]);
    }
}
