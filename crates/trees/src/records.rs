//! Where we keep what was done to a tree.

use anyhow::Result;
use sha2::{Digest, Sha256};
use std::{
    fmt::Write,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Everything we keep on a host.
pub const STATE: &str = "/var/lib/bulkhead";
/// The journals of `volume_rechown`, one a tree.
pub const JOURNALS: &str = "/var/lib/bulkhead/rechown";

/// Whether `volume_rechown` has shifted the tree, and not taken it back.
///
/// # Errors
/// When its journal cannot be read.
pub fn is_shifted(path: &Path) -> Result<bool> {
    Ok(rechown::recorded(&record_of(path, JOURNALS.as_ref()))?.is_some())
}

/// The file in `state` for a tree. Its name is of fixed length: a path may be longer than a name can be.
#[must_use]
pub fn record_of(path: &Path, state: &Path) -> PathBuf {
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    let mut name = String::new();
    for byte in digest {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    state.join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_journal_of_its_own() {
        let state = Path::new("/var/lib/bulkhead/rechown");
        let one = record_of("/srv/www".as_ref(), state);
        assert_eq!(one.parent(), Some(state));
        assert_eq!(one.file_name().unwrap().len(), 64);
        assert_ne!(one, record_of("/srv/www2".as_ref(), state));
    }
}
