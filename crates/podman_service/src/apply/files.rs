//! Unit files and copies of secrets. Every function can be repeated.

use super::data::make_parents;
use crate::{
    plan::hidden,
    step::{Change, Copy},
    units::Place,
};
use anyhow::{Context, Result, bail};
use host::{accounts::Account, boot, files};
use nix::unistd::{Gid, Uid, chown};
use std::{
    fs::{self, DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Renames unit files so that nothing reads them.
pub fn hide(paths: &[PathBuf], to: &Account) -> Result<()> {
    paths
        .iter()
        .try_for_each(|path| rename(path, &hidden(path, to)))
}

/// Gives them their names back.
pub fn show(paths: &[PathBuf], to: &Account) -> Result<()> {
    paths
        .iter()
        .try_for_each(|path| rename(&hidden(path, to), path))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    match (
        from.symlink_metadata().is_ok(),
        to.symlink_metadata().is_ok(),
    ) {
        (false, true) => Ok(()),
        (true, false) => {
            let context = || format!("cannot rename {}", from.display());
            fs::rename(from, to).with_context(context)?;
            files::sync_directory(from.parent().with_context(context)?)
        }
        (true, true) => bail!("both {} and {} are there", from.display(), to.display()),
        (false, false) => bail!("{} is gone", from.display()),
    }
}

/// Writes, changes or removes unit files.
pub fn write_units(changes: &[Change], to: &Account) -> Result<()> {
    for change in changes {
        let Some(text) = &change.after else {
            boot::remove_with_parent(&change.path)?;
            continue;
        };
        make_parents(&change.path, to)?;
        let write = || files::write_atomic(&change.path, text.as_bytes(), 0o644);
        match change.place {
            Place::User => to.with_its_rights(write)?,
            _ => write()?,
        }
    }
    Ok(())
}

/// Copies files as they are, with other owners. They are read as the account that they were for.
pub fn copy(copies: &[Copy], from: &Account, to: &Account) -> Result<()> {
    for copy in copies {
        let read = || fs::read(&copy.from).with_context(|| copy.from.display().to_string());
        let content = from.with_its_rights(read)?;
        if let Some(kept) = &copy.kept {
            let directory = kept.parent().context("no parent")?;
            let made = DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory);
            made.with_context(|| format!("cannot make {}", directory.display()))?;
            files::write_atomic(kept, &content, 0o600)?;
        }
        make_parents(&copy.to, to)?;
        match copy.to.starts_with(&to.home) {
            true => to.with_its_rights(|| files::write_atomic(&copy.to, &content, copy.mode))?,
            false => write_for(copy, &content)?,
        }
    }
    Ok(())
}

/// Nobody but root reads it before it has its owner.
fn write_for(copy: &Copy, content: &[u8]) -> Result<()> {
    files::write_atomic(&copy.to, content, 0o600)?;
    let context = || format!("cannot change the owner of {}", copy.to.display());
    let (uid, gid) = copy.owner;
    chown(&copy.to, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).with_context(context)?;
    fs::set_permissions(&copy.to, Permissions::from_mode(copy.mode)).with_context(context)
}

pub fn remove_copies(copies: &[Copy]) -> Result<()> {
    for copy in copies {
        files::remove_optional(&copy.to)?;
        copy.kept
            .iter()
            .try_for_each(|kept| files::remove_optional(kept))?;
    }
    Ok(())
}
