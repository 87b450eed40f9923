//! A result that lies on disk until it is delivered.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process;

use serde_json::Value;

/// The result an earlier run could not deliver.
pub(crate) fn read(path: &Path) -> Option<Value> {
    let text = fs::read(path).ok()?;
    let value = serde_json::from_slice(&text);
    Some(value.unwrap_or_else(|_| String::from_utf8_lossy(&text).into()))
}

/// Writes the file anew, for its owner only. Does nothing where its directory is missing: what
/// changes nothing needs no state directory.
///
/// # Errors
/// When the file cannot be written and renamed.
pub(crate) fn write(path: &Path, result: &str) -> io::Result<()> {
    let Some(directory) = path.parent().filter(|d| d.is_dir()) else {
        return Ok(());
    };
    let temporary = path.with_extension(format!("{}.tmp", process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(result.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            File::open(directory)?.sync_all()
        });
    if written.is_err() {
        // Gone already where the rename was reached.
        let _ = fs::remove_file(&temporary);
    }
    written
}
