use crate::{Sample, walk::Entry};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// The files with several names met so far, by device and inode.
#[derive(Default)]
pub(crate) struct Links(Mutex<HashMap<(u32, u32, u64), Names>>);

struct Names {
    first: PathBuf,
    /// How many there are in all, and how many were met.
    all: u32,
    met: u32,
}

impl Links {
    /// Whether the entry is the first name of its file. Of several threads only one gets to hear so.
    pub(crate) fn claim(&self, entry: &Entry<'_>) -> bool {
        let stat = entry.stat;
        if stat.stx_nlink < 2 || entry.is_directory() {
            return true;
        }
        let file = (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino);
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = links.entry(file).or_insert_with(|| Names {
            first: entry.path(),
            all: stat.stx_nlink,
            met: 0,
        });
        names.met += 1;
        names.met == 1
    }

    /// Those with names that were not met.
    pub(crate) fn outside(self) -> Sample<PathBuf> {
        let mut outside = Sample::default();
        let links = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut paths: Vec<_> = links
            .into_values()
            .filter(|names| names.met < names.all)
            .map(|names| names.first)
            .collect();
        paths.sort_unstable();
        for path in paths {
            outside.add(|| path);
        }
        outside
    }
}
