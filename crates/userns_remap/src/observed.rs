//! The host as plan sees it: what is there, and nothing of how it was found.

use crate::{
    conditions::Conditions,
    device::{self, Device},
    projects::ComposeProject,
    record::{Record, Sysctls},
    references::Reference,
    step::Inventory,
    verdict::Facts,
    workload::{MountKind, Workload},
};
use host::{
    accounts::Account,
    docker::{Container, Info, Network, Volume},
    login_defs::SubidRules,
    subids,
};
use idmap::{IdMaps, subid::Subids};
use std::{collections::BTreeMap, path::PathBuf};

/// The host as plan sees it.
#[derive(Clone)]
pub struct Observed {
    pub info: Info,
    /// The configured data root: what holds the `<uid>.<gid>` directory under remap.
    pub data_root: PathBuf,
    /// Host uid and gid of container root, when the engine runs remapped.
    pub remapped: Option<(u32, u32)>,
    pub containers: Vec<Container>,
    pub images: Vec<String>,
    pub networks: Vec<Network>,
    pub volumes: Vec<Volume>,
    pub plugins: Vec<String>,
    /// Which of the engine's units are active.
    pub active_units: Vec<String>,
    /// Other active units that stop when the engine does, and the commands they run then.
    pub dependents: Vec<(String, String)>,
    /// The running dockerd's command line.
    pub flags: Vec<String>,
    pub config: Option<String>,
    /// `userns-remap` in the configuration file.
    pub configured: Option<String>,
    /// The configuration file or the command line asks for containerd's image store.
    pub wants_containerd_store: bool,
    /// Of the account that is wanted.
    pub ids: Ids,
    /// Of the one that the engine uses, when it runs remapped.
    pub in_use: Option<Ids>,
    /// The maps by which a remapped container runs.
    pub container_maps: Option<IdMaps>,
    /// The entries of the data root itself and, by name, of each `<uid>.<gid>` directory in it, in use, stale or set
    /// aside.
    pub root: Vec<Entry>,
    pub remapped_roots: BTreeMap<String, Vec<Entry>>,
    /// Symbolic links and mounts where plain directories have to be, and what each is.
    pub irregular: Vec<(PathBuf, &'static str)>,
    /// Directories above the data root that container ids could not pass.
    pub closed: Vec<PathBuf>,
    /// The writable layer (a name in `overlay2/`) of each container, by container id.
    pub layers: BTreeMap<String, String>,
    /// The processes of steps that BuildKit runs.
    pub builds: Vec<u32>,
    /// What the containers mount and hold.
    pub facts: Facts,
    /// What is at the paths that are mounted or named, by path as written; what is missing does not exist.
    pub trees: BTreeMap<PathBuf, Tree>,
    /// Everybody's home directory.
    pub homes: Vec<PathBuf>,
    /// What an earlier `enabled` left for the way back.
    pub record: Option<Record>,
    /// What the plain root holds while the engine runs remapped.
    pub masked: Option<Masked>,
    /// What on the host points into the data root, where that is asked for.
    pub references: Vec<Reference>,
    /// The links at the old places that an earlier run made: names in the data root.
    pub compat_links: Vec<String>,
    /// The compose projects that the operator names.
    pub projects: Vec<ComposeProject>,
    /// The override files that an earlier `enabled` wrote, as they are now.
    pub overrides: BTreeMap<PathBuf, Option<String>>,
    /// What the data root's file system has left for root.
    pub free_bytes: u64,
    /// What a copy of the data root takes, where one is asked for.
    pub copy: Option<Space>,
    /// What the root has that an earlier `enabled` kept, as far as directories tell: no networks.
    pub in_kept_root: Inventory,
    /// What the host itself is like.
    pub conditions: Conditions,
}

/// One entry of a data root.
#[derive(Clone)]
pub struct Entry {
    pub name: String,
    pub empty: bool,
}

/// An account whose subordinate ids are (to be) used, and everybody's ranges.
#[derive(Clone)]
pub struct Ids {
    /// The account's name, whether it exists or not.
    pub name: String,
    pub account: Option<Account>,
    /// There is the group that the engine looks for.
    pub has_group: bool,
    /// Where the host wants new ranges.
    pub rules: SubidRules,
    pub subuid: Subids,
    pub subgid: Subids,
    /// Every uid and gid that belongs to an account or a group.
    pub taken: Vec<u32>,
}

impl Ids {
    /// As the choice of ranges sees them.
    pub fn files(&self) -> subids::Files<'_> {
        subids::Files {
            name: &self.name,
            uid: self.account.as_ref().map(|account| account.uid),
            rules: &self.rules,
            subuid: &self.subuid,
            subgid: &self.subgid,
            taken: &self.taken,
        }
    }
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Absolute, without symbolic links.
    pub path: PathBuf,
    pub is_directory: bool,
    /// What `volume_rechown`, or somebody else's idmapped mount, has made of it already.
    pub done: Option<&'static str>,
}

/// What a copy takes, and what there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// On disk, of everything that is to be copied, holes and further names of a file not counted.
    pub bytes: u64,
    /// Files, directories and all else.
    pub entries: u64,
    /// What the file system has left for everybody: containers run without root's reserve afterwards.
    pub free_bytes: u64,
    /// The same of inodes; `None` where the file system makes them as it needs them.
    pub free_entries: Option<u64>,
    /// Files can share their blocks.
    pub reflinks: bool,
    /// Others' `cp` leaves out what overlay2 needs.
    pub has_gnu_cp: bool,
}

/// What the plain root holds while the engine runs remapped.
#[derive(Clone)]
pub struct Masked {
    pub containers: Vec<Container>,
    /// By id.
    pub images: Vec<String>,
    pub volumes: Vec<Volume>,
    pub plugins: Vec<String>,
    pub in_swarm: bool,
    pub irregular: Vec<(PathBuf, &'static str)>,
    pub layers: BTreeMap<String, String>,
    pub facts: Facts,
}

impl Observed {
    /// As if these containers stayed in the host's user namespace already.
    pub fn with_host_mode(&self, ids: &[String]) -> Self {
        let mut observed = self.clone();
        for container in observed
            .containers
            .iter_mut()
            .filter(|container| ids.contains(&container.id))
        {
            "host".clone_into(&mut container.host_config.userns_mode);
        }
        observed
    }

    /// As if these containers set no kernel parameters.
    pub fn without_sysctls(&self, of: &[Sysctls]) -> Self {
        let mut observed = self.clone();
        for container in &mut observed.containers {
            if of.iter().any(|of| of.container == container.id) {
                container.host_config.sysctls = None;
            }
        }
        observed
    }

    pub fn workloads(&self) -> Vec<Workload> {
        workloads(&self.containers, &self.volumes)
    }

    /// The data root in use now.
    pub fn engine_root(&self) -> PathBuf {
        match self.remapped {
            Some((uid, gid)) => self.data_root.join(format!("{uid}.{gid}")),
            None => self.data_root.clone(),
        }
    }
}

/// A volume whose device is a directory of the host is as good as a bind mount of that.
pub fn workloads(containers: &[Container], volumes: &[Volume]) -> Vec<Workload> {
    let mut workloads: Vec<_> = containers.iter().map(Workload::of_container).collect();
    let mounts = (workloads.iter_mut()).flat_map(|workload| &mut workload.mounts);
    for mount in mounts.filter(|mount| mount.kind == MountKind::Volume) {
        let volume = volumes.iter().find(|volume| volume.name == mount.source);
        if let Some(Device::Bind(path)) = volume.and_then(device::of) {
            mount.kind = MountKind::Bind;
            mount.source = path.to_string_lossy().into_owned();
        }
    }
    workloads
}
