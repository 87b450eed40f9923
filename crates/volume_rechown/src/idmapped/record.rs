//! What we keep of a mount: its map cannot be read back from the kernel, and it has to be made again at boot.

use crate::{STATE, observe::record_of};
use anyhow::{Context, Result};
use host::{boot, files};
use idmap::IdMaps;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The records, one a tree.
const RECORDS: &str = "/var/lib/bulkhead/idmapped";

/// A tree, and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Absolute, without symbolic links, as `mount_at` is.
    pub path: PathBuf,
    pub mount_at: PathBuf,
    /// From the ids on disk to those seen.
    pub maps: IdMaps,
    /// The units that do not start without it.
    pub services: Vec<String>,
}

impl Record {
    pub fn of(path: &Path) -> Result<Option<Self>> {
        load(&record_of(path, RECORDS.as_ref()))
    }

    /// The record with this file name, as the unit knows it.
    pub fn named(name: &str) -> Result<Self> {
        let file = Path::new(RECORDS).join(name);
        load(&file)?.with_context(|| format!("there is no {}", file.display()))
    }

    /// The name of its file.
    pub fn name(&self) -> String {
        let file = self.file();
        let name = file.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Whether both are the same mount, whoever needs it.
    pub fn shows_as(&self, other: &Self) -> bool {
        (&self.path, &self.mount_at, &self.maps) == (&other.path, &other.mount_at, &other.maps)
    }

    pub fn is_over_itself(&self) -> bool {
        self.path == self.mount_at
    }

    pub fn save(&self) -> Result<()> {
        let file = self.file();
        boot::make_parent(&file)?;
        files::write_atomic(&file, &serde_json::to_vec(self)?, 0o600)
    }

    /// The executable that the units call goes with the last one.
    pub fn remove(&self) -> Result<()> {
        files::remove_optional(&self.file())?;
        if fs::remove_dir(RECORDS).is_ok() {
            files::remove_optional(&executable()?)?;
        }
        Ok(())
    }

    fn file(&self) -> PathBuf {
        record_of(&self.path, RECORDS.as_ref())
    }
}

/// Where the executable is that the units call.
pub fn executable() -> Result<PathBuf> {
    boot::executable(STATE.as_ref(), "volume_rechown")
}

fn load(file: &Path) -> Result<Option<Record>> {
    let Some(bytes) = files::read_optional(file)? else {
        return Ok(None);
    };
    let record = serde_json::from_slice(&bytes);
    Ok(Some(record.with_context(|| {
        format!("cannot read {}", file.display())
    })?))
}
