use rustix::{
    fs::{FileType, RawDir},
    io::Errno,
};
use std::{ffi::CStr, ops::Range, os::fd::AsFd};

/// Bytes of names, from which on no more are added. The memory of a walk is a few times this, and less of the names
/// of a larger directory are neighbours the smaller it is.
const LIMIT: usize = 1 << 20;

/// Names of a directory by inode, so that what the kernel keeps of neighbours, in memory and on the disk, serves
/// them all.
#[derive(Default)]
pub(crate) struct Batch {
    names: Vec<u8>,
    /// Where in `names` each begins.
    entries: Vec<(u64, FileType, usize)>,
}

impl Batch {
    /// Replaces what is in it by what comes next. Says whether more may come.
    pub(crate) fn read(&mut self, entries: &mut RawDir<'_, impl AsFd>) -> Result<bool, Errno> {
        self.names.clear();
        self.entries.clear();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            if matches!(name, b".\0" | b"..\0") {
                continue;
            }
            let start = self.names.len();
            self.entries.push((entry.ino(), entry.file_type(), start));
            self.names.extend_from_slice(name);
            if self.names.len() >= LIMIT {
                self.sort();
                return Ok(true);
            }
        }
        self.sort();
        Ok(false)
    }

    fn sort(&mut self) {
        self.entries.sort_unstable_by_key(|&(inode, ..)| inode);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn part(&self, range: Range<usize>) -> impl Iterator<Item = (&CStr, FileType)> {
        self.entries[range].iter().filter_map(|&(_, kind, start)| {
            let name = CStr::from_bytes_until_nul(&self.names[start..]).ok()?;
            Some((name, kind))
        })
    }
}
