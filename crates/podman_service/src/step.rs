//! The steps of which a move is made. Data only; what they do is in apply.

use crate::units::Place;
use host::{
    accounts::Account,
    podman::{self, Network},
};
use idmap::IdMaps;
use rechown::Policy;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// One step of a move. It holds all that its undo needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The account whose service it is before the move.
    pub from: Account,
    /// The account whose service it is afterwards.
    pub to: Account,
    pub what: What,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Has an interrupted move undone at the next boot.
    Guard,
    /// Copies an image into the other account's store, or has it pulled there.
    Image { name: String, pull: bool },
    /// Makes a network like it.
    Network(Network),
    /// Does nothing, and taken back removes what the service's units made for the new account.
    Own(Own),
    /// Copies one of Podman's secrets.
    Secret { name: String },
    /// Copies what Podman logs in to registries with.
    Login { registries: Vec<String> },
    /// Copies files that the units name.
    Files { copies: Vec<Copy> },
    /// Has the copies of secrets made again at every boot.
    KeepSecrets {
        configuration: PathBuf,
        text: String,
    },
    /// Makes a volume, without its data.
    Volume(NewVolume),
    /// Stops units, and sees that nothing holds the data any more.
    Stop {
        side: Side,
        units: Vec<Unit>,
        trees: Vec<PathBuf>,
    },
    /// Starts units.
    Start {
        side: Side,
        units: Vec<Unit>,
        trees: Vec<PathBuf>,
    },
    /// Takes units out of what is started at boot.
    Disable { side: Side, units: Vec<Unit> },
    /// Has units started at boot.
    Enable { side: Side, units: Vec<Unit> },
    /// Renames unit files so that nothing reads them.
    Hide { files: Vec<PathBuf> },
    /// Gives hidden unit files their names back.
    Show { files: Vec<PathBuf> },
    /// Renames directories of data. What is missing above them is made for the account that is to have them.
    Move {
        side: Side,
        trees: Vec<(PathBuf, PathBuf)>,
    },
    /// Translates the owners in trees.
    Shift {
        trees: Vec<PathBuf>,
        maps: IdMaps,
        policy: Policy,
    },
    /// Writes, changes or removes unit files.
    Write { changes: Vec<Change> },
    /// Looks whether the service is what it was.
    Verify { side: Side, expected: Expected },
    /// Remembers the move for the way back; `None` forgets it.
    Record {
        name: String,
        steps: Option<Vec<Step>>,
    },
    /// Removes from the account that the service has left what it does not need any more, once that is committed.
    Tidy { made: Vec<What> },
}

/// What the units of a service make by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// The names of units of systemd, by which Podman labels the containers that it makes for them.
    pub units: BTreeSet<String>,
    /// The names of containers that have no such label.
    pub containers: BTreeSet<String>,
    pub networks: Vec<String>,
}

impl Own {
    /// Whether one of the units runs the container.
    pub fn runs(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        match labels.get(podman::UNIT_LABEL) {
            Some(unit) => self.units.contains(unit),
            None => self.containers.contains(name),
        }
    }
}

/// Which of the two accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Old,
    New,
}

/// A unit of systemd.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unit {
    pub name: String,
    /// Of the system's manager, not of the account's.
    pub system: bool,
}

/// A file that is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    pub from: PathBuf,
    pub to: PathBuf,
    /// User and group of the copy.
    pub owner: (u32, u32),
    pub mode: u32,
    /// A copy for root alone that outlasts a reboot.
    pub kept: Option<PathBuf>,
}

/// A volume to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewVolume {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// How it is mounted once before it gets its data: at first use Podman gives a new volume the owner that the
    /// image has there.
    pub use_once: Option<Use>,
}

/// What a container that is never started mounts a volume as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    pub image: String,
    pub program: String,
    pub destination: String,
}

/// A unit file before and after; `None` where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub path: PathBuf,
    pub place: Place,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// What has to be so once the service runs again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    pub units: Vec<Unit>,
    /// By container's name: whether its health check has to be content, and its map of user ids.
    pub containers: BTreeMap<String, ExpectedContainer>,
    pub ports: Vec<u16>,
    pub urls: Vec<String>,
    /// Complaints of permissions that were in its log before; `None`: the log is not looked at.
    pub complaints: Option<Vec<String>>,
}

/// What a container has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedContainer {
    pub healthy: bool,
    pub maps: IdMaps,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::Old => Side::New,
            Side::New => Side::Old,
        }
    }
}

impl What {
    /// What takes it back, where that is a step too.
    pub fn inverse(&self) -> Option<What> {
        Some(match self.clone() {
            What::Stop { side, units, trees } => What::Start { side, units, trees },
            What::Start { side, units, trees } => What::Stop { side, units, trees },
            What::Disable { side, units } => What::Enable { side, units },
            What::Enable { side, units } => What::Disable { side, units },
            What::Hide { files } => What::Show { files },
            What::Show { files } => What::Hide { files },
            What::Move { side, trees } => What::Move {
                side: side.other(),
                trees: trees.into_iter().map(|(from, to)| (to, from)).collect(),
            },
            What::Shift {
                trees,
                maps,
                policy,
            } => What::Shift {
                trees,
                maps: maps.invert(),
                policy: policy.of_undo(),
            },
            What::Write { changes } => {
                let swap = |change: Change| Change {
                    before: change.after,
                    after: change.before,
                    ..change
                };
                What::Write {
                    changes: changes.into_iter().map(swap).collect(),
                }
            }
            _ => return None,
        })
    }

    /// As the journal and the user have it.
    pub fn name(&self) -> &'static str {
        match self {
            What::Guard => "guard",
            What::Image { .. } => "image",
            What::Network(_) => "network",
            What::Own(_) => "own",
            What::Secret { .. } => "secret",
            What::Login { .. } => "login",
            What::Files { .. } => "files",
            What::KeepSecrets { .. } => "keep_secrets",
            What::Volume(_) => "volume",
            What::Stop { .. } => "stop",
            What::Start { .. } => "start",
            What::Disable { .. } => "disable",
            What::Enable { .. } => "enable",
            What::Hide { .. } => "hide_units",
            What::Show { .. } => "show_units",
            What::Move { .. } => "move_data",
            What::Shift { .. } => "shift",
            What::Write { .. } => "write_units",
            What::Verify { .. } => "verify",
            What::Record { .. } => "record",
            What::Tidy { .. } => "tidy",
        }
    }
}
