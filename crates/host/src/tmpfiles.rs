//! Directories that come back at every boot: tmpfiles.d(5).

use crate::boot;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Where the administrator's are.
const DIRECTORY: &str = "/etc/tmpfiles.d";

/// The file of this name, without `.conf`.
#[must_use]
pub fn file(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{name}.conf"))
}

/// The line that makes a directory of root's that a group may read, mode 0750.
///
/// # Errors
/// When the path has letters that no line can name.
pub fn directory(path: &Path, group: &str) -> Result<String> {
    Ok(format!("d {} 0750 root {group} -\n", boot::quoted(path)?))
}
