//! A plan in the making: what all directions share. Pure.

use crate::{
    args::Args,
    bind_mounts::Binds,
    change::Shift,
    config,
    loss::Lost,
    observed::Observed,
    range::Choice,
    record::Record,
    step::{Configure, Step},
    verdict::{self, Finding, Verdict},
    workload::Workload,
};
use anyhow::Result;
use idmap::IdMaps;
use std::path::{Path, PathBuf};

/// What will be done.
#[derive(Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Not empty: nothing is done.
    pub refusals: Vec<String>,
    pub warnings: Vec<String>,
    /// Container ids to host ids, as they will be; `None` when plain.
    pub maps: Option<IdMaps>,
    /// The data root in use afterwards.
    pub data_root: PathBuf,
    /// The trees whose ids have to be looked at before anything stops.
    pub shift: Option<Shift>,
    /// What becomes of bind mounts.
    pub binds: Option<Binds>,
    /// What the stop deletes, and the operator allows.
    pub lost: Vec<Lost>,
    /// Where a root is put that is in the way.
    pub aside: Option<PathBuf>,
}

impl Plan {
    /// Sorts what was found of a container into refusals and warnings.
    pub fn take(&mut self, workload: &Workload, findings: Vec<Finding>) {
        for finding in findings {
            let text = finding.of(workload);
            let allowed = finding.verdict == Verdict::RemovedWhenStopped
                && self.lost.iter().any(|lost| lost.name == workload.name);
            if finding.verdict.stands_in_the_way() && !allowed {
                self.refusals.push(text);
            } else {
                self.warnings.push(text);
            }
        }
    }

    /// Only what a stop does to containers.
    pub fn take_stops(&mut self, workloads: &[Workload], observed: &Observed) {
        for workload in workloads {
            self.take(workload, verdict::at_stop(workload, &observed.facts));
        }
    }
}

/// The configuration without the key: what it was before `enabled`, byte for byte, unless somebody has
/// changed the file since.
pub fn unconfigured(observed: &Observed) -> Result<Option<String>> {
    match &observed.record {
        Some(record) if record.written == observed.config => Ok(record.original.clone()),
        _ => config::with_remap(observed.config.as_deref(), None),
    }
}

/// The ids of the containers that are named and do not stay in the host's user namespace yet; and a refusal for
/// each name that nobody has.
pub fn named(names: &[String], observed: &Observed) -> (Vec<String>, Vec<String>) {
    let find = |name: &String| {
        let mut containers = observed.containers.iter();
        containers.find(|container| container.name() == name)
    };
    let found = names.iter().filter_map(find);
    let to_set = found.filter(|container| container.host_config.userns_mode != "host");
    let unknown = names.iter().filter(|name| find(name).is_none());
    (
        to_set.map(|container| container.id.clone()).collect(),
        unknown
            .map(|name| format!("host_mode names {name}, but there is no such container"))
            .collect(),
    )
}

/// With the record of what it changes; without, nothing is remembered any more.
pub fn configure(
    args: &Args,
    observed: &Observed,
    after: Option<String>,
    stamp: &str,
    remember: Option<Record>,
) -> Configure {
    let backup = args.backup && observed.config.is_some() && after != observed.config;
    Configure {
        path: args.config_file.clone(),
        before: observed.config.clone(),
        after,
        backup: backup.then(|| host::files::backup_path(&args.config_file, stamp)),
        record_before: observed.record.clone(),
        record_after: remember,
    }
}

/// What is missing of the account and its ranges.
pub fn account_step(observed: &Observed, choice: &Choice) -> Option<Step> {
    let create = observed.ids.account.is_none();
    (create || !choice.add.is_empty()).then(|| Step::Account {
        name: observed.ids.name.clone(),
        create,
        ranges: choice.add.clone(),
    })
}

pub fn layout_root(data_root: &Path, (uid, gid): (u32, u32)) -> PathBuf {
    data_root.join(format!("{uid}.{gid}"))
}

pub fn left_behind(observed: &Observed) -> String {
    format!(
        "carry_over=none: {} images, {} containers and {} volumes stay behind in {}; they are out of sight, not lost",
        observed.images.len(),
        observed.containers.len(),
        observed.volumes.len(),
        observed.engine_root().display()
    )
}
