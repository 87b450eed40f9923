use crate::{Sample, Unmapped};
use rustix::io::Errno;
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Why a tree was not, or not wholly, shifted. All but [`Io`](Self::Io), [`Moved`](Self::Moved) and a late
/// [`Unmapped`](Self::Unmapped) come before the first change.
#[derive(Debug)]
pub enum Error {
    /// The maps turn ids into ones that are themselves still to be turned, and so many ids are taken that there
    /// is no room to go by.
    NoDetour,
    /// Ids on neither side of the maps.
    Unmapped(Sample<Unmapped>),
    /// Some ids are to be shifted and others are shifted already, and no journal tells why.
    Mixed {
        /// Entries that hold an id of the source side.
        source: Sample<PathBuf>,
        /// Entries that hold an id of the target side.
        target: Sample<PathBuf>,
    },
    /// Entries that are immutable or append-only (chattr(1)).
    Immutable(Sample<PathBuf>),
    /// Files that also have names outside the roots.
    OutsideLinks(Sample<PathBuf>),
    /// The root's file system is the kernel's, or stores no owners.
    NoOwners(PathBuf),
    /// Not even root may change owners on the root's file system.
    Squashed(PathBuf),
    /// The second root lies inside the first or is the same.
    NestedRoots(PathBuf, PathBuf),
    /// The journal is of a shift with other maps or roots that was cut short.
    OtherJournal(PathBuf),
    /// The journal's undo was begun and has to be finished with [`undo`](crate::undo) first.
    UndoPending(PathBuf),
    /// The journal cannot be read as one.
    BadJournal(PathBuf, serde_json::Error),
    /// It is on a read-only mount, or in a read-only subvolume of btrfs.
    ReadOnly(PathBuf),
    /// The name leads to another file than a moment before.
    Moved(PathBuf),
    /// The kernel does not tell mounts apart.
    OldKernel,
    /// A system call failed.
    Io {
        /// What was to be done, as a verb.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The kernel's word.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: the path is only built when the error is.
    pub(crate) fn io<E: Into<io::Error>>(
        doing: &'static str,
        path: impl FnOnce() -> PathBuf,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            doing,
            path: path(),
            source: source.into(),
        }
    }

    /// As [`io`](Self::io) for a path at hand.
    pub(crate) fn at<E: Into<io::Error>>(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        Self::io(doing, || path.to_owned())
    }

    /// Whether the entry was not there any more.
    pub(crate) fn is_vanished(&self) -> bool {
        let gone = Some(Errno::NOENT.raw_os_error());
        matches!(self, Self::Io { source, .. } if source.raw_os_error() == gone)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDetour => write!(
                f,
                "the source and target ids of the map overlap, and no range of ids is free to go by"
            ),
            Self::Unmapped(sample) => write!(f, "ids outside the map: {sample}"),
            Self::Mixed { source, target } => write!(
                f,
                "partly shifted without a journal: source ids at {source}; target ids at {target}"
            ),
            Self::Immutable(sample) => {
                write!(f, "immutable or append-only (chattr -ia): {sample}")
            }
            Self::OutsideLinks(sample) => {
                write!(f, "hard links from outside the tree: {sample}")
            }
            Self::NoOwners(path) => write!(
                f,
                "{} is on a file system of the kernel's, or one that stores no owners",
                path.display()
            ),
            Self::Squashed(path) => write!(
                f,
                "the file system of {} does not let root change owners (as NFS does with root_squash)",
                path.display()
            ),
            Self::NestedRoots(outer, inner) => {
                write!(f, "{} lies inside {}", inner.display(), outer.display())
            }
            Self::OtherJournal(path) => {
                write!(
                    f,
                    "the journal {} is of another shift, which was cut short: finish or undo that first",
                    path.display()
                )
            }
            Self::UndoPending(path) => {
                write!(
                    f,
                    "the undo of {} was begun and is not finished",
                    path.display()
                )
            }
            Self::BadJournal(path, error) => write!(f, "journal {}: {error}", path.display()),
            Self::ReadOnly(path) => {
                write!(f, "{} is on a read-only mount or subvolume", path.display())
            }
            Self::Moved(path) => write!(f, "{} was replaced meanwhile", path.display()),
            Self::OldKernel => write!(f, "the kernel does not report mount ids (Linux 5.8)"),
            Self::Io {
                doing,
                path,
                source,
            } => write!(f, "cannot {doing} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::BadJournal(_, error) => Some(error),
            _ => None,
        }
    }
}
