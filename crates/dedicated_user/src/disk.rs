//! What directory trees take on the disks.

use anyhow::{Result, bail};
use host::mounts;
use std::{
    collections::HashSet,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Instant,
};

/// stat(2) counts blocks of so many bytes.
const BLOCK: u64 = 512;

/// What trees take, some of which may lie within others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes by tree, in the order asked for; what is not there takes none.
    pub each: Vec<u64>,
    /// Bytes of all, nothing counted twice.
    pub all: u64,
}

/// Measures `trees`. A file with several names counts where it is met first. What is mounted within a tree is not
/// part of it, unless it is a tree of its own here.
///
/// # Errors
/// When the mounts cannot be read, or time is up. What vanishes meanwhile is passed over.
pub fn measure(trees: &[PathBuf], end: Instant) -> Result<Taken> {
    let trees: Vec<_> = (trees.iter())
        .map(|tree| fs::canonicalize(tree).unwrap_or_else(|_| tree.clone()))
        .collect();
    let mut walk = Walk {
        points: (mounts::of_process("self")?.into_iter())
            .map(|mount| mount.point)
            .collect(),
        seen: HashSet::new(),
        taken: Taken {
            each: vec![0; trees.len()],
            all: 0,
        },
        trees: &trees,
    };
    for (at, tree) in trees.iter().enumerate() {
        if !walk.is_reached_otherwise(at) {
            walk.tree(tree, end)?;
        }
    }
    Ok(walk.taken)
}

struct Walk<'w> {
    trees: &'w [PathBuf],
    points: HashSet<PathBuf>,
    /// Device and inode of files with several names.
    seen: HashSet<(u64, u64)>,
    taken: Taken,
}

impl Walk<'_> {
    /// Another tree holds it, or is the same, with no mount between.
    fn is_reached_otherwise(&self, at: usize) -> bool {
        let tree = &self.trees[at];
        let between = |above: &Path| {
            let mut way = tree.ancestors().take_while(|path| *path != above);
            way.any(|path| self.points.contains(path))
        };
        let mut others = self.trees.iter().enumerate();
        others.any(|(other_at, other)| {
            (tree == other && other_at < at)
                || tree != other && tree.starts_with(other) && !between(other)
        })
    }

    fn tree(&mut self, tree: &Path, end: Instant) -> Result<()> {
        let Ok(metadata) = fs::symlink_metadata(tree) else {
            return Ok(());
        };
        let within = self.within(tree, &[]);
        self.add(&within, &metadata);
        let mut left = vec![(tree.to_owned(), within)];
        while let Some((directory, within)) = left.pop() {
            if Instant::now() > end {
                bail!("{} could not be measured in time", tree.display());
            }
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else {
                    continue;
                };
                if !metadata.is_dir() {
                    self.add(&within, &metadata);
                } else if !self.points.contains(&path) {
                    let within = self.within(&path, &within);
                    self.add(&within, &metadata);
                    left.push((path, within));
                }
            }
        }
        Ok(())
    }

    /// The trees that a directory is part of, as its parent is part of `above`.
    fn within(&self, directory: &Path, above: &[usize]) -> Vec<usize> {
        let here = self.trees.iter().enumerate();
        let here = here.filter(|(_, tree)| *tree == directory);
        above
            .iter()
            .copied()
            .chain(here.map(|(at, _)| at))
            .collect()
    }

    fn add(&mut self, within: &[usize], metadata: &Metadata) {
        let several = metadata.nlink() > 1 && !metadata.is_dir();
        if several && !self.seen.insert((metadata.dev(), metadata.ino())) {
            return;
        }
        let bytes = metadata.blocks() * BLOCK;
        for at in within {
            self.taken.each[*at] += bytes;
        }
        self.taken.all += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn trees_within_trees_count_for_both_and_once_in_all() {
        let scratch = tempfile::tempdir().unwrap();
        let home = scratch.path().join("home");
        let store = home.join("store");
        let other = scratch.path().join("other");
        fs::create_dir_all(&store).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(store.join("layer"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(store.join("layer"), home.join("same")).unwrap();
        fs::write(other.join("data"), vec![1; 2 << 20]).unwrap();
        let gone = scratch.path().join("gone");
        let trees = [
            store.clone(),
            home.clone(),
            other.clone(),
            gone,
            home.clone(),
        ];
        let taken = measure(&trees, soon()).unwrap();
        let [in_store, in_home, in_other, in_gone, again] = taken.each[..] else {
            panic!("{taken:?}")
        };
        assert!(
            (1 << 20..(1 << 20) + 65_536).contains(&in_home),
            "{taken:?}"
        );
        assert!(in_store <= in_home && (2 << 20..(2 << 20) + 65_536).contains(&in_other));
        assert_eq!((in_gone, again), (0, in_home));
        assert_eq!(taken.all, in_home + in_other);
        assert!(measure(&trees, Instant::now()).is_err());
    }
}
