//! What the verdicts need to know of the host. Reads, and changes nothing.

use crate::{
    verdict::{Facts, Source},
    workload::{MountKind, Workload},
};
use anyhow::Result;
use host::{docker::Container, process, sysctl, user_namespace};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// About the mounts of workloads, and what running containers hold in memory.
pub fn gather(
    workloads: &[Workload],
    containers: &[Container],
    engine_root: &Path,
) -> Result<Facts> {
    let of_each = |what: &dyn Fn(&Container) -> Vec<String>| {
        let pairs = containers
            .iter()
            .map(|container| (container.id.clone(), what(container)));
        pairs.collect()
    };
    Ok(Facts {
        sources: sources(workloads.iter())?,
        tmpfs: of_each(&filled_tmpfs),
        checkpoints: of_each(&|container| checkpoints(engine_root, container)),
        immutable: BTreeMap::new(),
        sysctls: BTreeMap::new(),
    })
}

/// The files and directories behind what workloads mount.
pub fn sources<'w>(
    workloads: impl Iterator<Item = &'w Workload>,
) -> Result<BTreeMap<PathBuf, Source>> {
    let mut sources = BTreeMap::new();
    let paths = workloads.flat_map(|workload| {
        let mounts = workload.mounts.iter();
        let files =
            mounts.filter(|mount| matches!(mount.kind, MountKind::Bind | MountKind::Secret));
        let files = files.map(|mount| PathBuf::from(&mount.source));
        files.chain(workload.devices.iter().cloned())
    });
    for path in paths {
        let Ok(meta) = fs::metadata(&path) else {
            continue;
        };
        let source = Source {
            uid: meta.uid(),
            gid: meta.gid(),
            mode: meta.mode() & 0o7777,
            is_file: !meta.is_dir(),
            in_git: path.ancestors().any(|above| above.join(".git").exists()),
            users: vec![],
        };
        sources.insert(path, source);
    }
    for (path, program) in
        process::users_of(&sources.keys().map(PathBuf::as_path).collect::<Vec<_>>())?
    {
        if let Some(source) = sources.get_mut(&path) {
            source.users.push(program);
        }
    }
    Ok(sources)
}

/// What the kernel says of the parameters that workloads set; nothing where it cannot be asked, as on a host without
/// user namespaces.
pub fn sysctls<'w>(
    workloads: impl Iterator<Item = &'w Workload>,
) -> BTreeMap<String, Option<String>> {
    let names = workloads.flat_map(|workload| workload.sysctls.iter().cloned());
    sysctl::in_user_namespace(&names.collect()).unwrap_or_default()
}

/// What this executable does where it was started only to hold a user namespace.
pub fn hold_user_namespace() -> Option<ExitCode> {
    let asked = std::env::args()
        .nth(1)
        .is_some_and(|word| word == user_namespace::HOLD);
    asked.then(|| match user_namespace::hold() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

fn checkpoints(engine_root: &Path, container: &Container) -> Vec<String> {
    let directory = engine_root
        .join("containers")
        .join(&container.id)
        .join("checkpoints");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The paths at which a running container has files in memory.
fn filled_tmpfs(container: &Container) -> Vec<String> {
    let pid = container.state.pid;
    let declared = container
        .host_config
        .tmpfs
        .iter()
        .flatten()
        .map(|(target, _)| target.clone());
    let mounted = container
        .mounts
        .iter()
        .filter(|mount| mount.kind == "tmpfs");
    let mounted = mounted.map(|mount| mount.destination.to_string_lossy().into_owned());
    let targets = declared.chain(mounted).filter(|_| pid != 0);
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    targets
        .filter(|target| holds_files(&root.join(target.trim_start_matches('/'))))
        .collect()
}

fn holds_files(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}
