//! The journal: one JSON record a line, each flushed to the disk before anything else happens.

use crate::Error;
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// One line of the journal. Steps are named by their place in the list of the first record.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record<S> {
    /// The first line: everything that will be done, in order.
    Begin {
        /// Which module's steps these are.
        kind: String,
        steps: Vec<S>,
        /// Paths on the file systems to flush before the commit.
        sync: Vec<PathBuf>,
    },
    /// The step is about to run.
    Start(usize),
    /// The step has run.
    Done(usize),
    /// The step has been taken back.
    Undone(usize),
    /// All steps have run and their data is on the disk: from here on, finish.
    Commit,
}

impl<S> Record<S> {
    /// Whether it is of one of so many steps, if it is of one.
    pub(crate) fn fits(&self, steps: usize) -> bool {
        match self {
            Record::Start(at) | Record::Done(at) | Record::Undone(at) => *at < steps,
            Record::Begin { .. } | Record::Commit => true,
        }
    }
}

/// Bytes set aside for the records after the first: more than so many steps can write.
const RECORDS: u64 = 64 << 10;

pub(crate) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    pub(crate) fn create(path: &Path) -> Result<Journal, Error> {
        let mut options = OpenOptions::new();
        options.create_new(true).append(true).mode(0o600);
        Self::with(&options, path)
    }

    pub(crate) fn append_to(path: &Path) -> Result<Journal, Error> {
        Self::with(OpenOptions::new().append(true), path)
    }

    fn with(options: &OpenOptions, path: &Path) -> Result<Journal, Error> {
        Ok(Journal {
            file: options.open(path).map_err(Error::io(path))?,
            path: path.to_owned(),
        })
    }

    /// Writes one record and waits until it is on the disk.
    pub(crate) fn write<S: Serialize>(&mut self, record: &Record<S>) -> Result<(), Error> {
        let mut line = serde_json::to_vec(record).map_err(|error| Error::Corrupt {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .map_err(Error::io(&self.path))
    }

    /// Sets room aside for all the records to come, so that a disk that fills up meanwhile stops neither the steps
    /// nor their undoing. A file system that cannot do so goes without.
    pub(crate) fn reserve(&self) -> Result<(), Error> {
        let length = self.file.metadata().map_err(Error::io(&self.path))?.len();
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, length, RECORDS) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) | Ok(()) => Ok(()),
            Err(error) => Err(Error::io(&self.path)(error.into())),
        }
    }

    /// Flushes the whole file system that holds `path`.
    pub(crate) fn sync_file_system(path: &Path) -> Result<(), Error> {
        let directory = File::open(path).map_err(Error::io(path))?;
        rustix::fs::syncfs(&directory).map_err(|errno| Error::io(path)(errno.into()))
    }
}

/// Reads the records. A last line that was cut off by a crash never counted and is cut away, so that
/// the next record starts on a line of its own.
pub(crate) fn read<S: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<Record<S>>, Error> {
    let text = std::fs::read(path).map_err(Error::io(path))?;
    let whole = text
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    if whole < text.len() {
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(Error::io(path))?;
        file.set_len(whole as u64).map_err(Error::io(path))?;
    }
    text[..whole]
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_slice(line).map_err(|error| Error::Corrupt {
                path: path.to_owned(),
                reason: format!("line {}: {error}", number + 1),
            })
        })
        .collect()
}
