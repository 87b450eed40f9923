//! The data root: what the engine keeps where, and what of it is whose.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What a data root may hold; anything else is refused by name before it is moved.
pub const KNOWN: [&str; 14] = [
    "buildkit",
    "builder",
    "containerd",
    "containers",
    "engine-id",
    "image",
    "network",
    "overlay2",
    "plugins",
    "runtimes",
    "swarm",
    "tmp",
    "trust",
    "volumes",
];

/// The directory in a data root that holds what steps aside in a change until that is committed, and what an
/// undone change leaves behind for the operator to look at.
pub const ASIDE: &str = "bulkhead-aside";

/// What keeps its owners: the layers and volumes of containers that stay in the host's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// Names in `overlay2/`.
    pub layers: Vec<String>,
    /// Names in `volumes/`.
    pub volumes: Vec<String>,
}

/// `<uid>.<gid>`, the name of a remapped engine's root inside the data root.
pub fn remapped_root(name: &str) -> Option<(u32, u32)> {
    let (uid, gid) = name.split_once('.')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

/// Between the name of a root that was set aside and the date of that.
const SET_ASIDE: &str = ".set-aside-";

/// The name under which the root `name` is set aside at `stamp`: never in an engine's way, nor deleted by us.
pub fn aside(name: &str, stamp: &str) -> String {
    format!("{name}{SET_ASIDE}{}", stamp.replace(':', ""))
}

/// Whether an entry of a data root is a remapped engine's root that was set aside.
pub fn is_aside(name: &str) -> bool {
    let root = name.split_once(SET_ASIDE).map(|(root, _)| root);
    root.is_some_and(|root| remapped_root(root).is_some())
}

/// Whether an entry of the data root is none of the plain engine's: the root of a remapped one, in use or set aside,
/// what a change moves out of its way, or what the file system itself keeps where it is mounted.
pub fn is_beside(name: &str) -> bool {
    remapped_root(name).is_some() || is_aside(name) || name == ASIDE || name == "lost+found"
}

/// What is carried along when a data root moves: all of it, but for what lies beside.
pub fn carried(root: &Path) -> Result<Vec<String>> {
    let context = || format!("cannot list {}", root.display());
    let mut names = vec![];
    for entry in fs::read_dir(root).with_context(context)? {
        let name = entry
            .with_context(context)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if !is_beside(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The trees that belong to containers, and so are shifted: `overlay2/*/{diff,work}` and
/// `volumes/*/_data`. All else is the engine's; to shift it would hand mount options and metadata to
/// container root (CVE-2021-21284).
pub fn shifted_trees(engine_root: &Path, keep: &Keep) -> Result<Vec<PathBuf>> {
    let layers = directories(&engine_root.join("overlay2"), |name| {
        name == "l" || keep.layers.contains(name)
    })?;
    let volumes = directories(&engine_root.join("volumes"), |name| {
        keep.volumes.contains(name)
    })?;
    let inside = layers
        .iter()
        .flat_map(|layer| [layer.join("diff"), layer.join("work")]);
    let trees = inside.chain(volumes.iter().map(|volume| volume.join("_data")));
    Ok(trees.filter(|tree| tree.is_dir()).collect())
}

/// Whether a path lies in what is shifted, in the data root itself or in a remapped root inside it.
pub fn belongs_to_containers(data_root: &Path, path: &Path) -> bool {
    let inside = path.strip_prefix(data_root).into_iter().flatten();
    let mut names = inside.filter_map(|name| name.to_str()).peekable();
    names.next_if(|name| remapped_root(name).is_some());
    matches!(
        (names.next(), names.nth(1)),
        (Some("overlay2"), Some("diff" | "work")) | (Some("volumes"), Some("_data"))
    )
}

/// Whether one of the [`shifted_trees`] lies in `overlay2/<id>-init`, which the engine fills with mount
/// points and `/etc/mtab`, some of them as host root also when remapped.
pub fn is_of_init_layer(tree: &Path) -> bool {
    let layer = tree.parent().and_then(Path::file_name);
    layer.is_some_and(|name| name.to_string_lossy().ends_with("-init")) && !tree.ends_with("_data")
}

/// The names in a directory; none where it is missing.
pub fn names(directory: &Path) -> Result<BTreeSet<String>> {
    if !directory.exists() {
        return Ok(BTreeSet::new());
    }
    let context = || format!("cannot list {}", directory.display());
    let entries = fs::read_dir(directory).with_context(context)?;
    entries
        .map(|entry| {
            Ok(entry
                .with_context(context)?
                .file_name()
                .to_string_lossy()
                .into_owned())
        })
        .collect()
}

/// Whether it is a name that the engine has made up: 64 hexadecimal digits (moby, pkg/stringid).
pub fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The ids of the images that a root holds, sorted.
pub fn images(root: &Path) -> Result<Vec<String>> {
    let ids = names(&root.join("image/overlay2/imagedb/content/sha256"))?;
    Ok(ids.iter().map(|id| format!("sha256:{id}")).collect())
}

/// The directories in a directory, sorted, but for those that are left out; none where it is missing.
pub fn directories(parent: &Path, leave_out: impl Fn(&String) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = vec![];
    if !parent.exists() {
        return Ok(found);
    }
    let context = || format!("cannot list {}", parent.display());
    for entry in fs::read_dir(parent).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().with_context(context)?.is_dir() && !leave_out(&name) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Whose an entry of the engine's own is under remap; root's altogether when plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// `root:<gid of container root>`, so that containers can pass the directory but not list it.
    Group,
    /// Container root's: files that are mounted into containers.
    ContainerRoot,
    /// Root's; only the mode has to be right.
    Root,
}

/// One kind of entry that the engine keeps for itself.
#[derive(Debug, Clone)]
pub struct Owned {
    pub path: PathBuf,
    pub owner: Owner,
    /// What a fresh engine gives; `None` leaves the mode as it is.
    pub mode: Option<u32>,
}

/// The engine-owned entries that are not root's when remapped, or whose mode matters then: as read from
/// a fresh remapped daemon, 20.10.24 and 26.1.5 alike. What is not listed is root's in both worlds.
pub fn owned(engine_root: &Path) -> Result<Vec<Owned>> {
    let mut found = vec![];
    let mut add = |path: PathBuf, owner, mode| {
        if path.symlink_metadata().is_ok() {
            found.push(Owned { path, owner, mode });
        }
    };
    add(engine_root.to_owned(), Owner::Group, Some(0o710));
    add(
        engine_root.join("buildkit/executor/resolv.conf"),
        Owner::ContainerRoot,
        None,
    );
    let (containers, layers, volumes) = (
        engine_root.join("containers"),
        engine_root.join("overlay2"),
        engine_root.join("volumes"),
    );
    for container in directories(&containers, |_| false)? {
        for file in ["hostname", "hosts", "resolv.conf"] {
            add(container.join(file), Owner::ContainerRoot, None);
        }
        add(container.join("mounts"), Owner::Group, Some(0o710));
        add(container, Owner::Group, Some(0o710));
    }
    for layer in directories(&layers, |name| name == "l")? {
        add(layer, Owner::Group, Some(0o710));
    }
    for volume in directories(&volumes, |_| false)? {
        add(volume, Owner::Root, Some(0o701));
    }
    add(containers, Owner::Group, Some(0o710));
    add(layers, Owner::Group, Some(0o710));
    add(volumes, Owner::Root, Some(0o701));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_containers_is_told_from_what_the_engine_keeps() {
        let of_containers = |path: &str| belongs_to_containers("/r".as_ref(), path.as_ref());
        for path in [
            "/r/volumes/v/_data",
            "/r/volumes/v/_data/x",
            "/r/5.6/volumes/v/_data/x",
            "/r/overlay2/l/diff/x",
        ] {
            assert!(of_containers(path), "{path}");
        }
        for path in [
            "/r/volumes/metadata.db",
            "/r/5.6/overlay2/l/link",
            "/r/containers/c/diff/x",
            "/srv/volumes/v/_data/x",
        ] {
            assert!(!of_containers(path), "{path}");
        }
    }
}
