//! Mounts, in every mount namespace of the machine (proc_pid_mountinfo(5)).

use anyhow::{Context, Result};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

/// One line of a mountinfo file.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted, as the process sees it.
    pub point: PathBuf,
    /// The file system's own options: for an overlay, its layers' directories.
    pub super_options: String,
}

/// A mount that still uses a directory, and a process that keeps it.
#[derive(Debug)]
pub struct Holder {
    /// A process in the mount namespace that has it.
    pub pid: u32,
    /// Where it is mounted there.
    pub point: PathBuf,
}

/// The mounts a process sees.
///
/// # Errors
/// When its mountinfo cannot be read.
pub fn of_process(pid: &str) -> Result<Vec<Mount>> {
    let path = format!("/proc/{pid}/mountinfo");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.lines().filter_map(parse).collect())
}

/// Mounts on or under `directory`, or overlays with a layer under it, in any mount namespace.
///
/// # Errors
/// When /proc cannot be read. A process that ends meanwhile is passed over.
pub fn holders(directory: &Path) -> Result<Vec<Holder>> {
    let (mut seen, mut found) = (HashSet::new(), vec![]);
    for entry in fs::read_dir("/proc")
        .context("cannot read /proc")?
        .flatten()
    {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(namespace) = fs::read_link(entry.path().join("ns/mnt")) else {
            continue;
        };
        if !seen.insert(namespace) {
            continue;
        }
        let Ok(mounts) = of_process(&pid.to_string()) else {
            continue;
        };
        let holding = mounts.into_iter().filter(|mount| mount.uses(directory));
        found.extend(holding.map(|mount| Holder {
            pid,
            point: mount.point,
        }));
    }
    Ok(found)
}

impl Mount {
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
    Some(Mount {
        point: PathBuf::from(unescape(before.split(' ').nth(4)?)),
        super_options: unescape(after.split(' ').nth(2)?),
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
        let line = r"1 2 0:3 / /a\040b rw shared:1 master:2 - overlay overlay rw,lowerdir=/r/l/A:/r/l/B,upperdir=/r/u/diff";
        let mount = parse(line).unwrap();
        assert_eq!(mount.point, Path::new("/a b"));
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
    }
}
