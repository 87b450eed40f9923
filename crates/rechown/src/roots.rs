use crate::Error;
use rustix::{
    fs::{CWD, Mode, OFlags, StatVfsMountFlags, fstatvfs, openat, syncfs},
    io::Errno,
};
use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A tree to walk.
#[derive(Clone)]
pub(crate) struct Root {
    /// Place in the sorted list of roots.
    pub(crate) index: usize,
    /// Absolute and without symbolic links.
    pub(crate) path: Arc<Path>,
}

impl Root {
    pub(crate) fn open(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(CWD, &*self.path, flags, Mode::empty())
    }
}

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

/// Refuses roots that cannot be written to.
pub(crate) fn check_writable(roots: &[Root]) -> Result<(), Error> {
    for root in roots {
        let fd = root.open().map_err(Error::at("open", &root.path))?;
        let stat = fstatvfs(fd).map_err(Error::at("stat", &root.path))?;
        if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(Error::ReadOnly(root.path.to_path_buf()));
        }
    }
    Ok(())
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
