//! What is to happen at every boot: our executable in a place that stays, unit files, and the links by which
//! other units want or require them.

use crate::files;
use anyhow::{Context, Result, bail};
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// Where an administrator's units are.
pub const UNITS: &str = "/etc/systemd/system";

/// Where the executable is, or goes, that units call `name`: what Ansible ships lies in a cache and may be
/// gone by the next boot. A file system mounted `noexec` (a hardened /var) is passed over.
///
/// # Errors
/// When both places are on such file systems.
pub fn executable(state: &Path, name: &str) -> Result<PathBuf> {
    let others = Path::new("/usr/local/libexec/bulkhead");
    for directory in [state, others] {
        let there = directory.ancestors().find(|directory| directory.exists());
        let flags = statvfs(there.unwrap_or(directory))?.f_flag;
        if !flags.contains(StatVfsMountFlags::NOEXEC) {
            return Ok(directory.join(name));
        }
    }
    bail!(
        "{} and {} are both mounted noexec: nothing could be done at the next boot",
        state.display(),
        others.display()
    )
}

/// Copies this executable to `path`.
///
/// # Errors
/// With the path and what the system said.
pub fn install_executable(path: &Path) -> Result<()> {
    make_parent(path)?;
    let this = fs::read("/proc/self/exe").context("cannot read /proc/self/exe")?;
    files::write_atomic(path, &this, 0o700)
}

/// Where the file of a unit is.
#[must_use]
pub fn unit(name: &str) -> PathBuf {
    Path::new(UNITS).join(name)
}

/// Where the link is by which `of` starts `unit`: `relation` is `wants` or `requires`.
#[must_use]
pub fn link(of: &str, relation: &str, unit: &str) -> PathBuf {
    Path::new(UNITS).join(format!("{of}.{relation}")).join(unit)
}

/// A path as a word of a unit file.
///
/// # Errors
/// When it has letters that no unit can name.
pub fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| {
        !text.contains(|letter: char| letter.is_control() || matches!(letter, '"' | '\\'))
    });
    let text = text.with_context(|| {
        format!(
            "{} has letters in it that a systemd unit cannot name",
            path.display()
        )
    })?;
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

/// Makes a link to the unit file of the same name, or puts right one that is there.
///
/// # Errors
/// With the path and what the system said.
pub fn write_link(link: &Path) -> Result<()> {
    make_parent(link)?;
    files::remove_optional(link)?;
    let name = link.file_name().context("no file name")?;
    symlink(Path::new(UNITS).join(name), link)
        .with_context(|| format!("cannot make {}", link.display()))
}

/// Makes the directory of a file.
///
/// # Errors
/// With the path and what the system said.
pub fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().context("no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))
}

/// Removes a file, and its directory too where nothing else is in it.
///
/// # Errors
/// When the file is there and stays.
pub fn remove_with_parent(path: &Path) -> Result<()> {
    files::remove_optional(path)?;
    if let Some(parent) = path.parent() {
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}
