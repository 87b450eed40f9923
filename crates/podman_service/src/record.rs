//! What this module remembers of the services it moved.

use crate::step::Step;
use anyhow::{Context, Result};
use host::files;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Root's only.
pub const STATE: &str = "/var/lib/bulkhead/podman_service";
/// Secrets that a reboot would lose, by account; root's only.
pub const KEPT_SECRETS: &str = "/var/lib/bulkhead/secrets";

/// A move that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Seconds since 1970.
    pub at: i64,
    pub steps: Vec<Step>,
}

impl Record {
    /// The accounts before and after the move.
    pub fn accounts(&self) -> Option<(&str, &str)> {
        let step = self.steps.first()?;
        Some((&step.from.name, &step.to.name))
    }
}

/// Where the move of a service is recorded.
pub fn place(name: &str) -> PathBuf {
    Path::new(STATE).join("moved").join(format!("{name}.json"))
}

/// The move of a service, if it was made.
///
/// # Errors
/// When the record is there and does not read as one.
pub fn read(name: &str) -> Result<Option<Record>> {
    let path = place(name);
    let text = files::read_text_optional(&path)?;
    let read = |text: String| {
        serde_json::from_str(&text).with_context(|| format!("{} is no record", path.display()))
    };
    text.map(read).transpose()
}
