//! What is there, as plan sees it. Data only.

use crate::{record::Record, units::UnitFile};
use host::{
    accounts::Account,
    podman::{Container, Image, Network, Volume},
};
use idmap::{IdMaps, SubRange};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// An account that runs, or shall run, the service.
#[derive(Debug, Clone)]
pub struct Party {
    pub account: Account,
    /// The name of its group.
    pub group: String,
    pub uids: Vec<SubRange>,
    pub gids: Vec<SubRange>,
    /// Whose ranges overlap its own: it has the ids of their files, or they of its.
    pub overlaps: Vec<String>,
    /// Its user manager runs from boot on.
    pub lingers: bool,
    /// Everything by which something runs as it.
    pub files: Vec<UnitFile>,
    /// Where its Podman keeps images and secrets.
    pub store: PathBuf,
    /// Where its store has volumes.
    pub volumes_root: PathBuf,
}

/// A service and the two accounts.
#[derive(Debug, Clone)]
pub struct Observed {
    pub nixos: bool,
    pub from: Party,
    pub to: Party,
    /// By unit of systemd of the old account.
    pub states: BTreeMap<String, UnitState>,
    /// All of the old account's.
    pub containers: Vec<Container>,
    /// By name of a container that runs, what its processes have for ids.
    pub maps: BTreeMap<String, IdMaps>,
    /// By name, the old account's image, and what the new one has by that name.
    pub images: BTreeMap<String, (Option<Image>, Option<Image>)>,
    /// By name, the old account's volume, and whether the new one has one of that name.
    pub volumes: BTreeMap<String, (Option<Volume>, bool)>,
    /// By name, the old account's network, and what the new one has by that name.
    pub networks: BTreeMap<String, (Option<Network>, Option<Network>)>,
    /// By name, whether the old and the new account have such a secret of Podman's.
    pub secrets: BTreeMap<String, (bool, bool)>,
    /// The registries that the old account can log in to, and the new one.
    pub logins: (BTreeSet<String>, BTreeSet<String>),
    /// What the units, their containers and the user name.
    pub paths: BTreeMap<PathBuf, Facts>,
    /// Files under `.config/containers` of the old account, relative to it, that the new one has not, and a setting
    /// in each that is good for the old one alone.
    pub configuration: BTreeMap<PathBuf, Option<String>>,
    /// Complaints of permissions in the service's log.
    pub complaints: Vec<String>,
    /// The move that was made.
    pub record: Option<Record>,
}

impl Observed {
    /// Why these are not the accounts of the move that was made.
    pub fn is_of_others(&self) -> Option<String> {
        let (from, to) = self.record.as_ref()?.accounts()?;
        let asked = (
            self.from.account.name.as_str(),
            self.to.account.name.as_str(),
        );
        (asked != (from, to))
            .then(|| format!("it was moved from {from} to {to}; return it by these names first"))
    }
}

/// A unit of systemd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// `active`, `inactive`, `failed`, …
    pub active: String,
    /// `enabled`, `disabled`, `generated`, …
    pub file: String,
}

/// A path of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub kind: Kind,
    pub uid: u32,
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// The mount it is on; of what is missing, the one that it would be on.
    pub mount: u64,
    /// What is mounted there, or below.
    pub mounted: Option<PathBuf>,
    /// Its own place, without symbolic links.
    pub real: PathBuf,
    /// A directory above it that keeps the new account out.
    pub blocked_by: Option<PathBuf>,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File,
    /// Sockets, devices and the like.
    Other,
    Missing,
}
