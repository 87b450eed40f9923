//! What is there: the mount, the tree beneath it, who uses it. Changes nothing.

use super::record::Record;
use anyhow::{Context, Result, bail};
use host::mounts::{self, Holder, Mount};
use rechown::{Owner, idmapped};
use rustix::{fs::getxattr, io::Errno};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What is where a tree is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// Nothing that is idmapped.
    No,
    /// As the record says.
    Yes,
    /// Idmapped, but not as the record says.
    Otherwise,
}

/// A directory above a tree.
#[derive(Debug)]
pub struct Ancestor {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits, of type and all.
    pub mode: u32,
    /// Whether it has an ACL, which may let more in than the mode of its group tells.
    pub has_acl: bool,
}

/// The tree on disk.
#[derive(Debug)]
pub struct Source {
    /// Its owner; unknown where our own mount hides it.
    pub owner: Option<Owner>,
    /// The directories above, from the nearest one.
    pub ancestors: Vec<Ancestor>,
    /// What is mounted in it.
    pub mounts: Vec<PathBuf>,
    /// That it is on an idmapped mount which is none of ours.
    pub is_idmapped: bool,
}

/// The directory itself, without links on the way.
///
/// # Errors
/// When it is no directory.
pub fn directory(path: &Path) -> Result<PathBuf> {
    let context = || format!("cannot mount at {}", path.display());
    if !fs::symlink_metadata(path).with_context(context)?.is_dir() {
        bail!("{} is not a directory", path.display());
    }
    fs::canonicalize(path).with_context(context)
}

/// Whether systemd runs the machine.
#[must_use]
pub fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The version of the kernel that runs.
pub fn kernel_release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// Whether the mount of a record is there.
///
/// # Errors
/// When mounts cannot be read.
pub fn shown(record: &Record) -> Result<Shown> {
    let Some(mount) = mounted_at(&record.mount_at)?.filter(|mount| mount.has("idmapped")) else {
        return Ok(Shown::No);
    };
    let seen = owner(&record.mount_at)?;
    let right = match on_disk(record)? {
        Some(owner) => seen == idmapped::translated(&record.maps, owner),
        None => record.is_over_itself(),
    };
    Ok(match right && mount.has("nosuid") && mount.has("nodev") {
        true => Shown::Yes,
        false => Shown::Otherwise,
    })
}

/// What is mounted on a directory.
///
/// # Errors
/// When mounts cannot be read.
pub fn mounted_at(place: &Path) -> Result<Option<Mount>> {
    if !place.exists() {
        return Ok(None);
    }
    Ok(Some(mounts::of_path(place)?).filter(|mount| mount.point == place))
}

/// The owner on disk of what is shown. `None` where something else is, or where the tree was a mount of its own
/// that is now hidden.
fn on_disk(record: &Record) -> Result<Option<Owner>> {
    if record.is_over_itself() {
        return Ok(idmapped::owner_beneath(&record.path)?);
    }
    let inode = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    let same = inode(&record.path)? == inode(&record.mount_at)?;
    same.then(|| owner(&record.path)).transpose()
}

fn owner(path: &Path) -> Result<Owner> {
    let meta = fs::metadata(path).with_context(|| format!("cannot stat {}", path.display()))?;
    Ok(Owner {
        uid: meta.uid(),
        gid: meta.gid(),
    })
}

/// A tree as it is on disk; `shown` is the record of what is mounted on it now.
///
/// # Errors
/// With the path and what the system said.
pub fn source(path: &Path, shown: Option<&Record>) -> Result<Source> {
    let ancestors = path.ancestors().skip(1).map(ancestor);
    let ancestors = ancestors.collect::<Result<_>>()?;
    if let Some(record) = shown.filter(|record| record.is_over_itself()) {
        return Ok(Source {
            owner: on_disk(record)?,
            ancestors,
            mounts: vec![],
            is_idmapped: false,
        });
    }
    let mounts = mounts::of_process("self")?.into_iter();
    Ok(Source {
        owner: Some(owner(path)?),
        ancestors,
        mounts: mounts
            .map(|mount| mount.point)
            .filter(|point| point.starts_with(path) && point != path)
            .collect(),
        is_idmapped: mounts::of_path(path)?.has("idmapped"),
    })
}

fn ancestor(path: &Path) -> Result<Ancestor> {
    let context = || format!("cannot stat {}", path.display());
    let meta = fs::metadata(path).with_context(context)?;
    let acl: Result<_, Errno> = getxattr(path, c"system.posix_acl_access", &mut [0; 0]);
    Ok(Ancestor {
        uid: meta.uid(),
        gid: meta.gid(),
        mode: meta.mode(),
        has_acl: !matches!(acl, Err(Errno::NODATA | Errno::OPNOTSUPP)),
    })
}

/// The mounts that were made from `mount`, or from a directory in it, and that do not go when it goes; `idmapped`
/// tells those that show what it shows from those that show what is on disk. As texts that name them.
pub fn copies(mount: &Mount, idmapped: bool) -> Result<Vec<String>> {
    let copies = mounts::everywhere(|other| {
        other.device == mount.device
            && other.root.starts_with(&mount.root)
            && other.has("idmapped") == idmapped
    })?;
    let mut texts: Vec<String> = vec![];
    for Holder { pid, point, .. } in copies {
        let ours = has_our_root(pid);
        // The mount namespaces that systemd makes for services follow our own.
        if ours && point == mount.point {
            continue;
        }
        let text = match ours {
            true => point.display().to_string(),
            false => format!("{} in process {}", point.display(), process(pid)),
        };
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    Ok(texts)
}

fn has_our_root(pid: u32) -> bool {
    let root = |path: String| fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    matches!((root(format!("/proc/{pid}/root/")), root("/".into())), (Ok(a), Ok(b)) if a == b)
}

/// The processes that keep a mount, or what follows it in other namespaces, busy.
pub fn users(mount: &Mount) -> Result<Vec<u32>> {
    let same = mounts::everywhere(|other| {
        (&other.device, &other.root, &other.point) == (&mount.device, &mount.root, &mount.point)
            && other.has("idmapped")
    })?;
    let ids: Vec<_> = same.into_iter().map(|held| held.id).collect();
    mounts::users(&ids)
}

/// A process, by its number, its name and its control group, which names a container or a service.
pub fn process(pid: u32) -> String {
    let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let (name, group) = (read("comm"), read("cgroup"));
    let group = group.trim().rsplit('/').next().unwrap_or_default();
    let known = [name.trim(), group].into_iter();
    let known: Vec<_> = known.filter(|known| !known.is_empty()).collect();
    format!("{pid} ({})", known.join(", "))
}
