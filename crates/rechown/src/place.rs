use crate::{Error, IdMaps, pinned::Pinned, root::Root};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
};

/// A root as the journal knows it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    #[serde(with = "crate::journal::path")]
    pub(crate) path: PathBuf,
    inode: u64,
    /// Where the file system knows it.
    born: Option<(i64, u32)>,
    /// Who owns it once all is shifted.
    uid: u32,
    gid: u32,
}

impl Place {
    pub(crate) fn new(root: &Root, maps: &IdMaps) -> Result<Self, Error> {
        let place = Self::now(&root.path)?;
        Ok(Self {
            uid: maps.uid.to_host(place.uid).unwrap_or(place.uid),
            gid: maps.gid.to_host(place.gid).unwrap_or(place.gid),
            ..place
        })
    }

    /// Whether the same directory is still there, with the owner that the shift gave it. Without a time of
    /// birth nobody knows: an inode number is soon used again, and every ext4 has its root at number 2.
    pub(crate) fn is_still(&self) -> Result<bool, Error> {
        Ok(self.born.is_some() && Self::now(&self.path)? == *self)
    }

    fn now(path: &Path) -> Result<Self, Error> {
        let fail = |error: Errno| Error::at("open", path)(error);
        let fd = Root::at(path).open().map_err(fail)?;
        let Pinned { stat, .. } = Pinned::open(fd.as_fd(), c"").map_err(fail)?;
        Ok(Self {
            path: path.to_owned(),
            inode: stat.stx_ino,
            born: crate::known::born(&stat),
            uid: stat.stx_uid,
            gid: stat.stx_gid,
        })
    }
}
