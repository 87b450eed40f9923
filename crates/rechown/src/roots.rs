use crate::{
    Error, fixed,
    pinned::{self, Pinned},
    root::Root,
};
use rustix::{
    fs::{Access, AtFlags, accessat, fstatfs, syncfs},
    io::Errno,
};
use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

/// Resolves and sorts the roots, so that the same set is always the same list.
pub(crate) fn resolve<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<Root>, Error> {
    let resolve = |path: &Path| {
        let meta = fs::symlink_metadata(path).map_err(Error::at("open", path))?;
        if !meta.is_dir() {
            return Err(Error::at("open", path)(io::Error::from(
                io::ErrorKind::NotADirectory,
            )));
        }
        fs::canonicalize(path).map_err(Error::at("open", path))
    };
    let paths = paths.iter().map(|path| resolve(path.as_ref()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>()?;
    // By components: an outer directory comes right before what lies in it.
    paths.sort_unstable();
    if let Some([outer, inner]) = paths.windows(2).find(|pair| pair[1].starts_with(&pair[0])) {
        return Err(Error::NestedRoots(outer.clone(), inner.clone()));
    }
    Ok(number(paths))
}

/// The roots of paths that were resolved before.
pub(crate) fn number(paths: Vec<PathBuf>) -> Vec<Root> {
    let root = |(index, path): (usize, PathBuf)| Root {
        index,
        path: path.into(),
    };
    paths.into_iter().enumerate().map(root).collect()
}

/// The magic numbers, statfs(2), of file systems whose owners are the kernel's own business, and of those
/// that store none.
const OWNERLESS: [u32; 24] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0x6265_6570, // configfs
    0x6573_5543, // fusectl
    0xde5e_81e4, // efivarfs
    0x1980_0202, // mqueue
    0x4249_4e4d, // binfmt_misc
    0xf97c_ff8c, // selinux
    0x4341_5d53, // smack
    0x6e73_6673, // nsfs
    0x0187,      // autofs
    0x6759_6969, // rpc_pipefs
    0x6e66_7364, // nfsd
    0x0bad_1dea, // futexfs
    0x4d44,      // msdos, vfat
    0x2011_bab0, // exfat
];

/// Refuses roots on file systems where a change of owner cannot last.
pub(crate) fn check_owners(roots: &[Root]) -> Result<(), Error> {
    for root in roots {
        let fd = root.open().map_err(Error::at("open", &root.path))?;
        let stat = fstatfs(fd).map_err(Error::at("stat", &root.path))?;
        // The kernel's are 32 bits wide; what is above is the sign.
        if OWNERLESS.contains(&(stat.f_type as u32)) {
            return Err(Error::NoOwners(root.path.to_path_buf()));
        }
    }
    Ok(())
}

/// Refuses roots whose owner the server does not let us change, by a change to what it is. An immutable root
/// cannot be asked.
pub(crate) fn check_chown(roots: &[Root]) -> Result<(), Error> {
    for root in roots {
        let fd = root.open().map_err(Error::at("open", &root.path))?;
        let root_entry = Pinned::open(fd.as_fd(), c"").map_err(Error::at("stat", &root.path))?;
        let stat = &root_entry.stat;
        if fixed::is_fixed(stat) {
            continue;
        }
        match pinned::try_chown(fd.as_fd(), stat.stx_uid, stat.stx_gid) {
            Err(Errno::PERM | Errno::ACCESS) => {
                return Err(Error::Squashed(root.path.to_path_buf()));
            }
            result => result.map_err(Error::at("change the owner of", &root.path))?,
        }
    }
    Ok(())
}

/// Refuses roots that cannot be written to.
pub(crate) fn check_writable(roots: &[Root]) -> Result<(), Error> {
    for root in roots {
        let fd = root.open().map_err(Error::at("open", &root.path))?;
        if is_read_only(fd.as_fd()).map_err(Error::at("look at", &root.path))? {
            return Err(Error::ReadOnly(root.path.to_path_buf()));
        }
    }
    Ok(())
}

/// Whether nobody may change what is in this directory, be it for its mount or for its subvolume.
pub(crate) fn is_read_only(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    match accessat(directory, c".", Access::WRITE_OK, AtFlags::empty()) {
        Err(Errno::ROFS) => Ok(true),
        // Immutable, say: that is for others to find.
        Ok(()) | Err(Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes everything back, once for each file system.
pub(crate) fn sync(roots: &[Root]) -> Result<(), Error> {
    let mut done = Vec::new();
    for root in roots {
        let fd = root.open().map_err(Error::at("open", &root.path))?;
        let device = rustix::fs::fstat(&fd)
            .map_err(Error::at("stat", &root.path))?
            .st_dev;
        if !done.contains(&device) {
            syncfs(fd).map_err(Error::at("sync", &root.path))?;
            done.push(device);
        }
    }
    Ok(())
}
