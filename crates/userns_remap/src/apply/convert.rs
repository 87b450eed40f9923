//! The data root itself: moved, owned, shifted, rewritten. Every function can be repeated and leaves the
//! same behind, since a step may have been cut off in the middle.

use crate::{
    layout::{self, Keep, Owner},
    paths::IN_PROGRESS,
    record::Sysctls,
    step::Direction,
};
use anyhow::{Context, Result, bail};
use host::files;
use idmap::IdMaps;
use nix::unistd::{Gid, Uid};
use rechown::{Policy, Report, Unknown};
use serde_json::{Value, json};
use std::{
    fs::{self, DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Renames what the engine keeps from one root into the other, which may lie inside it.
pub fn move_root(from: &Path, to: &Path) -> Result<()> {
    if !to.exists() {
        let made = DirBuilder::new().mode(0o710).create(to);
        made.with_context(|| format!("cannot make {}", to.display()))?;
    }
    rename_all(from, to)?;
    // A remapped root is empty by now.
    if !to.starts_with(from) {
        fs::remove_dir(from).with_context(|| format!("cannot remove {}", from.display()))?;
    }
    Ok(())
}

/// Renames a whole root, and in reverse undoes that.
pub fn set_aside(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    if to.exists() {
        bail!("both {} and {} are there", from.display(), to.display());
    }
    fs::rename(from, to).with_context(|| format!("cannot move {}", from.display()))?;
    files::sync_directory(from.parent().unwrap_or(from))
}

/// Undoes [`move_root`], however far it came.
pub fn move_back(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        move_root(to, from)
    } else {
        Ok(())
    }
}

fn rename_all(from: &Path, to: &Path) -> Result<()> {
    rename(&layout::carried(from)?, from, to)
}

/// Renames entries of one directory, those that are there, into another.
pub fn rename(names: &[String], from: &Path, to: &Path) -> Result<()> {
    for name in names {
        let (old, new) = (from.join(name), to.join(name));
        if old.symlink_metadata().is_err() {
            continue;
        }
        // The engine makes some of its directories in both places; an empty one is no loss.
        let _ = fs::remove_dir(&new);
        if new.symlink_metadata().is_ok() {
            bail!("both {} and {} are there", old.display(), new.display());
        }
        fs::rename(&old, &new).with_context(|| format!("cannot move {}", old.display()))?;
    }
    files::sync_directory(from)?;
    files::sync_directory(to)
}

/// Gives every engine-owned entry, and the data root above, the owner and mode that a fresh engine gives.
/// `root` is container root on the host.
pub fn own(engine_root: &Path, data_root: &Path, root: (u32, u32)) -> Result<()> {
    let (uid, gid) = root;
    for entry in layout::owned(engine_root)? {
        let (uid, gid) = match entry.owner {
            Owner::Root => (0, 0),
            Owner::Group => (0, gid),
            Owner::ContainerRoot => (uid, gid),
        };
        chown(&entry.path, uid, gid)?;
        if let Some(mode) = entry.mode {
            fs::set_permissions(&entry.path, Permissions::from_mode(mode))
                .with_context(|| format!("cannot change the mode of {}", entry.path.display()))?;
        }
    }
    chown(data_root, 0, gid)
}

fn chown(path: &Path, uid: u32, gid: u32) -> Result<()> {
    let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    nix::unistd::fchownat(nix::fcntl::AT_FDCWD, path, Some(uid), Some(gid), flags)
        .with_context(|| format!("cannot change the owner of {}", path.display()))
}

fn journal(name: &str) -> PathBuf {
    Path::new(IN_PROGRESS).join(name)
}

/// Translates what belongs to containers. On the way to plain, what the host itself wrote among their
/// files keeps its owners: it was the host's, and shows as such again. Each pass of a change has its own name.
pub fn shift(
    engine_root: &Path,
    maps: &IdMaps,
    keep: &Keep,
    direction: Direction,
    pass: &str,
) -> Result<Report> {
    let trees = layout::shifted_trees(engine_root, keep)?;
    let policy = match direction {
        Direction::ToRemapped => direction.policy(),
        // The survey has refused those; what came since is the host's.
        Direction::ToPlain | Direction::Between => Policy {
            unmapped: Unknown::Keep,
            ..direction.policy()
        },
    };
    Ok(rechown::shift(&trees, maps, policy, &journal(pass))?)
}

/// Translates it back, with all that has been written since, in new layers and volumes too.
pub fn unshift(engine_root: &Path, keep: &Keep) -> Result<()> {
    let trees = layout::shifted_trees(engine_root, keep)?;
    rechown::undo_at(&trees, &journal("shift"))?;
    Ok(())
}

/// Rewrites, in every container's configuration, the paths under `from` to lie under `to`.
pub fn rewrite(engine_root: &Path, from: &Path, to: &Path) -> Result<()> {
    for container in layout::directories(&engine_root.join("containers"), |_| false)? {
        let path = container.join("config.v2.json");
        let Some(text) = files::read_optional(&path)? else {
            continue;
        };
        let context = || {
            format!(
                "{} does not read as a container's configuration",
                path.display()
            )
        };
        let mut config: Value = serde_json::from_slice(&text).with_context(context)?;
        if rewrite_config(&mut config, from, to) {
            files::write_atomic(&path, &serde_json::to_vec(&config)?, 0o600)?;
        }
    }
    Ok(())
}

/// Sets containers to stay in the host's user namespace, or not to.
pub fn set_host_mode(engine_root: &Path, containers: &[String], host: bool) -> Result<()> {
    let mode = if host { "host" } else { "" };
    containers
        .iter()
        .try_for_each(|id| set_host_config(engine_root, id, "UsernsMode", mode.into()))
}

/// Gives containers the kernel parameters that they had, or takes them away.
pub fn set_sysctls(engine_root: &Path, containers: &[Sysctls], on: bool) -> Result<()> {
    containers.iter().try_for_each(|of| {
        let values = if on {
            serde_json::to_value(&of.values)?
        } else {
            json!({})
        };
        set_host_config(engine_root, &of.container, "Sysctls", values)
    })
}

/// A container that is gone meanwhile needs nothing.
fn set_host_config(engine_root: &Path, id: &str, key: &str, value: Value) -> Result<()> {
    let directory = engine_root.join("containers").join(id);
    let path = directory.join("hostconfig.json");
    let Some(text) = files::read_optional(&path)? else {
        return Ok(());
    };
    let mut config: Value = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{} does not read as a container's configuration",
            path.display()
        )
    })?;
    config[key] = value;
    files::write_atomic(&path, &serde_json::to_vec(&config)?, 0o600)
}

/// The places in a container's configuration that hold paths of the data root. Says whether any changed.
fn rewrite_config(config: &mut Value, from: &Path, to: &Path) -> bool {
    let mut changed = false;
    for key in [
        "HostnamePath",
        "HostsPath",
        "ResolvConfPath",
        "LogPath",
        "ShmPath",
    ] {
        changed |= rewrite_path(config.get_mut(key), from, to);
    }
    let points = config.get_mut("MountPoints").and_then(Value::as_object_mut);
    for (_, point) in points.into_iter().flatten() {
        changed |= rewrite_path(point.get_mut("Source"), from, to);
    }
    changed
}

/// Where one of the two roots lies inside the other, a path belongs to the deeper one that holds it.
fn rewrite_path(value: Option<&mut Value>, from: &Path, to: &Path) -> bool {
    let Some(value) = value else { return false };
    let Some(path) = value.as_str().map(PathBuf::from) else {
        return false;
    };
    if to.starts_with(from) && path.starts_with(to) {
        return false;
    }
    let Ok(rest) = path.strip_prefix(from) else {
        return false;
    };
    *value = Value::from(to.join(rest).to_string_lossy());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_rewritten_there_and_back_and_repeating_changes_nothing() {
        let (plain, remapped) = (Path::new("/r"), Path::new("/r/5.6"));
        let before = json!({
            "LogPath": "/r/containers/a/a-json.log", "ShmPath": "", "Name": "/r/containers", "Other": 7,
            "MountPoints": {
                "/data": {"Source": "/r/volumes/v/_data", "Type": "volume"},
                "/etc/x": {"Source": "/etc/x", "Type": "bind"}, "/y": {"Source": "/rest", "Type": "bind"},
            },
        });
        let mut config = before.clone();
        assert!(rewrite_config(&mut config, plain, remapped));
        assert_eq!(config["LogPath"], "/r/5.6/containers/a/a-json.log");
        assert_eq!(
            config["MountPoints"]["/data"]["Source"],
            "/r/5.6/volumes/v/_data"
        );
        assert_eq!(config["MountPoints"]["/y"]["Source"], "/rest");
        assert_eq!(config["Name"], "/r/containers");
        let once = config.clone();
        assert!(!rewrite_config(&mut config, plain, remapped));
        assert_eq!(config, once);
        assert!(rewrite_config(&mut config, remapped, plain));
        assert_eq!(config, before);
        assert!(!rewrite_config(&mut config, remapped, plain));
    }

    #[test]
    fn a_root_is_set_aside_and_back_and_never_over_another() {
        let scratch = tempfile::tempdir().unwrap();
        let (root, aside) = (scratch.path().join("5.6"), scratch.path().join("aside"));
        fs::create_dir_all(root.join("volumes")).unwrap();
        set_aside(&root, &aside).unwrap();
        assert!(aside.join("volumes").exists() && !root.exists());
        fs::create_dir(&root).unwrap();
        assert!(set_aside(&aside, &root).is_err());
        fs::remove_dir(&root).unwrap();
        set_aside(&aside, &root).unwrap();
        set_aside(&aside, &root).unwrap();
        assert!(root.join("volumes").exists() && !aside.exists());
    }

    #[test]
    fn a_root_is_moved_there_and_back_from_any_point() {
        let scratch = tempfile::tempdir().unwrap();
        let (plain, remapped) = (scratch.path().to_owned(), scratch.path().join("5.6"));
        let make = |name: &str| fs::create_dir_all(plain.join(name)).unwrap();
        ["overlay2/x", "volumes/v", "tmp", "1.2/kept"]
            .into_iter()
            .for_each(make);
        move_root(&plain, &remapped).unwrap();
        assert!(remapped.join("overlay2/x").is_dir() && !plain.join("overlay2").exists());
        assert!(plain.join("1.2/kept").is_dir());
        // Cut off in the middle of the way back, then repeated.
        fs::rename(remapped.join("volumes"), plain.join("volumes")).unwrap();
        make("tmp");
        move_back(&plain, &remapped).unwrap();
        move_back(&plain, &remapped).unwrap();
        assert!(plain.join("overlay2/x").is_dir() && plain.join("volumes/v").is_dir());
        assert!(!remapped.exists());
    }

    #[test]
    fn two_full_directories_of_one_name_are_never_merged() {
        let scratch = tempfile::tempdir().unwrap();
        let (plain, remapped) = (scratch.path().to_owned(), scratch.path().join("5.6"));
        for path in [plain.join("volumes/v"), remapped.join("volumes/w")] {
            fs::create_dir_all(path).unwrap();
        }
        let error = move_root(&plain, &remapped).unwrap_err().to_string();
        assert!(
            error.contains("both") && plain.join("volumes/v").is_dir(),
            "{error}"
        );
    }
}
