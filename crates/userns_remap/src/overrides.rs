//! Which compose services are set to the host's user namespace, and how their projects' override files become and
//! what they were again. Pure.

use crate::{
    observe::Observed,
    overlay,
    projects::ComposeProject,
    record::Override,
    verdict::{self, Facts, Verdict},
};
use anyhow::{Context, Result};
use idmap::IdMap;

/// The services that need it.
fn needing(project: &ComposeProject, uids: &IdMap) -> Vec<String> {
    let found = verdict::findings(&project.services, &Facts::default(), uids).into_iter();
    let needing = found.filter(|(_, findings)| {
        let mut verdicts = findings.iter().map(|finding| finding.verdict);
        verdicts.any(|verdict| verdict == Verdict::NeedsHostMode)
    });
    needing
        .filter_map(|(workload, _)| Some(workload.service.as_ref()?.1.clone()))
        .collect()
}

/// The files to write.
pub fn to_host_mode(observed: &Observed, uids: &IdMap) -> Result<Vec<Override>> {
    let mut changes = vec![];
    for project in &observed.projects {
        let services = needing(project, uids);
        let after = overlay::with_host_mode(project.text.as_deref(), &services)
            .with_context(|| project.path.display().to_string())?;
        changes.extend(after.map(|after| Override {
            directory: project.directory.clone(),
            path: project.path.clone(),
            before: project.text.clone(),
            after: Some(after),
            services,
        }));
    }
    Ok(changes)
}

/// The ids of the containers that those services have by now.
pub fn containers(observed: &Observed, uids: &IdMap) -> Vec<String> {
    let projects = observed.projects.iter();
    let services = projects.flat_map(|project| {
        let needing = needing(project, uids);
        let services = project
            .services
            .iter()
            .filter_map(|workload| workload.service.clone());
        services.filter(move |(_, name)| needing.contains(name))
    });
    let services: Vec<_> = services.collect();
    let workloads = observed.workloads().into_iter();
    let of_them = workloads.filter(|workload| {
        !workload.host_mode
            && workload
                .service
                .as_ref()
                .is_some_and(|service| services.contains(service))
    });
    of_them.filter_map(|workload| workload.id).collect()
}

/// The files to put back, and a word on those that somebody has changed since.
pub fn back(observed: &Observed) -> (Vec<Override>, Vec<String>) {
    let written = observed
        .record
        .iter()
        .flat_map(|record| record.overrides.clone());
    let (same, changed): (Vec<_>, Vec<_>) =
        written.partition(|change| observed.overrides.get(&change.path) == Some(&change.after));
    let told = changed.into_iter().map(|change| {
        format!(
            "{} has been changed since, and still sets {} to the host's user namespace",
            change.path.display(),
            change.services.join(", ")
        )
    });
    (
        same.into_iter().map(Override::reversed).collect(),
        told.collect(),
    )
}
