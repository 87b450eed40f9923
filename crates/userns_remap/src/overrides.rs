//! Which compose services are set to the host's user namespace, or to set no kernel parameter, and how their projects'
//! override files become and what they were again. Pure.

use crate::{
    observed::Observed,
    overlay::{self, Setting},
    projects::ComposeProject,
    record::{Override, Sysctls},
    verdict::{self, Facts, Verdict},
};
use anyhow::{Context, Result, ensure};
use idmap::IdMap;

/// The services, by name, that cannot run remapped as they are, and what each needs for it.
fn needing(project: &ComposeProject, observed: &Observed, uids: &IdMap) -> Vec<(String, Setting)> {
    // Their bind mounts and devices are another matter.
    let facts = Facts {
        sysctls: observed.facts.sysctls.clone(),
        ..Facts::default()
    };
    let found = verdict::findings(&project.services, &facts, uids).into_iter();
    let needing = found.filter_map(|(workload, findings)| {
        let has = |verdict| findings.iter().any(|finding| finding.verdict == verdict);
        let setting = if has(Verdict::NeedsHostMode) {
            Setting::HostMode
        } else if has(Verdict::SysctlRefused) {
            Setting::NoSysctls
        } else {
            return None;
        };
        Some((workload.service.as_ref()?.1.clone(), setting))
    });
    needing.collect()
}

/// The files to write.
pub fn to_write(observed: &Observed, uids: &IdMap) -> Result<Vec<Override>> {
    let mut changes = vec![];
    for project in &observed.projects {
        let settings = needing(project, observed, uids);
        let named = |wanted: Setting| -> Vec<String> {
            let found = settings.iter().filter(|(_, setting)| *setting == wanted);
            found.map(|(name, _)| name.clone()).collect()
        };
        let without_sysctls = named(Setting::NoSysctls);
        ensure!(
            without_sysctls.is_empty() || project.knows_reset,
            "{}: the kernel refuses the sysctls of {} in a user namespace, and docker-compose 1.29 has no way of taking \
             them away in an override; take them out of the service by hand, and make its container anew",
            project.directory.display(),
            without_sysctls.join(", ")
        );
        let after = overlay::with(project.text.as_deref(), &settings)
            .with_context(|| project.path.display().to_string())?;
        changes.extend(after.map(|after| Override {
            directory: project.directory.clone(),
            path: project.path.clone(),
            before: project.text.clone(),
            after: Some(after),
            services: named(Setting::HostMode),
            without_sysctls,
        }));
    }
    Ok(changes)
}

/// The ids of the containers that the services set to the host's user namespace have by now.
pub fn containers(observed: &Observed, uids: &IdMap) -> Vec<String> {
    let of_them = observed.workloads().into_iter().filter(|workload| {
        !workload.host_mode && wanted(observed, uids, workload.service.as_ref(), Setting::HostMode)
    });
    of_them.filter_map(|workload| workload.id).collect()
}

/// The kernel parameters of the containers that the services set to have none have by now.
pub fn sysctls(observed: &Observed, uids: &IdMap) -> Vec<Sysctls> {
    let both = observed.containers.iter().zip(observed.workloads());
    let of_them = both.filter(|(_, workload)| {
        wanted(
            observed,
            uids,
            workload.service.as_ref(),
            Setting::NoSysctls,
        )
    });
    let of = |container: &host::docker::Container| {
        let values = container.host_config.sysctls.clone().unwrap_or_default();
        (!values.is_empty()).then(|| Sysctls {
            container: container.id.clone(),
            values,
        })
    };
    of_them.filter_map(|(container, _)| of(container)).collect()
}

fn wanted(
    observed: &Observed,
    uids: &IdMap,
    service: Option<&(String, String)>,
    setting: Setting,
) -> bool {
    observed.projects.iter().any(|project| {
        let is_of = (project.services.iter()).any(|workload| workload.service.as_ref() == service);
        service.is_some_and(|(_, name)| {
            is_of && needing(project, observed, uids).contains(&(name.clone(), setting))
        })
    })
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
        let mut said = format!("{} has been changed since", change.path.display());
        if !change.services.is_empty() {
            said += &format!(
                ", and still sets {} to the host's user namespace",
                change.services.join(", ")
            );
        }
        if !change.without_sysctls.is_empty() {
            said += &format!(
                ", and still takes the sysctls of {} away",
                change.without_sysctls.join(", ")
            );
        }
        said
    });
    (
        same.into_iter().map(Override::reversed).collect(),
        told.collect(),
    )
}
