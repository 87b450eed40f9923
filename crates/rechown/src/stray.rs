use crate::{
    Error, Report,
    entry::Entry,
    fixed::Liftable,
    known::{self, Known},
    pinned::Pinned,
    root::Root,
    xattr,
};
use rustix::{
    fs::{FileType, Statx},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, ffi::CString};

/// An entry that held an id of the target side before the shift, as it was: the inverse maps would take
/// that id for one that the shift made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stray {
    #[serde(flatten)]
    pub(crate) known: Known,
    uid: u32,
    gid: u32,
    mode: u16,
    /// Those that hold ids, by name.
    attributes: Vec<(CString, Vec<u8>)>,
}

impl Stray {
    pub(crate) fn new(
        entry: &Entry<'_>,
        file: &Pinned,
        attributes: Vec<(CString, Vec<u8>)>,
    ) -> Self {
        Self {
            known: Known::new(entry, file),
            uid: file.stat.stx_uid,
            gid: file.stat.stx_gid,
            mode: file.stat.stx_mode,
            attributes,
        }
    }

    /// Whether the file is what it was.
    fn is_still(&self, file: &Pinned) -> bool {
        let same = |(name, old): &(CString, _)| {
            file.get(name, &mut vec![0; xattr::MAX]).as_ref() == Ok(old)
        };
        let mode = self.is_link() || file.stat.stx_mode == self.mode;
        !self.chowns(file) && mode && self.attributes.iter().all(same)
    }

    fn chowns(&self, file: &Pinned) -> bool {
        (file.stat.stx_uid, file.stat.stx_gid) != (self.uid, self.gid)
    }

    /// Makes the file what it was. Says whether it was anything else.
    fn restore(&self, file: &Pinned, liftable: &Liftable) -> Result<bool, Errno> {
        if self.is_still(file) {
            return Ok(false);
        }
        liftable.lifted(file, || self.set(file, self.chowns(file)))?;
        Ok(true)
    }

    fn set(&self, file: &Pinned, chown: bool) -> Result<(), Errno> {
        if chown {
            file.chown(Some(self.uid), Some(self.gid))?;
        }
        for (name, old) in &self.attributes {
            file.set(name, old)?;
        }
        match self.is_link() {
            true => Ok(()),
            false => file.chmod(self.mode),
        }
    }

    fn is_link(&self) -> bool {
        FileType::from_raw_mode(self.mode.into()) == FileType::Symlink
    }
}

/// Files that a walk is to leave alone, by device and inode.
pub(crate) type Left = HashSet<(u32, u32, u64)>;

/// The strays that are what they were: what the shift has not changed, the undo need not touch. Others hold an
/// id of either side.
pub(crate) fn untouched(strays: &[Stray], roots: &[Root]) -> Result<Left, Error> {
    let mut found = Left::new();
    for stray in strays {
        let Some(root) = roots.get(stray.known.root) else {
            continue;
        };
        let path = || root.path.join(&stray.known.path);
        let file = stray.known.find(root).map_err(Error::io("open", path))?;
        found.extend(
            file.filter(|file| stray.is_still(file))
                .map(|file| identity(&file.stat)),
        );
    }
    Ok(found)
}

pub(crate) fn identity(stat: &Statx) -> (u32, u32, u64) {
    (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
}

/// Makes the strays of a shift what they were. May be repeated.
pub(crate) fn restore(
    strays: &[Stray],
    roots: &[Root],
    liftable: &Liftable,
    report: &mut Report,
) -> Result<(), Error> {
    let strays = strays.iter().map(|stray| (&stray.known, stray));
    known::restore(strays, roots, report, "restore", |stray, file| {
        stray.restore(file, liftable)
    })
}
