//! daemon.json, and the record of what it was.

use crate::{record::Record, step::Configure};
use anyhow::Result;
use host::files;
use std::{fs, path::Path};

pub fn apply(change: &Configure) -> Result<()> {
    if let (Some(backup), Some(before)) = (&change.backup, &change.before) {
        files::write_atomic(backup, before.as_bytes(), 0o600)?;
    }
    keep_record(change.record_after.as_ref())?;
    put(&change.path, change.after.as_deref())
}

pub fn undo(change: &Configure) -> Result<()> {
    put(&change.path, change.before.as_deref())?;
    keep_record(change.record_before.as_ref())?;
    change
        .backup
        .as_deref()
        .map_or(Ok(()), files::remove_optional)
}

fn keep_record(record: Option<&Record>) -> Result<()> {
    record.map_or_else(Record::remove, Record::save)
}

/// Writes the file, or sees that there is none.
pub fn put(path: &Path, content: Option<&str>) -> Result<()> {
    let Some(content) = content else {
        return files::remove_optional(path);
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    files::write_atomic(path, content.as_bytes(), 0o644)
}
