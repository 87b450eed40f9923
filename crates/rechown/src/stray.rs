use crate::{
    Error, Report,
    fixed::Liftable,
    known::{self, Known},
    pinned::Pinned,
    roots::Root,
    walk::Entry,
    xattr,
};
use rustix::{fs::FileType, io::Errno};
use serde::{Deserialize, Serialize};
use std::ffi::CString;

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

    /// Makes the file what it was. Says whether it was anything else.
    fn restore(&self, file: &Pinned, liftable: &Liftable) -> Result<bool, Errno> {
        let chown = (file.stat.stx_uid, file.stat.stx_gid) != (self.uid, self.gid);
        let other = |(name, old): &(CString, _)| {
            file.get(name, &mut vec![0; xattr::MAX]).as_ref() != Ok(old)
        };
        let chmod = !self.is_link() && file.stat.stx_mode != self.mode;
        if !chown && !chmod && !self.attributes.iter().any(other) {
            return Ok(false);
        }
        let lifted = liftable.lift(file)?;
        let restored = self.set(file, chown);
        lifted.put_back()?;
        restored.map(|()| true)
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
