//! What steps aside in the data root while it is changed, and is deleted once that is committed.

use crate::apply::convert;
use anyhow::{Context, Result, ensure};
use host::{command::run, files, mounts};
use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::Path,
    time::Duration,
};

/// Moves entries of a directory, those that are still there, into another, which is made.
pub fn put(directory: &Path, names: &[String], aside: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(aside);
    made.with_context(|| format!("cannot make {}", aside.display()))?;
    convert::rename(names, directory, aside)
}

/// Moves them back, however many [`put`] has moved.
pub fn bring_back(directory: &Path, names: &[String], aside: &Path) -> Result<()> {
    if !aside.exists() {
        return Ok(());
    }
    convert::rename(names, aside, directory)?;
    fs::remove_dir(aside).with_context(|| format!("cannot remove {}", aside.display()))?;
    files::sync_directory(directory)
}

/// Deletes a tree, if it is there. What somebody has mounted in it is not ours to delete.
pub fn delete(tree: &Path) -> Result<()> {
    if tree.symlink_metadata().is_err() {
        return Ok(());
    }
    let held = mounts::holders(tree)?;
    ensure!(
        held.is_empty(),
        "{} is not deleted: {} is mounted in it",
        tree.display(),
        held[0].point.display()
    );
    let words = [
        "rm".as_ref(),
        "--recursive".as_ref(),
        "--force".as_ref(),
        "--".as_ref(),
        tree.as_os_str(),
    ];
    run(words).timeout(Duration::MAX).stdout().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steps_aside_comes_back_from_any_point() {
        let root = tempfile::tempdir().unwrap();
        let (there, aside) = (root.path(), root.path().join("aside"));
        let names = ["image", "volumes"].map(str::to_owned);
        let make = |name: &str| fs::create_dir_all(there.join(name)).unwrap();
        ["image/x", "volumes", "other"].into_iter().for_each(make);
        bring_back(there, &names, &aside).unwrap();
        for _ in 0..2 {
            put(there, &names, &aside).unwrap();
        }
        assert!(aside.join("image/x").is_dir() && aside.join("volumes").is_dir());
        assert!(there.join("other").is_dir() && !there.join("volumes").exists());
        // Cut off in the middle, then repeated; the engine may have made an empty one meanwhile.
        fs::rename(aside.join("volumes"), there.join("volumes")).unwrap();
        make("image");
        for _ in 0..2 {
            bring_back(there, &names, &aside).unwrap();
        }
        assert!(
            there.join("image/x").is_dir() && there.join("volumes").is_dir() && !aside.exists()
        );
    }

    #[test]
    fn a_tree_is_deleted_once_and_not_missed_after() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        delete(&tree).unwrap();
        delete(&tree).unwrap();
        assert!(!tree.exists() && root.path().exists());
    }
}
