//! Idmapped mounts (mount_setattr(2)): a tree seen with other owners than it has on disk. No inode is touched,
//! so it takes no time, and what is written through the mount lands on disk with the ids translated back.
//!
//! The container side of the maps is what is on disk, the host side what is seen.

use crate::{IdMaps, Owner, sys};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat},
    io::Errno,
    mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount},
};
use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

/// What an id that is not mapped is seen as: the kernel's `overflowuid`.
const OVERFLOW: u32 = 65_534;

/// Why there is no idmapped mount.
#[derive(Debug)]
pub enum Error {
    /// The kernel is older than Linux 5.12.
    OldKernel,
    /// The file system of the tree cannot be idmapped, or not by this kernel.
    Unsupported(PathBuf),
    /// The directory is on a mount that is idmapped already.
    Mapped(PathBuf),
    /// The kernel shows another owner than the maps say.
    Mismatch {
        /// Of which directory.
        path: PathBuf,
        /// The owner seen.
        seen: Owner,
        /// The owner by the maps.
        expected: Owner,
    },
    /// A system call failed.
    Io {
        /// What was to be done, as a verb.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The kernel's word.
        source: Errno,
    },
}

/// An idmapped mount of a directory that is not attached anywhere yet, and gone when dropped.
#[derive(Debug)]
pub struct View(OwnedFd);

impl View {
    /// Makes one of the directory or file `source` alone, without what is mounted below it, by `maps`, which are those
    /// of the user namespace that `namespace` is a descriptor of (`/proc/PID/ns/user`). Set-user-id programs
    /// and devices are without effect on it. Changes nothing that others can see.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn new(source: &Path, maps: &IdMaps, namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        let on_disk = open(CWD, source).map_err(at("open", source))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = open_tree(&on_disk, c"", flags).map_err(|errno| match errno {
            Errno::NOSYS => Error::OldKernel,
            errno => at("clone the mount of", source)(errno),
        })?;
        sys::idmap_mount(tree.as_fd(), namespace).map_err(|errno| match errno {
            Errno::NOSYS => Error::OldKernel,
            Errno::INVAL => Error::Unsupported(source.to_owned()),
            Errno::PERM => Error::Mapped(source.to_owned()),
            errno => at("idmap the mount of", source)(errno),
        })?;
        let expected = translated(maps, owner(&on_disk, source)?);
        let seen = owner(&tree, source)?;
        if seen == expected {
            return Ok(Self(tree));
        }
        Err(Error::Mismatch {
            path: source.to_owned(),
            seen,
            expected,
        })
    }

    /// Mounts it on `place`, which is a directory or a file as the source is, and may be the source.
    ///
    /// # Errors
    /// With the kernel's word.
    pub fn attach(self, place: &Path) -> Result<(), Error> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&self.0, c"", CWD, place, flags).map_err(at("mount on", place))
    }
}

/// Takes away what is mounted on `place`.
///
/// # Errors
/// When something uses it: `EBUSY`.
pub fn detach(place: &Path) -> Result<(), Error> {
    unmount(place, UnmountFlags::NOFOLLOW).map_err(at("unmount", place))
}

/// The owner of a mapped directory that has `owner` on disk.
#[must_use]
pub fn translated(maps: &IdMaps, owner: Owner) -> Owner {
    Owner {
        uid: maps.uid.to_host(owner.uid).unwrap_or(OVERFLOW),
        gid: maps.gid.to_host(owner.gid).unwrap_or(OVERFLOW),
    }
}

/// The owner that the directory seen at `place` has on disk, where the mount there is one of a directory that
/// `place` itself names without it. `None` where it is another: then what is mounted hides its source.
///
/// # Errors
/// With the kernel's word.
pub fn owner_beneath(place: &Path) -> Result<Option<Owner>, Error> {
    let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
        return Ok(None);
    };
    let context = || at("look beneath", place);
    // A clone of the parent's mount has nothing mounted on it.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let parent = open_tree(CWD, parent, flags).map_err(context())?;
    let below = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(context())?;
    let seen = statat(CWD, place, AtFlags::SYMLINK_NOFOLLOW).map_err(context())?;
    let same = |of: fn(&Stat) -> (u64, u64)| of(&below) == of(&seen);
    Ok(same(|stat| (stat.st_dev, stat.st_ino)).then_some(of(&below)))
}

fn open(at: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(at, path, flags, Mode::empty())?;
    // With O_PATH the link itself is opened.
    match FileType::from_raw_mode(fstat(&opened)?.st_mode) {
        FileType::Symlink => Err(Errno::LOOP),
        _ => Ok(opened),
    }
}

fn owner(directory: &OwnedFd, path: &Path) -> Result<Owner, Error> {
    let stat = fstat(directory).map_err(at("stat", path))?;
    Ok(of(&stat))
}

fn of(stat: &Stat) -> Owner {
    Owner {
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

fn at(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> Error {
    move |source| Error::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OldKernel => write!(f, "idmapped mounts need Linux 5.12 or newer"),
            Self::Unsupported(path) => write!(
                f,
                "the file system of {} cannot be idmapped by this kernel",
                path.display()
            ),
            Self::Mapped(path) => {
                write!(f, "{} is on an idmapped mount already", path.display())
            }
            Self::Mismatch {
                path,
                seen,
                expected,
            } => write!(
                f,
                "{} is seen with the owner {}:{}, not {}:{}",
                path.display(),
                seen.uid,
                seen.gid,
                expected.uid,
                expected.gid
            ),
            Self::Io {
                doing,
                path,
                source,
            } => write!(
                f,
                "cannot {doing} {}: {}",
                path.display(),
                io::Error::from(*source)
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
