use crate::root::Root;
use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat, openat2, statx},
    io::Errno,
};
use std::{
    ffi::{CStr, CString, OsStr},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
    sync::Arc,
};

/// A directory's place in its tree, kept as names so that no descriptor need stay open for it.
pub(crate) struct Dir {
    pub(crate) parent: Option<Arc<Dir>>,
    pub(crate) root: Root,
    pub(crate) name: CString,
    pub(crate) inode: u64,
    pub(crate) mount: u64,
}

impl Dir {
    fn chain(&self) -> Vec<&Dir> {
        let mut chain = vec![self];
        while let Some(parent) = chain.last().and_then(|dir| dir.parent.as_deref()) {
            chain.push(parent);
        }
        chain.pop();
        chain.reverse();
        chain
    }

    /// The path of `name` in the directory, from the root on.
    pub(crate) fn relative(&self, name: &CStr) -> PathBuf {
        let chain = self.chain();
        let names = chain.iter().map(|dir| dir.name.as_c_str()).chain([name]);
        names
            .filter(|name| !name.is_empty())
            .map(|name| OsStr::from_bytes(name.to_bytes()))
            .collect()
    }

    pub(crate) fn path(&self, name: &CStr) -> PathBuf {
        let relative = self.relative(name);
        match relative.as_os_str().is_empty() {
            true => self.root.path.to_path_buf(),
            false => self.root.path.join(relative),
        }
    }

    /// Opens the directory again, name by name from its root.
    pub(crate) fn reopen(&self) -> Result<OwnedFd, Errno> {
        let mut fd = self.root.open()?;
        for dir in self.chain() {
            fd = open_below(fd.as_fd(), &dir.name)?;
        }
        match look(fd.as_fd(), c"")?.stx_ino == self.inode {
            true => Ok(fd),
            false => Err(Errno::NOENT),
        }
    }
}

/// A long chain must not be dropped by recursion.
impl Drop for Dir {
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(mut dir) = parent.and_then(Arc::into_inner) {
            parent = dir.parent.take();
        }
    }
}

/// Opens a directory; `XDEV` when another mount lies on it. The access time stays, where that is allowed.
pub(crate) fn open_below(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match openat2(at, name, flags | OFlags::NOATIME, Mode::empty(), resolve) {
        Err(Errno::PERM) => openat2(at, name, flags, Mode::empty(), resolve),
        result => result,
    }
}

/// Holds an entry, itself if a symbolic link, without opening it in earnest: that has effects on devices and
/// FIFOs, and mounts what is mounted on demand.
pub(crate) fn hold(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

/// What a walk has to know of an entry.
pub(crate) fn look(at: BorrowedFd<'_>, name: &CStr) -> Result<Statx, Errno> {
    let flags = match name.is_empty() {
        true => AtFlags::EMPTY_PATH,
        false => AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
    };
    let mask = StatxFlags::TYPE
        | StatxFlags::MODE
        | StatxFlags::NLINK
        | StatxFlags::UID
        | StatxFlags::GID
        | StatxFlags::INO
        | StatxFlags::MNT_ID;
    statx(at, name, flags, mask)
}
