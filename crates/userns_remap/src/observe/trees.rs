//! The directories and files of the host behind bind mounts. Reads, and changes nothing.

use crate::{
    args::{Args, OrKeep},
    bind_mounts::Binds,
    device::{self, Device},
    observed::Tree,
    plan::Plan,
    record::{Prepared, Record},
    step::Direction,
    workload::{Mount, MountKind, Workload},
};
use anyhow::Result;
use host::{docker::Volume, mounts};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use trees::{idmapped, records};

/// The paths that the operator names, as if something mounted them.
pub fn named(args: &Args) -> Workload {
    let paths = args.bind_mounts.keys().filter(|name| name.starts_with('/'));
    let mount = |path: &String| Mount {
        kind: MountKind::Bind,
        source: path.clone(),
        target: String::new(),
        writable: true,
    };
    Workload {
        mounts: paths.map(mount).collect(),
        ..Workload::default()
    }
}

/// Whatever may have to be prepared, or was.
pub fn paths<'o>(
    mounting: &'o [Workload],
    volumes: &'o [Volume],
    record: Option<&'o Record>,
) -> impl Iterator<Item = PathBuf> + 'o {
    let mounts = mounting.iter().flat_map(|workload| &workload.mounts);
    let binds = mounts.filter(|mount| mount.kind == MountKind::Bind);
    let devices = volumes
        .iter()
        .filter_map(|volume| match device::of(volume)? {
            Device::Bind(path) => Some(path.to_owned()),
            _ => None,
        });
    let recorded = record.into_iter().flat_map(|record| &record.bind_mounts);
    binds
        .map(|mount| PathBuf::from(&mount.source))
        .chain(devices)
        .chain(recorded.map(|mount| mount.path.clone()))
}

/// By path as it is written; what is missing does not exist.
pub fn of(paths: impl Iterator<Item = PathBuf>) -> Result<BTreeMap<PathBuf, Tree>> {
    let mut found = BTreeMap::new();
    for path in paths {
        if let Ok(resolved) = fs::canonicalize(&path) {
            found.insert(path, tree(&resolved)?);
        }
    }
    Ok(found)
}

fn tree(path: &Path) -> Result<Tree> {
    let done = if records::is_shifted(path)? {
        Some("was shifted by volume_rechown")
    } else if idmapped::Record::of(path)?.is_some() || mounts::of_path(path)?.has("idmapped") {
        Some("is shown by an idmapped mount")
    } else {
        None
    };
    Ok(Tree {
        path: path.to_owned(),
        is_directory: path.is_dir(),
        done,
    })
}

/// Looks at every tree that would be shifted, and tries out what would be mounted, while everything still runs;
/// refusals and warnings go to the plan.
pub fn survey(plan: &mut Plan) -> Result<()> {
    let Some(binds) = plan.binds.take() else {
        return Ok(());
    };
    for (mount, wish) in &binds.mounts {
        match &mount.prepared {
            Prepared::Shift(_) => survey_shift(plan, &binds, &mount.path)?,
            Prepared::Idmap(record) if binds.direction == Direction::ToRemapped => {
                let keep = wish.unmapped == OrKeep::Keep;
                let checked = idmapped::check(record, wish.allow_exposed_path, keep);
                plan.refusals
                    .extend(checked.err().map(|error| format!("{error:#}")));
            }
            Prepared::Idmap(_) | Prepared::Leave => {}
        }
    }
    plan.binds = Some(binds);
    Ok(())
}

fn survey_shift(plan: &mut Plan, binds: &Binds, path: &Path) -> Result<()> {
    let Some(policy) = binds.survey_policy(path) else {
        return Ok(());
    };
    let survey = rechown::survey(&[path], &binds.maps, policy)?;
    let (source, target) = (&survey.source, &survey.target);
    if !survey.boundaries.is_empty() {
        plan.refusals.push(format!(
            "{} has mounts in it, which would keep their owners: {}; name directories below it, or unmount them",
            path.display(),
            survey.boundaries
        ));
    } else if let Some(refusal) = survey.refusal() {
        plan.refusals.push(format!("{}: {refusal}", path.display()));
    } else if binds.direction == Direction::ToRemapped && source.is_empty() && !target.is_empty() {
        plan.refusals.push(format!(
            "{} has the owners of remapped containers already: {target}; leave it, or give it the owners it has \
             inside containers first",
            path.display()
        ));
    } else if !source.is_empty() && !target.is_empty() {
        plan.warnings.push(format!(
            "files that the host itself wrote in {} keep their owners: {target}",
            path.display()
        ));
    }
    Ok(())
}
