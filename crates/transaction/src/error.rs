use std::{fmt, io, path::PathBuf};

/// What can go wrong in the keeping of a transaction, as opposed to in one of its steps.
#[derive(Debug)]
pub enum Error {
    /// A file of the state directory could not be read or written.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the lock.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, as it wrote of itself.
        pid: String,
    },
    /// The journal does not read as one of ours.
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// There is an open transaction, which has to be recovered before a new one can begin.
    AlreadyOpen {
        /// Its directory.
        path: PathBuf,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Error::Locked { path, pid } => write!(
                f,
                "another run is at work (process {pid} holds {}); wait for it to end",
                path.display()
            ),
            Error::Corrupt { path, reason } => write!(
                f,
                "the journal {} cannot be read ({reason}); nothing was changed",
                path.display()
            ),
            Error::AlreadyOpen { path } => write!(
                f,
                "an interrupted run is still open in {}; it has to be finished or undone first",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Why a run failed, and what became of the steps that had been taken.
#[derive(Debug)]
pub struct Failed {
    /// The step that failed, or the work on the journal.
    pub step: String,
    /// What it failed with.
    pub reason: String,
    /// `None` when everything was taken back; else the step that could not be, and why. The
    /// transaction is then still open.
    pub stuck: Option<(String, String)>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.step, self.reason)?;
        match &self.stuck {
            None => write!(f, "; everything was taken back"),
            Some((step, reason)) => write!(
                f,
                "; and taking back {step} failed too: {reason}; run again to try once more"
            ),
        }
    }
}

impl std::error::Error for Failed {}
