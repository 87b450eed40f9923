use crate::dir::Dir;
use rustix::fs::{FileType, Statx};
use std::{ffi::CStr, os::fd::BorrowedFd, path::PathBuf, sync::Arc};

/// One name in an open directory, or the directory itself.
pub(crate) struct Entry<'a> {
    pub(crate) dir: &'a Arc<Dir>,
    /// In the directory; empty: the directory itself.
    pub(crate) name: &'a CStr,
    /// The directory.
    pub(crate) at: BorrowedFd<'a>,
    /// The entry itself, where it is held. Not open in earnest: for its owner, and as a path in /proc.
    pub(crate) held: Option<BorrowedFd<'a>>,
    pub(crate) stat: &'a Statx,
}

impl Entry<'_> {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.stx_mode.into())
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path(self.name)
    }
}
