//! The state directory: a lock, and at most one open transaction.

use crate::{
    Error, Open, Step, fault,
    journal::{Journal, Record, read},
};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The name, inside the state directory, of the directory that is there exactly while a transaction
/// is open. It holds the journal and whatever the steps keep for themselves.
pub const IN_PROGRESS: &str = "in-progress";

const JOURNAL: &str = "journal";

/// A state directory, locked by this process until dropped.
pub struct Store {
    directory: PathBuf,
    _lock: File,
}

impl Store {
    /// Creates `directory` (0700) where it is missing and takes its lock.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it; it does not wait.
    pub fn lock(directory: &Path) -> Result<Store, Error> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(directory).map_err(Error::io(directory))?;
        let path = directory.join("lock");
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut lock = options.open(&path).map_err(Error::io(&path))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid);
            return Err(Error::Locked {
                path,
                pid: pid.trim().to_owned(),
            });
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(Error::io(&path))?;
        Ok(Store {
            directory: directory.to_owned(),
            _lock: lock,
        })
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.in_progress().is_dir()
    }

    /// The directory of the open transaction, where steps may keep files of their own.
    #[must_use]
    pub fn in_progress(&self) -> PathBuf {
        self.directory.join(IN_PROGRESS)
    }

    /// Opens a transaction: its steps are on the disk when this returns, none of them has run.
    /// `sync` names paths on the file systems to flush before the commit.
    ///
    /// # Errors
    /// [`Error::AlreadyOpen`] when an interrupted one is there.
    pub fn begin<S: Step>(
        &self,
        kind: &str,
        steps: Vec<S>,
        sync: Vec<PathBuf>,
    ) -> Result<Open<'_, S>, Error> {
        let directory = self.in_progress();
        if self.is_open() {
            return Err(Error::AlreadyOpen { path: directory });
        }
        // Built beside its place and renamed into it, so that an open transaction always has a
        // journal with its first record.
        let draft = self.directory.join("in-progress.new");
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(Error::io(&draft))?;
        }
        DirBuilder::new()
            .mode(0o700)
            .create(&draft)
            .map_err(Error::io(&draft))?;
        let begin = Record::Begin {
            kind: kind.to_owned(),
            steps,
            sync,
        };
        let mut journal = Journal::create(&draft.join(JOURNAL))?;
        journal.write(&begin)?;
        journal.reserve()?;
        sync_directory(&draft)?;
        fs::rename(&draft, &directory).map_err(Error::io(&directory))?;
        sync_directory(&self.directory)?;
        // A fault here stands for a crash between the journal and the first step.
        let _ = fault::point("begun");
        let journal = Journal::append_to(&directory.join(JOURNAL))?;
        Ok(Open::new(self, journal, vec![begin]))
    }

    /// The transaction of `kind` that an earlier process left open, if any.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the journal is not one of `kind`.
    pub fn interrupted<S: Step>(&self, kind: &str) -> Result<Option<Open<'_, S>>, Error> {
        if !self.is_open() {
            return Ok(None);
        }
        let path = self.in_progress().join(JOURNAL);
        let records = read::<S>(&path)?;
        match records.first() {
            Some(Record::Begin {
                kind: found, steps, ..
            }) if found == kind && records.iter().all(|record| record.fits(steps.len())) => {
                let journal = Journal::append_to(&path)?;
                Ok(Some(Open::new(self, journal, records)))
            }
            _ => Err(Error::Corrupt {
                path,
                reason: format!("not a whole transaction of {kind}"),
            }),
        }
    }

    /// Takes the open transaction's directory away; the rename makes that one instant.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let (from, to) = (self.in_progress(), self.directory.join("closed"));
        if to.exists() {
            fs::remove_dir_all(&to).map_err(Error::io(&to))?;
        }
        fs::rename(&from, &to).map_err(Error::io(&from))?;
        sync_directory(&self.directory)?;
        fs::remove_dir_all(&to).map_err(Error::io(&to))
    }
}

fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io(path))
}
