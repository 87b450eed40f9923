//! The steps of a change, as they stand in the journal: data only. What they do is in `apply`.

use crate::{
    layout::Keep,
    record::{Override, Record, Sysctls},
};
use host::{
    accounts::Kind,
    docker::{Container, Network, Volume},
};
use idmap::{IdMaps, SubRange};
use rechown::{OutsideLinks, Policy, Strays};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Make the account, or only give it subordinate ids.
    Account {
        name: String,
        create: bool,
        ranges: Vec<(Kind, SubRange)>,
    },
    /// Write compose overrides, and see that compose reads them as meant.
    Overrides(Vec<Override>),
    /// Keep the engine from starting on half-moved data, also after a reboot.
    Guard { needs: Vec<PathBuf> },
    /// Stop what runs; the order is the one in which it is started again.
    StopContainers {
        running: Vec<Running>,
        /// The ids of those that do not run, and shall not afterwards.
        idle: Vec<String>,
    },
    /// Stop the units that were active.
    StopEngine { units: Vec<String> },
    /// From here on the engine must not start.
    Hold,
    /// Prove that nothing uses the data root any more.
    ProveStopped { data_root: PathBuf },
    /// Copy and shift the layers that no container writes to, while all runs. What has to run still at the end is
    /// given by id.
    CopyLayers {
        from: PathBuf,
        to: PathBuf,
        maps: IdMaps,
        running: Vec<String>,
    },
    /// Copy and shift all else.
    CopyRest {
        from: PathBuf,
        to: PathBuf,
        maps: IdMaps,
        keep: Keep,
    },
    /// From here on containers write to the copy: an undo sets it aside, and deletes it not.
    UseCopy { copy: PathBuf, aside: PathBuf },
    /// Move entries of the data root out of the way, and delete them once all is committed.
    SetAside {
        data_root: PathBuf,
        names: Vec<String>,
        aside: PathBuf,
    },
    /// Rename a root that is in the way of another.
    SetRootAside {
        from: PathBuf,
        to: PathBuf,
        /// The network interfaces that its engine has left, which an engine on it makes again.
        bridges: Vec<String>,
    },
    /// Rename the entries of one root into the other.
    MoveRoot { from: PathBuf, to: PathBuf },
    /// Give the engine-owned entries the owners they have with container root's host uid and gid `after`.
    Own {
        engine_root: PathBuf,
        data_root: PathBuf,
        before: (u32, u32),
        after: (u32, u32),
    },
    /// Translate the owners of everything that belongs to containers.
    Shift {
        engine_root: PathBuf,
        maps: IdMaps,
        keep: Keep,
        direction: Direction,
    },
    /// Rewrite the paths in the containers' configurations.
    RewriteContainers {
        engine_root: PathBuf,
        from: PathBuf,
        to: PathBuf,
    },
    /// Set containers to stay in the host's user namespace, or not to any more.
    SetHostMode {
        engine_root: PathBuf,
        containers: Vec<String>,
        host: bool,
    },
    /// Translate the owners of a directory of the host that containers mount.
    ShiftBindMount {
        path: PathBuf,
        maps: IdMaps,
        policy: Policy,
        /// The name of its journal.
        journal: String,
    },
    /// Have a bind mount's source show other owners than it has on disk, now and at every boot, or not any more.
    ShowBindMount {
        record: trees::idmapped::Record,
        visible: bool,
    },
    /// Take the kernel parameters of containers away, or give them back.
    SetSysctls {
        engine_root: PathBuf,
        containers: Vec<Sysctls>,
        /// Whether they have them.
        on: bool,
    },
    /// Make links at the old places, or remove them.
    CompatLinks {
        data_root: PathBuf,
        engine_root: PathBuf,
        names: Vec<String>,
        make: bool,
    },
    /// Change daemon.json, and remember or forget what it was.
    Configure(Box<Configure>),
    /// The data is whole again: the engine may start.
    Release,
    /// Start the engine and wait until it answers from this root.
    StartEngine {
        units: Vec<String>,
        expected_root: PathBuf,
    },
    /// See that it has what it had.
    VerifyInventory(Inventory),
    /// Start exactly what ran, and see that it runs under the right map.
    StartContainers {
        running: Vec<Running>,
        idle: Vec<String>,
        maps: IdMaps,
    },
}

/// What becomes of the data of the root in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carry {
    /// Renamed into the other root, and shifted there.
    Move,
    /// Copied into the other root and shifted there; the first stays for the way back.
    Copy,
    /// Deleted: the other root was kept, and is used as it is.
    FallBack,
    /// Left behind.
    Nothing,
}

/// Which way owners go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    ToRemapped,
    ToPlain,
    /// From one range to another.
    Between,
}

impl Direction {
    /// What a shift is allowed. On the way to plain there are files that the host itself wrote. A file with
    /// a name outside is the container's all the same.
    pub fn policy(self) -> Policy {
        Policy {
            strays: match self {
                Self::ToRemapped | Self::Between => Strays::Refuse,
                Self::ToPlain => Strays::Leave,
            },
            outside_links: OutsideLinks::Shift,
            ..Policy::default()
        }
    }
}

/// A container that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub id: String,
    pub name: String,
    /// How many others it stands on: those of one level can be stopped together.
    pub level: usize,
    /// Seconds it may take to stop.
    pub grace: u64,
    /// It stays in the host's user namespace.
    pub host_mode: bool,
    /// It has a health check and passed it.
    pub healthy: bool,
    /// Its stop deletes it, which the operator allows.
    #[serde(default)]
    pub removed: bool,
}

impl Running {
    pub fn of((level, container): (usize, &Container)) -> Running {
        Running {
            level,
            id: container.id.clone(),
            name: container.name().to_owned(),
            // 10 is the engine's own default; a negative value means to wait without end.
            grace: container
                .config
                .stop_timeout
                .map_or(10, |grace| u64::try_from(grace).unwrap_or(3600)),
            host_mode: container.host_config.userns_mode == "host",
            healthy: container.state.health() == Some("healthy"),
            removed: false,
        }
    }
}

/// A change of the configuration file and of the record of what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    pub path: PathBuf,
    pub before: Option<String>,
    pub after: Option<String>,
    pub backup: Option<PathBuf>,
    pub record_before: Option<Record>,
    pub record_after: Option<Record>,
}

/// What the engine has, each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    pub images: Vec<String>,
    pub containers: Vec<String>,
    /// Those that users made.
    pub networks: Vec<String>,
    pub volumes: Vec<String>,
}

impl Inventory {
    pub fn new(
        images: Vec<String>,
        containers: &[Container],
        networks: &[Network],
        volumes: &[Volume],
    ) -> Inventory {
        // The others the engine makes itself: the default bridge anew, with a new id, at every start.
        let own = ["bridge", "host", "none"];
        let user_networks = networks
            .iter()
            .filter(|network| !own.contains(&network.name.as_str()));
        Inventory {
            images,
            containers: sorted(containers.iter().map(|container| container.id.clone())),
            networks: sorted(user_networks.map(|network| network.id.clone())),
            volumes: sorted(volumes.iter().map(|volume| volume.name.clone())),
        }
    }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

impl Step {
    /// The name in the journal and in results.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Account { .. } => "account",
            Step::Overrides(_) => "overrides",
            Step::Guard { .. } => "guard",
            Step::StopContainers { .. } => "stop_containers",
            Step::StopEngine { .. } => "stop_engine",
            Step::Hold => "hold",
            Step::ProveStopped { .. } => "prove_stopped",
            Step::CopyLayers { .. } => "copy_layers",
            Step::CopyRest { .. } => "copy_rest",
            Step::UseCopy { .. } => "use_copy",
            Step::SetRootAside { .. } => "set_root_aside",
            Step::SetAside { .. } => "set_aside",
            Step::MoveRoot { .. } => "move_root",
            Step::Own { .. } => "own",
            Step::Shift { .. } => "shift",
            Step::RewriteContainers { .. } => "rewrite_containers",
            Step::SetHostMode { .. } => "set_host_mode",
            Step::ShiftBindMount { .. } => "shift_bind_mount",
            Step::ShowBindMount { .. } => "show_bind_mount",
            Step::SetSysctls { .. } => "set_sysctls",
            Step::CompatLinks { .. } => "compat_links",
            Step::Configure(_) => "configure",
            Step::Release => "release",
            Step::StartEngine { .. } => "start_engine",
            Step::VerifyInventory(_) => "verify_inventory",
            Step::StartContainers { .. } => "start_containers",
        }
    }
}
