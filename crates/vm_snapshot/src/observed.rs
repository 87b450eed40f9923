//! What is there: what observe gathers and plan decides on. Data only.

use crate::record::{Left, Record};
use host::{
    libvirt::{
        Version,
        domain::{Disk, Domain, Source},
        snapshot::Snapshot,
    },
    qemu_img::Image,
};
use std::collections::{BTreeMap, BTreeSet};

/// One VM and what concerns it.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    pub libvirt: Version,
    pub domain: Domain,
    pub agent: Agent,
    /// The file with UEFI's variables is there; libvirt makes it when the VM starts for the first time.
    pub nvram_there: bool,
    /// A job that is at work on the VM, in libvirt's word.
    pub job: Option<String>,
    /// The VM's snapshots, parents first.
    pub snapshots: Vec<Snapshot>,
    /// This module's records of them, by name.
    pub records: BTreeMap<String, Record>,
    /// The names of records whose snapshot somebody else removed.
    pub forgotten: BTreeSet<String>,
    pub left: Left,
    /// By target of each disk that holds data: its files, the one in use first; or why they cannot be told.
    pub chains: BTreeMap<String, Result<Vec<Image>, String>>,
    /// By snapshot and target: the frozen file and those below it; or why they cannot be told.
    pub frozen: BTreeMap<String, BTreeMap<String, Result<Vec<Image>, String>>>,
    /// Bytes left to root on the file system of each file of a disk.
    pub free: BTreeMap<String, u64>,
    /// Every file in the directories of the files in use.
    pub beside: BTreeSet<String>,
    /// By file: another VM in whose chains it is.
    pub foreign: BTreeMap<String, String>,
    /// Why it cannot be told which files some other VM uses.
    pub untold: Vec<String>,
    /// Those of the files that snapshots and reverts name which are there, with the file below each.
    pub below: BTreeMap<String, Option<String>>,
    /// Bytes on disk of every file of the chains, and of those that snapshots and reverts name.
    pub sizes: BTreeMap<String, u64>,
    /// Files whose stamp in the record is not what they look like now.
    pub written: BTreeSet<String>,
    /// By frozen file: when it was last written, in seconds since 1970.
    pub modified: BTreeMap<String, i64>,
    /// Seconds since 1970.
    pub now: i64,
}

/// What became of a ping to the guest agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Agent {
    /// There is no channel for one, or the VM is off.
    #[default]
    None,
    /// There is a channel, but nobody answers.
    Silent,
    Answers,
}

impl Observed {
    /// The disks that a snapshot has to hold.
    pub fn disks(&self) -> impl Iterator<Item = &Disk> {
        self.domain.disks.iter().filter(|disk| disk.holds_data())
    }

    /// The snapshot of this name.
    #[must_use]
    pub fn snapshot(&self, name: &str) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.name == name)
    }

    /// A disk's files, the one in use first; none where they cannot be told.
    #[must_use]
    pub fn chain(&self, target: &str) -> &[Image] {
        match self.chains.get(target) {
            Some(Ok(chain)) => chain,
            _ => &[],
        }
    }

    /// Every file that is known to stand on another one, with that one; some more than once.
    pub fn overlays(&self) -> impl Iterator<Item = (&str, &str)> {
        let frozen = self.frozen.values().flat_map(BTreeMap::values);
        let images = self.chains.values().chain(frozen).flatten().flatten();
        let images = images.map(|image| (&image.filename, &image.full_backing_filename));
        let pairs = images.chain(&self.below);
        pairs.filter_map(|(file, below)| Some((file.as_str(), below.as_deref()?)))
    }

    /// What is wrong with the files in use, and with those a snapshot needs.
    pub fn broken<'o>(&'o self, name: Option<&'o str>) -> impl Iterator<Item = String> + 'o {
        let frozen = name
            .and_then(|name| self.frozen.get(name))
            .into_iter()
            .flatten();
        self.chains
            .iter()
            .chain(frozen)
            .filter_map(|(target, chain)| {
                let reason = chain.as_ref().err()?;
                Some(format!(
                    "the files of disk {target} are not whole: {reason}"
                ))
            })
    }

    /// The file in use for a disk.
    #[must_use]
    pub fn in_use(&self, target: &str) -> Option<Source> {
        let disk = self
            .domain
            .disks
            .iter()
            .find(|disk| disk.target == target)?;
        Some(Source {
            file: disk.source.clone()?,
            format: disk.format.clone(),
        })
    }
}
