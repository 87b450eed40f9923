//! What this module remembers of the snapshots it took, beside what libvirt knows.
//!
//! `STATE/UUID/snapshots/NAME/` has `record.json`, `domain.xml` (the lasting definition, passwords
//! included) and `nvram` (UEFI's variables); `STATE/UUID/left.json` tells what reverts left behind.

use anyhow::{Context, Result};
use host::{files, libvirt::domain::Source};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Root's only.
pub const STATE: &str = "/var/lib/bulkhead/vm_snapshot";

/// A snapshot that this module took.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    /// When libvirt took it, in seconds since 1970: somebody may give the name to another one.
    pub created: i64,
    /// The guest's file systems were at rest.
    pub quiesced: bool,
    /// Whether the VM ran.
    pub running: bool,
    /// By target, what a file looked like once it was frozen. A file that looks otherwise was written since.
    pub frozen: BTreeMap<String, Stamp>,
    /// UEFI's variables were saved.
    pub nvram: bool,
    /// Seconds since 1970 at which all of `checks` had been found right.
    pub verified: i64,
    pub checks: Vec<String>,
}

/// By what a file is recognised as unwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub file: PathBuf,
    pub bytes: u64,
    /// Seconds and nanoseconds since 1970.
    pub modified: (i64, i64),
}

impl Stamp {
    /// As the file looks now.
    ///
    /// # Errors
    /// When it is not there.
    pub fn of(file: &Path) -> Result<Stamp> {
        let seen = fs::metadata(file).with_context(|| file.display().to_string())?;
        Ok(Stamp {
            file: file.to_owned(),
            bytes: seen.len(),
            modified: (seen.mtime(), seen.mtime_nsec()),
        })
    }
}

/// What is still there though nothing needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Left {
    /// What reverts left behind: disks' overlays, UEFI's variables and definitions, as they were.
    pub abandoned: Vec<PathBuf>,
    /// Frozen files of removed snapshots, by target, that could not be merged with what stands on them.
    pub unmerged: Vec<(String, Source)>,
}

/// Where everything about one VM is.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

impl Place {
    /// The place for the VM with this UUID.
    #[must_use]
    pub fn of(uuid: &str) -> Place {
        Place(Path::new(STATE).join(uuid))
    }

    /// The directory of the VM.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// The directory of one snapshot.
    #[must_use]
    pub fn snapshot(&self, name: &str) -> PathBuf {
        self.0.join("snapshots").join(name)
    }

    /// The lasting definition at the time of a snapshot.
    #[must_use]
    pub fn definition(&self, name: &str) -> PathBuf {
        self.snapshot(name).join("domain.xml")
    }

    /// UEFI's variables at the time of a snapshot.
    #[must_use]
    pub fn nvram(&self, name: &str) -> PathBuf {
        self.snapshot(name).join("nvram")
    }

    /// The records of all snapshots, by name.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn records(&self) -> Result<BTreeMap<String, Record>> {
        let directory = self.0.join("snapshots");
        let mut records = BTreeMap::new();
        if !directory.exists() {
            return Ok(records);
        }
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path().join("record.json");
            if let Some(record) = read::<Record>(&path)? {
                records.insert(record.name.clone(), record);
            }
        }
        Ok(records)
    }

    /// Writes a snapshot's record.
    ///
    /// # Errors
    /// With the path and what the system said.
    pub fn write(&self, record: &Record) -> Result<()> {
        let directory = self.snapshot(&record.name);
        make(&directory)?;
        write(&directory.join("record.json"), record)
    }

    /// What is still there though nothing needs it.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub fn left(&self) -> Result<Left> {
        Ok(read(&self.0.join("left.json"))?.unwrap_or_default())
    }

    /// Writes that list.
    ///
    /// # Errors
    /// With the path and what the system said.
    pub fn write_left(&self, left: &Left) -> Result<()> {
        make(&self.0)?;
        write(&self.0.join("left.json"), left)
    }

    /// Whether it is such a place.
    #[must_use]
    pub fn is_aside(&self, directory: &Path) -> bool {
        directory.parent() == Some(&self.0.join("aside"))
    }

    /// Where a revert puts what it replaces.
    #[must_use]
    pub fn aside(&self, stamp: &str) -> PathBuf {
        self.0.join("aside").join(stamp)
    }
}

/// Makes a directory of root's only, and those above it.
///
/// # Errors
/// With the path and what the system said.
pub fn make(directory: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(directory)
        .with_context(|| directory.display().to_string())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(text) = files::read_text_optional(path)? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .with_context(|| path.display().to_string())
}

fn write<T: Serialize + ?Sized>(path: &Path, what: &T) -> Result<()> {
    files::write_atomic(path, serde_json::to_string_pretty(what)?.as_bytes(), 0o600)
}
