use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};
use std::{os::fd::OwnedFd, path::Path, sync::Arc};

/// A tree to walk.
#[derive(Clone)]
pub(crate) struct Root {
    /// Place in the sorted list of roots.
    pub(crate) index: usize,
    /// Absolute and without symbolic links.
    pub(crate) path: Arc<Path>,
}

impl Root {
    /// One that is alone.
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            index: 0,
            path: path.into(),
        }
    }

    pub(crate) fn open(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(CWD, &*self.path, flags, Mode::empty())
    }
}
