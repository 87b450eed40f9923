use rustix::{
    fs::{FileType, RawDir},
    io::Errno,
};
use std::{ffi::CStr, os::fd::AsFd};

/// Names of a directory, as many as the kernel hands out at once, by inode: so what it keeps of neighbours, in
/// memory and on the disk, serves them all.
#[derive(Default)]
pub(crate) struct Batch {
    names: Vec<u8>,
    /// Where in `names` each begins.
    entries: Vec<(u64, FileType, usize)>,
}

impl Batch {
    /// Replaces what is in it by what comes next. Says whether anything does.
    pub(crate) fn read(&mut self, entries: &mut RawDir<'_, impl AsFd>) -> Result<bool, Errno> {
        self.names.clear();
        self.entries.clear();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            if !matches!(name, b".\0" | b"..\0") {
                let start = self.names.len();
                self.entries.push((entry.ino(), entry.file_type(), start));
                self.names.extend_from_slice(name);
            }
            if entries.is_buffer_empty() && !self.entries.is_empty() {
                break;
            }
        }
        self.entries.sort_unstable_by_key(|&(inode, ..)| inode);
        Ok(!self.entries.is_empty())
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CStr, FileType)> {
        self.entries.iter().filter_map(|&(_, kind, start)| {
            let name = CStr::from_bytes_until_nul(&self.names[start..]).ok()?;
            Some((name, kind))
        })
    }
}
