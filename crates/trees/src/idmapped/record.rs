//! What we keep of a mount: its map cannot be read back from the kernel, and it has to be made again at boot.

use crate::records::{STATE, record_of};
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
    /// Where it is shown; `path` itself where it is mounted over itself.
    pub mount_at: PathBuf,
    /// From the ids on disk to those seen.
    pub maps: IdMaps,
    /// The units that do not start without it.
    pub services: Vec<String>,
    /// The name that the copy of the executable has which the unit calls. Each module has one of its own, so that
    /// neither replaces the other's.
    #[serde(default = "volume_rechown")]
    pub executable: String,
}

fn volume_rechown() -> String {
    "volume_rechown".to_owned()
}

impl Record {
    /// That of a tree, if it has one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> Result<Option<Self>> {
        load(&record_of(path, RECORDS.as_ref()))
    }

    /// The record with this file name, as the unit knows it.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn named(name: &str) -> Result<Self> {
        let file = Path::new(RECORDS).join(name);
        load(&file)?.with_context(|| format!("there is no {}", file.display()))
    }

    /// The name of its file.
    #[must_use]
    pub fn name(&self) -> String {
        let file = self.file();
        let name = file.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Whether both are the same mount, whoever needs it.
    #[must_use]
    pub fn shows_as(&self, other: &Self) -> bool {
        (&self.path, &self.mount_at, &self.maps) == (&other.path, &other.mount_at, &other.maps)
    }

    /// Whether what is shown hides what is on disk.
    #[must_use]
    pub fn is_over_itself(&self) -> bool {
        self.path == self.mount_at
    }

    pub(super) fn save(&self) -> Result<()> {
        let file = self.file();
        boot::make_parent(&file)?;
        files::write_atomic(&file, &serde_json::to_vec(self)?, 0o600)
    }

    /// The executable that the units call goes with the last one that calls it.
    pub(super) fn remove(&self) -> Result<()> {
        files::remove_optional(&self.file())?;
        if !all()?
            .iter()
            .any(|other| other.executable == self.executable)
        {
            files::remove_optional(&self.executable()?)?;
        }
        // Not while there is another.
        let _ = fs::remove_dir(RECORDS);
        Ok(())
    }

    /// Where the executable is that the unit calls.
    pub(super) fn executable(&self) -> Result<PathBuf> {
        boot::executable(STATE.as_ref(), &self.executable)
    }

    fn file(&self) -> PathBuf {
        record_of(&self.path, RECORDS.as_ref())
    }
}

fn all() -> Result<Vec<Record>> {
    let Ok(entries) = fs::read_dir(RECORDS) else {
        return Ok(vec![]);
    };
    let records = entries.map(|entry| load(&entry?.path()));
    records.filter_map(Result::transpose).collect()
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
