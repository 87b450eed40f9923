//! Files changed atomically: a temporary file beside it, same owner and mode, flushed, renamed, the
//! directory flushed.

use anyhow::{Context, Result};
use nix::unistd::{Gid, Uid, fchown};
use std::{
    fs::{self, File, Permissions},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The bytes of a file, `None` where there is none.
///
/// # Errors
/// When it is there and cannot be read.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The text of a file, `None` where there is none.
///
/// # Errors
/// When it is there and cannot be read, or is not UTF-8.
pub fn read_text_optional(path: &Path) -> Result<Option<String>> {
    let text = read_optional(path)?.map(String::from_utf8).transpose();
    text.with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Replaces the content of `path`, or makes it with `mode` where it is missing. A symbolic link is
/// followed: the file it names is replaced, not the link.
///
/// # Errors
/// With the path and what the system said; the old content is then still there.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let context = || format!("cannot write {}", path.display());
    let directory = path.parent().with_context(context)?;
    let mut draft = tempfile::Builder::new()
        .prefix(".bulkhead-")
        .tempfile_in(directory)
        .with_context(context)?;
    draft.write_all(content).with_context(context)?;
    let old = fs::metadata(&path).ok();
    if let Some(old) = &old {
        let (uid, gid) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
        fchown(draft.as_file(), Some(uid), Some(gid)).with_context(context)?;
    }
    let mode = old.map_or(mode, |old| old.mode() & 0o7777);
    draft
        .as_file()
        .set_permissions(Permissions::from_mode(mode))
        .with_context(context)?;
    draft.as_file().sync_all().with_context(context)?;
    draft.persist(&path).with_context(context)?;
    sync_directory(directory)
}

/// Removes a file; that it is missing already is well.
///
/// # Errors
/// When it is there and stays.
pub fn remove_optional(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Where a dated copy of `path` would go: `NAME.YYYY-MM-DD@HH:MM:SS~`, as Ansible's own backups do
/// without the process id.
#[must_use]
pub fn backup_path(path: &Path, stamp: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{stamp}~"));
    PathBuf::from(name)
}

/// Flushes a directory, so that a rename in it survives a power cut.
///
/// # Errors
/// With the path and what the system said.
pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("cannot flush {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    #[test]
    fn owner_and_mode_survive_and_nothing_is_left_beside_it() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("daemon.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        chown(&path, Some(7), Some(8)).unwrap();
        write_atomic(&path, b"new", 0o600).unwrap();
        let new = fs::metadata(&path).unwrap();
        assert_eq!((new.uid(), new.gid(), new.mode() & 0o7777), (7, 8, 0o640));
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link() {
        let scratch = tempfile::tempdir().unwrap();
        let (real, link) = (scratch.path().join("real"), scratch.path().join("link"));
        fs::write(&real, "old").unwrap();
        symlink(&real, &link).unwrap();
        write_atomic(&link, b"new", 0o600).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
    }

    #[test]
    fn a_missing_file_is_made_with_the_given_mode() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("new");
        assert_eq!(read_optional(&path).unwrap(), None);
        write_atomic(&path, b"x", 0o604).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o604);
        remove_optional(&path).unwrap();
        remove_optional(&path).unwrap();
    }
}
