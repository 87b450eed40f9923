//! The files of an account, wherever they are on this host's own file systems.

use anyhow::{Context, Result};
use host::mounts::{self, Mount};
use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, Metadata},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How many paths are named.
const NAMED: usize = 20;

/// Where engines of the whole host keep images, whose files may have any uid without being anybody's.
const ENGINES: [&str; 2] = ["/var/lib/docker", "/var/lib/containers/storage"];

/// What was found, and where it was looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The first of them.
    pub paths: Vec<PathBuf>,
    pub count: u64,
    /// How many files and directories were looked at.
    pub entries: u64,
    /// The mounts whose file systems were searched.
    pub mounts: Vec<PathBuf>,
    /// Directories that were passed over.
    pub passed_over: Vec<PathBuf>,
    /// Nothing was left out for want of time.
    pub whole: bool,
}

/// Everything that passes, outside of `but`. Pseudo file systems, those of other hosts, and overlays (whose layers
/// lie elsewhere) are passed over, and so are the stores of the host's engines.
///
/// # Errors
/// When the mounts cannot be read. What vanishes meanwhile is passed over.
pub fn find(
    passes: impl Fn(&Metadata) -> bool,
    but: &[&Path],
    patience: Duration,
) -> Result<Found> {
    let mounts = mounts::of_process("self")?;
    let stores = ENGINES.iter().map(Path::new);
    let passed_over: Vec<_> = (but.iter().copied().chain(stores))
        .filter(|path| path.exists())
        .map(Path::to_owned)
        .collect();
    let mut found = Found {
        mounts: local(&mounts, &own_kinds()?),
        passed_over,
        ..Found::default()
    };
    let points = mounts.into_iter().map(|mount| mount.point).collect();
    found.search(&points, passes, Instant::now() + patience);
    Ok(found)
}

impl Found {
    /// Below its mounts, until `end`.
    fn search(
        &mut self,
        points: &HashSet<PathBuf>,
        passes: impl Fn(&Metadata) -> bool,
        end: Instant,
    ) {
        let mut left = self.mounts.clone();
        while let Some(directory) = left.pop() {
            if Instant::now() > end {
                return;
            }
            self.look(&directory, points, &passes, &mut left);
        }
        self.whole = true;
    }

    /// At a directory and what is in it; the directories below it go to `left`.
    fn look(
        &mut self,
        directory: &Path,
        points: &HashSet<PathBuf>,
        passes: impl Fn(&Metadata) -> bool,
        left: &mut Vec<PathBuf>,
    ) {
        if self.passed_over.iter().any(|path| path == directory) {
            return;
        }
        // What is below a mount point is looked at there.
        if points.contains(directory)
            && let Ok(metadata) = fs::symlink_metadata(directory)
        {
            self.note(directory, &metadata, &passes);
        }
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let path = entry.path();
            if points.contains(&path) || self.passed_over.contains(&path) {
                continue;
            }
            self.note(&path, &metadata, &passes);
            if metadata.is_dir() {
                left.push(path);
            }
        }
    }

    fn note(&mut self, path: &Path, metadata: &Metadata, passes: impl Fn(&Metadata) -> bool) {
        self.entries += 1;
        if passes(metadata) {
            self.count += 1;
            if self.paths.len() < NAMED {
                self.paths.push(path.to_owned());
            }
        }
    }
}

/// The types of file systems on disks of this host, and those in memory.
fn own_kinds() -> Result<BTreeSet<String>> {
    let path = "/proc/filesystems";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let disks = text.lines().filter(|line| !line.starts_with("nodev"));
    // ZFS has disks, though the kernel does not call it so.
    let others = ["tmpfs", "ramfs", "zfs"];
    Ok(disks
        .map(str::trim)
        .chain(others)
        .map(str::to_owned)
        .collect())
}

/// Where the file systems of these types are mounted, each part of them once.
fn local(mounts: &[Mount], kinds: &BTreeSet<String>) -> Vec<PathBuf> {
    let root = Path::new("/");
    let is_local = |mount: &&Mount| kinds.contains(&mount.kind) || mount.point == root;
    let candidates: Vec<_> = mounts.iter().filter(is_local).collect();
    let is_part = |at: usize| {
        let mount = candidates[at];
        candidates.iter().enumerate().any(|(other_at, other)| {
            let same = mount.root == other.root;
            other.device == mount.device
                && mount.root.starts_with(&other.root)
                && (!same || other_at < at)
        })
    };
    let wanted = (0..candidates.len()).filter(|at| !is_part(*at));
    wanted.map(|at| candidates[at].point.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(device: &str, root: &str, point: &str, kind: &str) -> Mount {
        Mount {
            id: 0,
            device: device.to_owned(),
            root: root.into(),
            point: point.into(),
            options: String::new(),
            kind: kind.to_owned(),
            super_options: String::new(),
        }
    }

    #[test]
    fn each_part_of_a_local_file_system_is_searched_once() {
        let kinds = ["ext4", "tmpfs"].map(str::to_owned).into();
        let mounts = [
            mount("0:1", "/", "/", "overlay"),
            mount("0:2", "/", "/proc", "proc"),
            mount("8:1", "/", "/srv", "ext4"),
            mount("8:1", "/www", "/var/www", "ext4"),
            mount("8:1", "/", "/mnt/again", "ext4"),
            mount("8:2", "/a", "/data/a", "ext4"),
            mount("8:2", "/b", "/data/b", "ext4"),
            mount("0:3", "/", "/net", "nfs4"),
            mount("0:4", "/", "/var/lib/x/merged", "overlay"),
            mount("0:5", "/", "/run", "tmpfs"),
        ];
        let points = ["/", "/srv", "/data/a", "/data/b", "/run"].map(PathBuf::from);
        assert_eq!(local(&mounts, &kinds), points);
    }

    #[test]
    fn files_are_found_but_for_those_passed_over_and_time_out_shows() {
        let scratch = tempfile::tempdir().unwrap();
        let (here, home) = (scratch.path().join("here"), scratch.path().join("home"));
        fs::create_dir_all(&here).unwrap();
        fs::create_dir_all(&home).unwrap();
        fs::write(here.join("file"), "").unwrap();
        fs::write(home.join("file"), "").unwrap();
        let search = |end| {
            let mut found = Found {
                mounts: vec![scratch.path().to_owned()],
                passed_over: vec![home.clone()],
                ..Found::default()
            };
            found.search(&HashSet::new(), Metadata::is_file, end);
            found
        };
        let found = search(Instant::now() + Duration::from_secs(60));
        assert_eq!((found.paths, found.count), (vec![here.join("file")], 1));
        assert!(found.whole && found.entries == 2);
        assert!(!search(Instant::now()).whole);
    }
}
