//! The steps of which every change is made. Data only; what they do is in apply.

use host::accounts::{Kind, Traits};
use idmap::SubRange;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The permissions of a home, which only its owner sees.
pub const PRIVATE: u32 = 0o700;
/// The permissions of a directory that root fills and the account's group reads.
pub const SHARED: u32 = 0o750;

/// The permission of everybody else to pass a directory.
pub const PASS: u32 = 0o001;

/// One step of one account. It holds all that its undo needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The account.
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub what: What,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Makes the primary group.
    Group { group: String },
    /// Makes the account, alone.
    Account {
        traits: Traits,
        /// The primary group was there before, and outlives the account.
        group_stays: bool,
    },
    /// Gives the account other traits.
    Change { before: Traits, after: Traits },
    /// Adds subordinate ranges.
    Ranges { add: Vec<(Kind, SubRange)> },
    /// Lets everybody pass a directory above the home, without seeing what is in it.
    Open { path: PathBuf, mode: u32 },
    /// Makes the home, or gives it its mode.
    Home {
        path: PathBuf,
        /// The first directory on the way there that is missing; `None` where the home is there.
        first_missing: Option<PathBuf>,
        /// Its permissions where it is there.
        mode: Option<u32>,
    },
    /// Makes the directory of secrets, and has it made at every boot.
    Secrets(Secrets),
    /// Has the user manager started without a login, or no longer.
    Linger { on: bool },
    /// Removes the account, once that is committed.
    Remove(Removal),
}

/// A directory of root's that the account's group can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    pub directory: PathBuf,
    /// Owner, group and permissions before; `None` where it is new.
    pub before: Option<(u32, u32, u32)>,
    /// The file of tmpfiles.d, and what it holds before and after.
    pub file: PathBuf,
    pub line_before: Option<String>,
    pub line: String,
}

/// What goes with an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// There is an account.
    pub account: bool,
    /// Its primary group, where nobody else is in it.
    pub group: Option<String>,
    /// Its home, where that goes too.
    pub home: Option<PathBuf>,
    pub secrets_dir: Option<PathBuf>,
    pub tmpfiles: Option<PathBuf>,
    /// Its subordinate ranges, of which no process may be left.
    pub ranges: Vec<SubRange>,
}

impl Step {
    /// The name in the journal and in results.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.what {
            What::Group { .. } => "group",
            What::Account { .. } => "account",
            What::Change { .. } => "change",
            What::Ranges { .. } => "ranges",
            What::Open { .. } => "open",
            What::Home { .. } => "home",
            What::Secrets(_) => "secrets_dir",
            What::Linger { .. } => "linger",
            What::Remove(_) => "remove",
        }
    }
}
