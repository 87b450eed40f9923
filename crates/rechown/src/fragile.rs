use crate::{
    Error, Report, capability,
    ids::{Sides, Translator},
    pinned::Pinned,
    roots::Root,
    walk::{Entry, open_below},
    xattr::{self, CAPABILITY},
};
use rustix::{fs::StatxFlags, io::Errno};
use serde::{Deserialize, Serialize};
use std::{
    ffi::{CStr, CString, OsStr},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::PathBuf,
};

/// What a change of owner takes from a file, and enough to know the file again.
///
/// That is the inode and the time of birth, not the device: its number may differ after a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fragile {
    /// Index into the journal's roots.
    pub(crate) root: usize,
    /// Below the root.
    #[serde(with = "crate::journal::path")]
    pub(crate) path: PathBuf,
    inode: u64,
    /// Seconds and nanoseconds, where the file system knows them.
    born: Option<(i64, u32)>,
    mode: u16,
    /// The value of `security.capability` as it was.
    capability: Option<Vec<u8>>,
}

impl Fragile {
    pub(crate) fn new(entry: &Entry<'_>, file: &Pinned, capability: Option<&[u8]>) -> Self {
        Self {
            root: entry.dir.root().index,
            path: entry.dir.relative(entry.name),
            inode: file.stat.stx_ino,
            born: born(file),
            mode: file.stat.stx_mode,
            capability: capability.map(<[u8]>::to_owned),
        }
    }

    /// Gives back the mode, and the capability as `sides` translate it, or as it was. Says whether either
    /// was gone.
    fn give_back(&self, file: &Pinned, sides: Option<&Sides>) -> Result<bool, Errno> {
        let mut given = false;
        if let Some(old) = &self.capability {
            let new = match sides {
                None => old.clone(),
                Some(sides) => {
                    capability::translate(old, &mut Translator::new(sides)).ok_or(Errno::INVAL)?
                }
            };
            let now = file.get(CAPABILITY, &mut vec![0; xattr::MAX]);
            if now.as_ref() != Ok(&new) {
                file.set(CAPABILITY, &new)?;
                given = true;
            }
        }
        if file.stat.stx_mode != self.mode {
            file.chmod(self.mode)?;
            given = true;
        }
        Ok(given)
    }

    /// The file, or `None` when it is gone or another took its place.
    fn find(&self, root: &Root) -> Result<Option<Pinned>, Errno> {
        let mut at = root.open()?;
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
                let same = file.stat.stx_ino == self.inode && born(&file) == self.born;
                Ok(same.then_some(file))
            }
        }
    }
}

fn born(file: &Pinned) -> Option<(i64, u32)> {
    let known = file.stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let time = &file.stat.stx_btime;
    known.then_some((time.tv_sec, time.tv_nsec))
}

/// A name of a path has no NUL byte unless the journal was tampered with; then there is no such file.
fn c_string(name: &OsStr) -> CString {
    CString::new(name.as_bytes()).unwrap_or_else(|_| CStr::to_owned(c"\n"))
}

/// Gives back what the journal's files lost, if they did. May be repeated.
pub(crate) fn give_back(
    fragile: &[Fragile],
    roots: &[Root],
    sides: Option<&Sides>,
    report: &mut Report,
) -> Result<(), Error> {
    for fragile in fragile {
        let Some(root) = roots.get(fragile.root) else {
            continue;
        };
        let path = || root.path.join(&fragile.path);
        let found = fragile.find(root).map_err(Error::io("open", path))?;
        match found {
            None => report.lost.add(path),
            Some(file) => {
                report.changed |= fragile
                    .give_back(&file, sides)
                    .map_err(Error::io("give mode and capabilities back to", path))?;
            }
        }
    }
    Ok(())
}
