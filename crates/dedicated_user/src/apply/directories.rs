//! The directories of an account.

use crate::step::{PRIVATE, Removal, SHARED, Secrets};
use anyhow::{Context, Result};
use host::files;
use std::{
    fs::{self, DirBuilder, Permissions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown},
    path::Path,
};

/// What everybody may look into.
const OPEN: u32 = 0o755;

/// Makes the home where it is `missing`, and gives it its mode.
pub fn make_home(path: &Path, uid: u32, gid: u32, missing: bool) -> Result<()> {
    if missing {
        let above = path.ancestors().skip(1).take_while(|above| !above.exists());
        for above in above.collect::<Vec<_>>().into_iter().rev() {
            make(above, PRIVATE)?;
            // Not left to our umask.
            set_mode(above, OPEN)?;
        }
        make(path, PRIVATE)?;
        own(path, uid, gid)?;
    }
    set_mode(path, PRIVATE)
}

/// Removes a home that was made, and the directories above it from `first` on, as far as nothing is in them; or says
/// what stays.
pub fn remove_home(path: &Path, first: &Path) -> Result<Option<String>> {
    for directory in path.ancestors().take_while(|path| path.starts_with(first)) {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                return Ok((directory == path)
                    .then(|| format!("{} stays, for something is in it", path.display())));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("cannot remove {}", directory.display()));
            }
            _ => {}
        }
    }
    Ok(None)
}

pub fn make_secrets(secrets: &Secrets, gid: u32) -> Result<()> {
    let directory = &secrets.directory;
    let parent = secrets.file.parent().context("no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    files::write_atomic(&secrets.file, secrets.line.as_bytes(), 0o644)?;
    if secrets.before.is_none() {
        make(directory, PRIVATE)?;
    }
    own(directory, 0, gid)?;
    set_mode(directory, SHARED)
}

pub fn undo_secrets(secrets: &Secrets) -> Result<()> {
    let directory = &secrets.directory;
    match secrets.before {
        Some((uid, gid, mode)) => {
            own(directory, uid, gid)?;
            set_mode(directory, mode)?;
        }
        None => remove_if_empty(directory)?,
    }
    match &secrets.line_before {
        Some(line) => files::write_atomic(&secrets.file, line.as_bytes(), 0o644),
        None => files::remove_optional(&secrets.file),
    }
}

/// Removes the directories of an account that is gone.
pub fn remove(removal: &Removal) -> Result<()> {
    if let Some(file) = &removal.tmpfiles {
        files::remove_optional(file)?;
    }
    if let Some(directory) = &removal.secrets_dir {
        remove_if_empty(directory)?;
    }
    match &removal.home {
        Some(home) if home.exists() => {
            fs::remove_dir_all(home).with_context(|| format!("cannot remove {}", home.display()))
        }
        _ => Ok(()),
    }
}

pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("cannot change the mode of {}", path.display()))
}

fn own(path: &Path, uid: u32, gid: u32) -> Result<()> {
    chown(path, Some(uid), Some(gid))
        .with_context(|| format!("cannot change the owner of {}", path.display()))
}

fn make(path: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().mode(mode).create(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

/// Somebody may have put something there since, which is not ours to remove.
fn remove_if_empty(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
