//! The host's directories that containers mount, while nothing runs. Every function can be repeated.

use crate::paths::IN_PROGRESS;
use anyhow::{Context, Result};
use idmap::IdMaps;
use rechown::Policy;
use std::path::{Path, PathBuf};
use trees::idmapped::{self, Record, Shown};

fn journal(name: &str) -> PathBuf {
    Path::new(IN_PROGRESS).join(name)
}

pub fn shift(path: &Path, maps: &IdMaps, policy: Policy, name: &str) -> Result<()> {
    rechown::shift(&[path], maps, policy, &journal(name))
        .map(drop)
        .with_context(|| format!("cannot shift {}", path.display()))
}

/// Translates it back, with all that has been written since.
pub fn unshift(path: &Path, name: &str) -> Result<()> {
    rechown::undo_at(&[path], &journal(name))
        .map(drop)
        .with_context(|| format!("cannot shift {} back", path.display()))
}

/// Shows the tree as recorded, or not any more.
pub fn show(record: &Record, visible: bool) -> Result<()> {
    let is_shown = |record: &Record| Ok::<_, anyhow::Error>(idmapped::shown(record)? == Shown::Yes);
    let found = Record::of(&record.path)?;
    match (visible, found) {
        (true, found) => idmapped::show(record, found.as_ref(), is_shown(record)?),
        (false, Some(found)) => idmapped::hide(&found, is_shown(&found)?),
        // Somebody took it away already.
        (false, None) => Ok(()),
    }
}
