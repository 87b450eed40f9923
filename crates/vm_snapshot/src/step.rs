//! The steps of which every change is made. Data only; what they do is in apply.

use crate::decide::{Kind, Quiesce};
use host::libvirt::{
    domain::{Source, State},
    snapshot::{Memory, Overlay},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// One step of one VM. It holds all that its undo needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub uuid: String,
    pub what: What,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Saves the lasting definition for the snapshot's revert, unless one of the `new` files is there: from the next
    /// step on they count as this module's own.
    SaveDefinition {
        name: String,
        new: Vec<String>,
        definition: String,
    },
    /// Has libvirt take the snapshot.
    Take(Taking),
    /// Saves UEFI's variables for the snapshot's revert.
    SaveNvram { name: String, file: PathBuf },
    /// Looks whether the snapshot is whole, and records that.
    Verify { taking: Taking, nvram: bool },
    /// Makes empty overlays on the frozen files.
    MakeOverlays(Vec<Fresh>),
    /// Copies what the revert replaces.
    PutAside(Aside),
    /// Cuts the VM's power.
    Stop { was: Power },
    /// Brings UEFI's variables back.
    RestoreNvram {
        name: String,
        file: PathBuf,
        aside: PathBuf,
    },
    /// Gives the VM its definition.
    Define { before: String, after: String },
    /// Notes what is left behind.
    Leave { files: Vec<PathBuf> },
    /// Tells libvirt which snapshot the VM descends from.
    MakeCurrent {
        name: String,
        before: Option<String>,
    },
    /// Brings the VM to the state that the snapshot has.
    Resume(Resuming),
    /// Has libvirt bring an internal snapshot back.
    RevertInternal { name: String, was: Power },
    /// Looks whether the VM is what the snapshot was.
    VerifyReverted(Reverted),
    /// Removes a snapshot, once that is committed.
    Remove(Removal),
}

/// A snapshot to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taking {
    pub name: String,
    pub description: Option<String>,
    pub kind: Kind,
    pub memory: Memory,
    /// By target of every disk.
    pub overlays: BTreeMap<String, Overlay>,
    /// By target, the file in use before, which keeps the data.
    pub before: BTreeMap<String, Source>,
    pub quiesce: Quiesce,
    pub running: bool,
}

impl Taking {
    /// The files that libvirt makes for it.
    pub fn new_files(&self) -> impl Iterator<Item = &String> {
        let overlays = self.overlays.values().filter_map(|overlay| match overlay {
            Overlay::External(file) => Some(file),
            _ => None,
        });
        let memory = match &self.memory {
            Memory::External(file) => Some(file),
            _ => None,
        };
        overlays.chain(memory)
    }
}

/// An overlay to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fresh {
    pub target: String,
    pub file: String,
    pub below: Source,
}

/// Where what a revert replaces is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    pub directory: PathBuf,
    pub definition: String,
    pub nvram: Option<PathBuf>,
}

/// Whether a VM is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    Off,
    Running,
    /// Paused, crashed and the like: on, and not to be brought back to that.
    Stuck,
}

impl Power {
    /// As a state counts here.
    #[must_use]
    pub fn of(state: State) -> Power {
        match state {
            State::ShutOff => Power::Off,
            State::Running => Power::Running,
            State::Paused | State::Other => Power::Stuck,
        }
    }
}

/// How a VM goes on after a revert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resuming {
    /// It stays off.
    Off,
    /// It boots.
    Boot,
    /// It goes on with the RAM in this file, and these files for its disks.
    Memory {
        file: String,
        sources: BTreeMap<String, Source>,
    },
}

/// What a revert has to have led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reverted {
    pub name: String,
    pub running: bool,
    /// By target: the file in use, and the frozen one below it; none for an internal snapshot.
    pub chains: BTreeMap<String, (String, String)>,
}

/// A snapshot to be removed, or files that nothing needs any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The snapshot; none where only files go.
    pub name: Option<String>,
    /// Its data is within the disks' files.
    pub internal: bool,
    pub merges: Vec<Merge>,
    /// By external snapshot that stays: by target, the file that holds its data from now on.
    pub frozen: BTreeMap<String, BTreeMap<String, Source>>,
    /// Files that go.
    pub drop: Vec<PathBuf>,
    /// Files that nothing needs, but that hold what was written: they stay until told otherwise.
    pub abandon: Vec<PathBuf>,
    /// Frozen files that cannot be merged now.
    pub unmerged: Vec<(String, Source)>,
}

/// A frozen file that takes in what was written to the file above it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    pub target: String,
    pub base: Source,
    /// The qcow2 file above, which goes.
    pub top: String,
    /// Files that stand on `top`, and on `base` from now on.
    pub above: Vec<String>,
}

impl Step {
    /// The name in the journal and in results.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.what {
            What::SaveDefinition { .. } => "save_definition",
            What::Take(_) => "take",
            What::SaveNvram { .. } => "save_nvram",
            What::Verify { .. } => "verify",
            What::MakeOverlays(_) => "make_overlays",
            What::PutAside(_) => "put_aside",
            What::Stop { .. } => "stop",
            What::RestoreNvram { .. } => "restore_nvram",
            What::Define { .. } => "define",
            What::Leave { .. } => "leave",
            What::MakeCurrent { .. } => "make_current",
            What::Resume(_) => "resume",
            What::RevertInternal { .. } => "revert_internal",
            What::VerifyReverted(_) => "verify_reverted",
            What::Remove(_) => "remove",
        }
    }
}
