//! The data root as it lies on the disk.

use crate::{
    layout::{self, KNOWN},
    observed::Entry,
};
use anyhow::{Context, Result};
use host::{
    docker::{Container, Info},
    mounts,
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// What the file system of a path has left for root.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).with_context(|| path.display().to_string())?;
    Ok(stat.f_bfree * stat.f_frsize)
}

/// `/var/lib/docker/165536.165536` under remap is the data root `/var/lib/docker`.
pub fn split_root(info: &Info) -> (PathBuf, Option<(u32, u32)>) {
    let root = &info.docker_root_dir;
    let ids = root
        .file_name()
        .and_then(|name| layout::remapped_root(&name.to_string_lossy()));
    match (info.has_security_option("userns"), ids, root.parent()) {
        (true, Some(ids), Some(parent)) => (parent.to_owned(), Some(ids)),
        _ => (root.clone(), None),
    }
}

/// The entries of a directory, sorted; none where it is missing.
pub fn entries(directory: &Path) -> Result<Vec<Entry>> {
    let Ok(listing) = fs::read_dir(directory) else {
        return Ok(vec![]);
    };
    let mut found = vec![];
    for entry in listing {
        let entry = entry?;
        let empty = fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_none());
        found.push(Entry {
            name: entry.file_name().to_string_lossy().into_owned(),
            empty,
        });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

pub fn remapped_roots(data_root: &Path) -> Result<BTreeMap<String, Vec<Entry>>> {
    let names = entries(data_root)?.into_iter().map(|entry| entry.name);
    names
        .filter(|name| layout::remapped_root(name).is_some() || layout::is_aside(name))
        .map(|name| Ok((name.clone(), entries(&data_root.join(&name))?)))
        .collect()
}

/// The places that a rename or a shift would miss or lead astray.
pub fn irregular(engine_root: &Path) -> Result<Vec<(PathBuf, &'static str)>> {
    let mounts = mounts::of_process("self")?;
    let is_mount = |path: &Path| mounts.iter().any(|mount| mount.point == path);
    let mut found = vec![];
    let mut check = |path: PathBuf| match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_symlink() => found.push((path, "a symbolic link")),
        Ok(_) if is_mount(&path) => found.push((path, "a mount of its own")),
        _ => {}
    };
    KNOWN.iter().for_each(|name| check(engine_root.join(name)));
    for tree in ["volumes", "overlay2"] {
        for entry in entries(&engine_root.join(tree))?
            .into_iter()
            .filter(|entry| entry.name != "l")
        {
            let directory = engine_root.join(tree).join(&entry.name);
            check(directory.join(if tree == "volumes" { "_data" } else { "diff" }));
            check(directory);
        }
    }
    Ok(found)
}

/// The ancestors of the data root that others may not pass: remapped containers could not reach their
/// files below them.
pub fn closed(data_root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![];
    for directory in data_root.ancestors().skip(1) {
        let mode = fs::metadata(directory)
            .with_context(|| directory.display().to_string())?
            .permissions()
            .mode();
        if mode & 0o001 == 0 {
            found.push(directory.to_owned());
        }
    }
    Ok(found)
}

/// The writable layer of each container: a name in `overlay2/`, by container id.
pub fn layers(engine_root: &Path, containers: &[Container]) -> BTreeMap<String, String> {
    let mounts = engine_root.join("image/overlay2/layerdb/mounts");
    let layer = |id: &str| fs::read_to_string(mounts.join(id).join("mount-id")).ok();
    containers
        .iter()
        .filter_map(|container| Some((container.id.clone(), layer(&container.id)?)))
        .collect()
}
