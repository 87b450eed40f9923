//! Immutable and append-only files, chattr(1): nobody may change their owner while they have that flag.

use crate::{
    Error, Report,
    entry::Entry,
    known::{self, Known},
    pinned::Pinned,
    root::Root,
    xattr,
};
use rustix::{
    fs::{
        CWD, FileType, IFlags, Mode, OFlags, Statx, StatxAttributes, ioctl_getflags,
        ioctl_setflags, openat,
    },
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, os::fd::OwnedFd};

/// A file that is not to be changed, as the journal knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fixed {
    #[serde(flatten)]
    pub(crate) known: Known,
    immutable: bool,
    append: bool,
}

pub(crate) fn is_fixed(stat: &Statx) -> bool {
    let fixed = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    stat.stx_attributes.intersects(fixed)
}

/// Only these have ioctls for their flags; to open others has effects.
pub(crate) fn is_liftable(entry: &Entry<'_>) -> bool {
    matches!(entry.kind(), FileType::RegularFile | FileType::Directory)
}

impl Fixed {
    pub(crate) fn new(entry: &Entry<'_>, file: &Pinned) -> Self {
        let has = |flag| file.stat.stx_attributes.contains(flag);
        Self {
            known: Known::new(entry, file),
            immutable: has(StatxAttributes::IMMUTABLE),
            append: has(StatxAttributes::APPEND),
        }
    }

    /// Sets the flags that are missing. Says whether any was.
    fn give_back(&self, file: &Pinned) -> Result<bool, Errno> {
        let fd = open(file)?;
        let now = ioctl_getflags(&fd)?;
        let mut flags = now;
        flags.set(
            IFlags::IMMUTABLE,
            now.contains(IFlags::IMMUTABLE) || self.immutable,
        );
        flags.set(IFlags::APPEND, now.contains(IFlags::APPEND) || self.append);
        if flags != now {
            ioctl_setflags(&fd, flags)?;
        }
        Ok(flags != now)
    }
}

/// Gives back the flags of the journal's files, if they were left without. May be repeated.
pub(crate) fn give_back(fixed: &[Fixed], roots: &[Root], report: &mut Report) -> Result<(), Error> {
    let flags = fixed.iter().map(|fixed| (&fixed.known, fixed));
    known::restore(
        flags,
        roots,
        report,
        "give the flags back to",
        Fixed::give_back,
    )
}

/// The files whose flags may be lifted, by inode: those in a journal. Another that has such a flag came
/// later, and after a crash nobody would know of it.
pub(crate) struct Liftable(HashSet<u64>);

impl Liftable {
    pub(crate) fn new(fixed: &[Fixed]) -> Self {
        Self(fixed.iter().map(|fixed| fixed.known.inode).collect())
    }

    /// Does something to a file while its flags are lifted, if it has any and may be without.
    pub(crate) fn lifted(
        &self,
        file: &Pinned,
        change: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let lifted = self.lift(file)?;
        let changed = change();
        lifted.put_back()?;
        changed
    }

    /// Lifts the flags of a file, if it has any and may be without.
    pub(crate) fn lift(&self, file: &Pinned) -> Result<Lifted, Errno> {
        if !is_fixed(&file.stat) || !self.0.contains(&file.stat.stx_ino) {
            return Ok(Lifted(None));
        }
        let fd = open(file)?;
        let flags = ioctl_getflags(&fd)?;
        ioctl_setflags(&fd, flags - (IFlags::IMMUTABLE | IFlags::APPEND))?;
        Ok(Lifted(Some((fd, flags))))
    }
}

/// A file whose flags are lifted, if it had any.
#[must_use]
pub(crate) struct Lifted(Option<(OwnedFd, IFlags)>);

impl Lifted {
    pub(crate) fn put_back(self) -> Result<(), Errno> {
        match self.0 {
            Some((fd, flags)) => ioctl_setflags(fd, flags),
            None => Ok(()),
        }
    }
}

fn open(file: &Pinned) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(CWD, xattr::proc_path(file.as_fd()), flags, Mode::empty())
}
