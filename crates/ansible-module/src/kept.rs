//! A result that lies on disk until it is delivered.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

use serde_json::Value;

/// The file for one value of an option, in which every byte that is no letter or digit is written as `%XX`.
pub(crate) fn of(path: &Path, value: &str) -> PathBuf {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    let value: String = value.bytes().map(byte).collect();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{value}.{name}"))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_file_of_its_own() {
        let of = |value| of(Path::new("/s/x.json"), value);
        assert_eq!(of("a1"), Path::new("/s/a1.x.json"));
        assert_eq!(of("../a b"), Path::new("/s/%2E%2E%2Fa%20b.x.json"));
    }
}
