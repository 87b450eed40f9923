//! Runs the plan. What happens on the way, and after a crash, is the engine's: see `rechown`.

use crate::{observe::Tree, plan::Plan};
use anyhow::{Context, Result};
use rechown::{Policy, Progress, Report};
use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, path::Path};

pub fn run(plan: &Plan, tree: &Tree, policy: Policy, state: &Path) -> Result<Report> {
    match plan {
        Plan::Nothing => Ok(Report::default()),
        Plan::Undo(..) => Ok(rechown::undo(&tree.journal)?),
        Plan::Shift(maps) => {
            let make = DirBuilder::new().recursive(true).mode(0o700).create(state);
            make.with_context(|| format!("cannot make {}", state.display()))?;
            Ok(rechown::shift(&[&tree.path], maps, policy, &tree.journal)?)
        }
    }
}

/// Whether a run that failed left the tree half done.
pub fn is_half_done(tree: &Tree) -> bool {
    let record = rechown::recorded(&tree.journal);
    record.is_ok_and(|record| record.is_some_and(|record| record.progress != Progress::Complete))
}
