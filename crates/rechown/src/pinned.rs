use crate::{Error, dir::hold, entry::Entry, fault, xattr};
use rustix::{
    fs::{AtFlags, Mode, Statx, StatxFlags, XattrFlags, chmod, chownat, fchown, setxattr, statx},
    io::{Errno, fcntl_dupfd_cloexec},
    process::{Gid, Uid},
};
use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// A file held by a descriptor, so that what follows cannot hit another one under its name. Opened with
/// `O_PATH`: opening a device or a FIFO in earnest has effects.
pub(crate) struct Pinned {
    fd: OwnedFd,
    pub(crate) stat: Statx,
}

impl Pinned {
    pub(crate) fn open(at: BorrowedFd<'_>, name: &CStr) -> Result<Self, Errno> {
        Self::of(hold(at, if name.is_empty() { c"." } else { name })?)
    }

    fn of(fd: OwnedFd) -> Result<Self, Errno> {
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
        let stat = statx(&fd, c"", AtFlags::EMPTY_PATH, mask)?;
        Ok(Self { fd, stat })
    }

    /// The file the entry was when it was looked at.
    pub(crate) fn entry(entry: &Entry<'_>) -> Result<Self, Error> {
        let pinned = match entry.held {
            Some(held) => fcntl_dupfd_cloexec(held, 0).and_then(Self::of),
            None => Self::open(entry.at, entry.name),
        };
        let pinned = pinned.map_err(Error::io("open", || entry.path()))?;
        let same = |of: fn(&Statx) -> (u64, u32, u32)| of(&pinned.stat) == of(entry.stat);
        if same(|stat| (stat.stx_ino, stat.stx_dev_major, stat.stx_dev_minor)) {
            Ok(pinned)
        } else {
            Err(Error::Moved(entry.path()))
        }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn get(&self, name: &CStr, buffer: &mut [u8]) -> Result<Vec<u8>, Errno> {
        xattr::get(&self.fd, name, buffer)
    }

    pub(crate) fn set(&self, name: &CStr, value: &[u8]) -> Result<(), Errno> {
        let path = xattr::proc_path(self.fd.as_fd());
        setxattr(path, name, value, XattrFlags::empty())
    }

    pub(crate) fn chmod(&self, mode: u16) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(u32::from(mode) & 0o7777);
        chmod(xattr::proc_path(self.fd.as_fd()), mode)
    }

    pub(crate) fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        chown(self.fd.as_fd(), uid, gid)
    }
}

/// Gives what `fd` holds an owner, without what else belongs to a shift.
pub(crate) fn try_chown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    fchown(fd, Some(uid), Some(gid))
}

/// Changes the owner of what `fd` holds, itself if a symbolic link.
pub(crate) fn chown(fd: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH)?;
    fault::chowned();
    Ok(())
}
