//! Mounts, in every mount namespace of the machine (proc_pid_mountinfo(5)).

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

/// One line of a mountinfo file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Of all mounts there are at a time, this one.
    pub id: u64,
    /// The file system's device, `major:minor`.
    pub device: String,
    /// The directory of the file system that is mounted.
    pub root: PathBuf,
    /// Where it is mounted, as the process sees it.
    pub point: PathBuf,
    /// The mount's own options.
    pub options: String,
    /// The type of the file system: `ext4`, `fuse.sshfs`, …
    pub kind: String,
    /// The file system's own options: for an overlay, its layers' directories.
    pub super_options: String,
}

/// A mount that still uses a directory, and a process that keeps it.
#[derive(Debug)]
pub struct Holder {
    /// A process in the mount namespace that has it.
    pub pid: u32,
    /// The mount.
    pub id: u64,
    /// Where it is mounted there.
    pub point: PathBuf,
}

/// The mounts a process sees.
///
/// # Errors
/// When its mountinfo cannot be read.
pub fn of_process(pid: &str) -> Result<Vec<Mount>> {
    let path = format!("/proc/{pid}/mountinfo");
    let bytes = fs::read(&path).with_context(|| format!("cannot read {path}"))?;
    // One name that is not UTF-8 must not hide the other mounts.
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter_map(parse).collect())
}

/// The mount that `path` lies on, the path itself included where something is mounted there.
///
/// # Errors
/// When the path is not there, or the kernel does not tell (before Linux 5.8).
pub fn of_path(path: &Path) -> Result<Mount> {
    let id = id_of(path).with_context(|| format!("cannot look at {}", path.display()))?;
    of_process("self")?
        .into_iter()
        .find(|mount| Some(mount.id) == id)
        .with_context(|| format!("cannot tell the mount of {} (Linux 5.8)", path.display()))
}

/// Where something is mounted, on the path or below it.
///
/// # Errors
/// When the mounts cannot be read.
pub fn first_below(path: &Path) -> Result<Option<PathBuf>> {
    let points = of_process("self")?.into_iter().map(|mount| mount.point);
    Ok(points.into_iter().find(|point| point.starts_with(path)))
}

/// Links in /proc are followed to what they stand for, on whatever mount that is.
fn id_of(path: &Path) -> rustix::io::Result<Option<u64>> {
    let stat = statx(CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID)?;
    let told = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    Ok(told.then_some(stat.stx_mnt_id))
}

/// Mounts on or under `directory`, or overlays with a layer under it, in any mount namespace.
///
/// # Errors
/// When /proc cannot be read. A process that ends meanwhile is passed over.
pub fn holders(directory: &Path) -> Result<Vec<Holder>> {
    everywhere(|mount| mount.uses(directory))
}

/// The mounts that pass, in any mount namespace, each with a process that is in it.
///
/// # Errors
/// As those of [`holders`].
pub fn everywhere(mut passes: impl FnMut(&Mount) -> bool) -> Result<Vec<Holder>> {
    let (mut seen, mut found) = (HashSet::new(), vec![]);
    for pid in processes()? {
        let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/mnt")) else {
            continue;
        };
        if !seen.insert(namespace) {
            continue;
        }
        let Ok(mounts) = of_process(&pid.to_string()) else {
            continue;
        };
        let holding = mounts.into_iter().filter(|mount| passes(mount));
        found.extend(holding.map(|Mount { id, point, .. }| Holder { pid, id, point }));
    }
    Ok(found)
}

/// The processes with a file open, mapped or run from one of these mounts, or that are in a directory of it.
///
/// # Errors
/// As those of [`holders`].
pub fn users(ids: &[u64]) -> Result<Vec<u32>> {
    let of_process = |pid: &u32| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let one = ["cwd", "root", "exe"].map(|name| process.join(name));
        let many = ["fd", "map_files"].map(|name| fs::read_dir(process.join(name)));
        let many = many.into_iter().flatten().flatten().flatten();
        one.into_iter()
            .chain(many.map(|entry| entry.path()))
            .any(|file| matches!(id_of(&file), Ok(Some(id)) if ids.contains(&id)))
    };
    Ok(processes()?.into_iter().filter(of_process).collect())
}

fn processes() -> Result<Vec<u32>> {
    let entries = fs::read_dir("/proc").context("cannot read /proc")?;
    let number = |name: &std::ffi::OsStr| name.to_str()?.parse().ok();
    Ok(entries
        .flatten()
        .filter_map(|entry| number(&entry.file_name()))
        .collect())
}

impl Mount {
    /// Whether it has an option of its own, such as `ro` or `idmapped`.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|own| own == option)
    }

    fn uses(&self, directory: &Path) -> bool {
        let within = |path: &str| Path::new(path).starts_with(directory);
        self.point.starts_with(directory)
            || self
                .super_options
                .split(',')
                .filter_map(|option| option.split_once('='))
                .filter(|(key, _)| matches!(*key, "lowerdir" | "upperdir" | "workdir"))
                .any(|(_, layers)| layers.split(':').any(within))
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
pub(crate) fn parse(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ');
    let (id, device) = (before.next()?, before.nth(1)?);
    let (root, point, options) = (before.next()?, before.next()?, before.next()?);
    let mut after = after.split(' ');
    let (kind, super_options) = (after.next()?, after.nth(1)?);
    Some(Mount {
        id: id.parse().ok()?,
        device: device.to_owned(),
        root: PathBuf::from(unescape(root)),
        point: PathBuf::from(unescape(point)),
        options: options.to_owned(),
        kind: unescape(kind),
        super_options: unescape(super_options),
    })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 4)
            .and_then(|octal| u8::from_str_radix(octal, 8).ok());
        match code {
            Some(byte) => out.push(char::from(byte)),
            None => out.push('\\'),
        }
        rest = &rest[at + if code.is_some() { 4 } else { 1 }..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_escapes_and_optional_fields_is_read() {
        let line = r"1 2 0:3 /c\040d /a\040b rw,idmapped shared:1 master:2 - overlay overlay rw,lowerdir=/r/l/A:/r/l/B,upperdir=/r/u/diff";
        let mount = parse(line).unwrap();
        assert_eq!(mount.point, Path::new("/a b"));
        assert_eq!(mount.root, Path::new("/c d"));
        let Mount {
            id, device, kind, ..
        } = &mount;
        assert_eq!((*id, &**device, &**kind), (1, "0:3", "overlay"));
        assert!(mount.has("idmapped") && !mount.has("ro"));
        assert!(mount.uses(Path::new("/r/l")) && mount.uses(Path::new("/r/u")));
        assert!(mount.uses(Path::new("/a b")) && !mount.uses(Path::new("/a")));
    }

    #[test]
    fn proc_itself_is_found_as_a_mount() {
        assert!(
            holders(Path::new("/proc"))
                .unwrap()
                .iter()
                .any(|held| held.point == Path::new("/proc"))
        );
        let proc = of_path(Path::new("/proc/self")).unwrap();
        assert_eq!((&*proc.kind, &*proc.point), ("proc", Path::new("/proc")));
    }

    #[test]
    fn a_process_with_an_open_file_uses_its_mount() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let id = of_path(file.path()).unwrap().id;
        assert!(users(&[id]).unwrap().contains(&std::process::id()));
        assert!(users(&[u64::MAX]).unwrap().is_empty());
    }
}
