//! docker-compose.override.yml of projects.

use super::configure::put;
use crate::record::Override;
use anyhow::{Result, ensure};
use host::compose::{self, Project};

/// Writes them, and has compose itself say that each service is set as meant. Nothing has
/// been stopped yet.
pub fn apply(changes: &[Override]) -> Result<()> {
    for change in changes {
        put(&change.path, change.after.as_deref())?;
        if change.services.is_empty() && change.without_sysctls.is_empty() {
            continue;
        }
        let project = Project {
            directory: change.directory.clone(),
            files: vec![],
        };
        let resolved = compose::resolve(&project)?;
        for name in &change.services {
            let service = resolved.services.get(name);
            let mode = service.and_then(|service| service.userns_mode.as_deref());
            ensure!(
                mode == Some("host"),
                "{} sets {name} to the host's user namespace, but compose does not read it so",
                change.path.display()
            );
        }
        for name in &change.without_sysctls {
            let service = resolved.services.get(name);
            ensure!(
                service.is_some_and(|service| service.sysctls.is_empty()),
                "{} takes the sysctls of {name} away, but compose does not read it so",
                change.path.display()
            );
        }
    }
    Ok(())
}

pub fn undo(changes: &[Override]) -> Result<()> {
    changes
        .iter()
        .try_for_each(|change| put(&change.path, change.before.as_deref()))
}
