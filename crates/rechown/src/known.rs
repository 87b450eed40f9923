use crate::{Error, Report, dir::open_below, entry::Entry, pinned::Pinned, root::Root};
use rustix::{
    fs::{Statx, StatxFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::{
    ffi::{CStr, CString, OsStr},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::PathBuf,
};

/// A place in a tree, and enough to know the file there again.
///
/// That is the inode and the time of birth, not the device: its number may differ after a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Index into the journal's roots.
    pub(crate) root: usize,
    /// Below the root.
    #[serde(with = "crate::journal::path")]
    pub(crate) path: PathBuf,
    pub(crate) inode: u64,
    /// Seconds and nanoseconds, where the file system knows them.
    born: Option<(i64, u32)>,
}

impl Known {
    pub(crate) fn new(entry: &Entry<'_>, file: &Pinned) -> Self {
        Self {
            root: entry.dir.root.index,
            path: entry.dir.relative(entry.name),
            inode: file.stat.stx_ino,
            born: born(&file.stat),
        }
    }

    /// The file, or `None` when it is gone or another took its place.
    pub(crate) fn find(&self, root: &Root) -> Result<Option<Pinned>, Errno> {
        let mut at = match root.open() {
            Err(Errno::NOENT) => return Ok(None),
            at => at?,
        };
        let mut names: Vec<_> = self.path.iter().map(c_string).collect();
        let name = names.pop().unwrap_or_default();
        for name in names {
            at = match open_below(at.as_fd(), &name) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
                at => at?,
            };
        }
        match Pinned::open(at.as_fd(), &name) {
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
            Ok(file) => {
                let same = file.stat.stx_ino == self.inode && born(&file.stat) == self.born;
                Ok(same.then_some(file))
            }
        }
    }
}

/// Makes files of a journal what it says, where they still are the same. May be repeated.
pub(crate) fn restore<'a, T>(
    items: impl Iterator<Item = (&'a Known, T)>,
    roots: &[Root],
    report: &mut Report,
    doing: &'static str,
    restore: impl Fn(T, &Pinned) -> Result<bool, Errno>,
) -> Result<(), Error> {
    for (known, item) in items {
        let Some(root) = roots.get(known.root) else {
            continue;
        };
        let path = || root.path.join(&known.path);
        match known.find(root).map_err(Error::io("open", path))? {
            None => report.lost.add(path),
            Some(file) => {
                report.changed |= restore(item, &file).map_err(Error::io(doing, path))?;
            }
        }
    }
    Ok(())
}

/// Seconds and nanoseconds, where the file system knows them.
pub(crate) fn born(stat: &Statx) -> Option<(i64, u32)> {
    let known = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let time = &stat.stx_btime;
    known.then_some((time.tv_sec, time.tv_nsec))
}

/// A name of a path has no NUL byte unless the journal was tampered with; then there is no such file.
fn c_string(name: &OsStr) -> CString {
    CString::new(name.as_bytes()).unwrap_or_else(|_| CStr::to_owned(c"\n"))
}
