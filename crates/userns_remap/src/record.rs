//! What `enabled` leaves behind for the way back: the configuration file as it was, byte for byte, and which
//! containers it set to stay in the host's user namespace.

use crate::paths::STATE;
use anyhow::{Context, Result};
use host::files;
use idmap::IdMaps;
use rechown::Policy;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use trees::idmapped;

/// What `enabled` changed beside the data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub config_file: PathBuf,
    /// `None` where there was no such file.
    pub original: Option<String>,
    /// What was written; when the file is something else by now, somebody has changed it since.
    pub written: Option<String>,
    /// The ids of the containers that were set to stay in the host's user namespace.
    #[serde(default)]
    pub host_mode: Vec<String>,
    /// The compose overrides that were written.
    #[serde(default)]
    pub overrides: Vec<Override>,
    /// Container ids to host ids, as the engine took them; `None` in a record of an earlier version.
    #[serde(default)]
    pub maps: Option<IdMaps>,
    /// The plain root, where the data was copied out of it.
    #[serde(default)]
    pub kept: Option<Kept>,
    /// What was made of bind mounts.
    #[serde(default)]
    pub bind_mounts: Vec<BindMount>,
    /// What containers had before their kernel parameters were taken away.
    #[serde(default)]
    pub sysctls: Vec<Sysctls>,
}

/// A plain root that stays where it is, out of the remapped engine's sight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What it consists of: names in the data root.
    pub entries: Vec<String>,
    /// The ids of the containers that ran on it last.
    pub running: Vec<String>,
}

/// The kernel parameters of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctls {
    /// Its id.
    pub container: String,
    /// By name.
    pub values: BTreeMap<String, String>,
}

/// One bind mount, or a volume with a device, and what was made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindMount {
    /// Absolute, without symbolic links; the name of a volume or its device where that is no path of this host.
    pub path: PathBuf,
    pub prepared: Prepared,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prepared {
    /// With what was allowed.
    Shift(Policy),
    Idmap(idmapped::Record),
    Leave,
}

/// One compose override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The project's.
    pub directory: PathBuf,
    pub path: PathBuf,
    /// `None` where there is no file.
    pub before: Option<String>,
    pub after: Option<String>,
    /// Those that it sets to the host's user namespace.
    pub services: Vec<String>,
    /// Those whose kernel parameters it takes away.
    #[serde(default)]
    pub without_sysctls: Vec<String>,
}

impl Override {
    /// The way back.
    pub fn reversed(self) -> Self {
        Self {
            before: self.after,
            after: self.before,
            services: vec![],
            without_sysctls: vec![],
            ..self
        }
    }
}

fn path() -> PathBuf {
    Path::new(STATE).join("userns_remap.json")
}

impl Record {
    /// The record that an earlier `enabled` left for this file.
    pub fn load(config_file: &Path) -> Result<Option<Record>> {
        let Some(bytes) = files::read_optional(&path())? else {
            return Ok(None);
        };
        let record: Record = serde_json::from_slice(&bytes)
            .with_context(|| format!("cannot read {}", path().display()))?;
        Ok(Some(record).filter(|record| record.config_file == config_file))
    }

    pub fn save(&self) -> Result<()> {
        files::write_atomic(&path(), &serde_json::to_vec_pretty(self)?, 0o600)
    }

    pub fn remove() -> Result<()> {
        files::remove_optional(&path())
    }
}
