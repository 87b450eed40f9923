//! The data: nobody uses it, it is renamed, its owners are translated. Every function can be repeated.

use crate::record::STATE;
use anyhow::{Context, Result, bail, ensure};
use host::{accounts::Account, files, mounts};
use idmap::IdMaps;
use rechown::{Policy, Report};
use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

fn journal() -> PathBuf {
    Path::new(STATE)
        .join(transaction::IN_PROGRESS)
        .join("shift")
}

/// That no container, of whomever, has one of the trees mounted.
pub fn prove_unused(trees: &[PathBuf]) -> Result<()> {
    for tree in trees.iter().filter(|tree| tree.exists()) {
        let on = mounts::of_path(tree)?;
        let below = tree.strip_prefix(&on.point).unwrap_or(Path::new(""));
        let within = on.root.join(below);
        let held = mounts::everywhere(|mount| {
            mount.device == on.device && mount.root.starts_with(&within) && mount.point != on.point
        })?;
        let held = held.iter().find(|holder| is_of_container(holder.pid));
        if let Some(holder) = held {
            bail!(
                "{} is still mounted on {} of process {}",
                tree.display(),
                holder.point.display(),
                holder.pid
            );
        }
    }
    Ok(())
}

/// Whether a process is in another user namespace than ours, and is not the one that merely holds an account's
/// namespaces, and with them a copy of the host's mounts.
fn is_of_container(pid: u32) -> bool {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let holds = matches!(comm.trim(), "catatonit" | "podman" | "podman pause");
    namespace(&pid.to_string()) != namespace("self") && !holds
}

/// Renames directories, or back.
pub fn rename(trees: &[(PathBuf, PathBuf)], account: &Account) -> Result<()> {
    for (from, to) in trees {
        if from.symlink_metadata().is_err() && to.exists() {
            continue;
        }
        make_parents(to, account)?;
        let context = || format!("cannot move {} to {}", from.display(), to.display());
        // The kernel replaces an empty directory, and no other.
        fs::rename(from, to).with_context(context)?;
        for path in [from, to] {
            files::sync_directory(path.parent().with_context(context)?)?;
        }
    }
    Ok(())
}

/// Makes what is missing above `path`; in the account's home with no more rights than its own.
pub fn make_parents(path: &Path, account: &Account) -> Result<()> {
    let parent = path.parent().context("no parent")?;
    let make = || {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(parent);
        made.with_context(|| format!("cannot make {}", parent.display()))
    };
    if !path.starts_with(&account.home) {
        return make();
    }
    account.with_its_rights(make)?;
    let within = |path: &Path| fs::canonicalize(path).with_context(|| path.display().to_string());
    ensure!(
        within(parent)?.starts_with(within(&account.home)?),
        "{} leads out of the home of {}",
        parent.display(),
        account.name
    );
    Ok(())
}

pub fn shift(trees: &[PathBuf], maps: &IdMaps, policy: Policy) -> Result<Report> {
    for tree in trees {
        ensure!(tree.is_dir(), "{} is not there any more", tree.display());
    }
    Ok(rechown::shift(trees, maps, policy, &journal())?)
}

/// Translates them back, with all that has been written since.
pub fn unshift(trees: &[PathBuf]) -> Result<()> {
    Ok(rechown::undo_at(trees, &journal()).map(drop)?)
}
