use crate::{Error, Report, known::Known, pinned::Pinned, roots::Root, walk::Entry, xattr};
use rustix::{fs::FileType, io::Errno};
use serde::{Deserialize, Serialize};
use std::ffi::CString;

/// What becomes of trees that are not wholly on the source side.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strays {
    Refuse,
    Leave,
}

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
    fn restore(&self, file: &Pinned) -> Result<bool, Errno> {
        let chown = (file.stat.stx_uid, file.stat.stx_gid) != (self.uid, self.gid);
        if chown {
            file.chown(Some(self.uid), Some(self.gid))?;
        }
        let mut restored = chown;
        for (name, old) in &self.attributes {
            if file.get(name, &mut vec![0; xattr::MAX]).as_ref() != Ok(old) {
                file.set(name, old)?;
                restored = true;
            }
        }
        let link = FileType::from_raw_mode(self.mode.into()) == FileType::Symlink;
        if !link && (restored || file.stat.stx_mode != self.mode) {
            file.chmod(self.mode)?;
            restored = true;
        }
        Ok(restored)
    }
}

/// Makes the strays of a shift what they were. May be repeated.
pub(crate) fn restore(strays: &[Stray], roots: &[Root], report: &mut Report) -> Result<(), Error> {
    for stray in strays {
        let Some(root) = roots.get(stray.known.root) else {
            continue;
        };
        let path = || root.path.join(&stray.known.path);
        let found = stray.known.find(root).map_err(Error::io("open", path))?;
        match found {
            None => report.lost.add(path),
            Some(file) => {
                report.changed |= stray.restore(&file).map_err(Error::io("restore", path))?;
            }
        }
    }
    Ok(())
}
