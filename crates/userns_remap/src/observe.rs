//! What is there. Reads the host and changes nothing.

mod trees;

pub use self::trees::survey as survey_bind_mounts;
use self::trees::{named, paths};
use crate::{
    args::Args,
    compat, conditions, config, copying,
    data_root::{closed, entries, free_bytes, irregular, layers, remapped_roots, split_root},
    facts, kept, layout, masked,
    observed::{Ids, Observed, workloads},
    projects, range,
    record::Record,
    references,
    users::Setting,
    verdict::{Facts, Place},
};
use anyhow::{Context, Result};
use host::{
    accounts::{self, Kind},
    docker::{self, Container},
    files,
    login_defs::SubidRules,
    process, systemd, user_namespace,
};
use idmap::IdMaps;
use rechown::{Policy, Survey};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The engine's feature that keeps images in containerd rather than in the data root.
const CONTAINERD_STORE: &str = "containerd-snapshotter";

pub fn host(args: &Args) -> Result<Observed> {
    let info = docker::info().context("no Docker engine answers on this host")?;
    let (data_root, remapped) = split_root(&info);
    let config = files::read_text_optional(&args.config_file)?;
    let configured = config::remap(config.as_deref())
        .with_context(|| format!("{} cannot be used", args.config_file.display()))?;
    let flags = flags()?;
    let wants_containerd_store = config::has_feature(config.as_deref(), CONTAINERD_STORE)?
        || (flags.iter()).any(|flag| flag.contains(CONTAINERD_STORE) && !flag.ends_with("=false"));
    let containers = docker::containers()?;
    let engine_root = info.docker_root_dir.clone();
    let record = Record::load(&args.config_file)?;
    let volumes = docker::volumes()?;
    let mut mounting = workloads(&containers, &volumes);
    mounting.push(named(args));
    let (root, compat_links) = compat::split(&data_root, entries(&data_root)?);
    let projects: Vec<_> = (args.compose_projects.iter())
        .map(|directory| projects::read(directory))
        .collect::<Result<_>>()?;
    let is_kept = record.as_ref().is_some_and(|record| record.kept.is_some());
    let masked = match remapped {
        // Links lead to what is in use, and a root that was copied is kept on purpose.
        Some(_) if compat_links.is_empty() && !is_kept => masked::read(&data_root, &root)?,
        _ => None,
    };
    let services = projects.iter().flat_map(|project| project.services.clone());
    let masked_ones = masked
        .iter()
        .flat_map(|masked| workloads(&masked.containers, &masked.volumes));
    mounting.extend(masked_ones);
    let services: Vec<_> = services.collect();
    let sysctls = facts::sysctls(mounting.iter().chain(&services));
    Ok(Observed {
        ids: ids(&args.user)?,
        in_use: remapped
            .map(|_| ids(configured.as_ref().unwrap_or(&args.user)))
            .transpose()?,
        container_maps: remapped.and_then(|root| container_maps(&containers, root)),
        root,
        masked,
        references: if args.compat_links {
            references::find(&data_root, &args.config_file)
        } else {
            vec![]
        },
        compat_links,
        remapped_roots: remapped_roots(&data_root)?,
        irregular: irregular(&engine_root)?,
        closed: closed(&data_root)?,
        layers: layers(&engine_root, &containers),
        facts: Facts {
            sysctls,
            ..facts::gather(&mounting, &containers, &engine_root)?
        },
        builds: builds(&engine_root)?,
        trees: self::trees::of(paths(&mounting, &volumes, record.as_ref()))?,
        homes: ::trees::guard::homes()?,
        images: docker::images()?,
        networks: docker::networks()?,
        volumes,
        plugins: docker::plugins()?,
        active_units: active_units()?,
        dependents: dependents()?,
        flags,
        wants_containerd_store,
        projects,
        overrides: overrides(record.as_ref())?,
        free_bytes: free_bytes(&data_root)?,
        copy: copying::space(args, &data_root, remapped.is_some())?,
        in_kept_root: kept::inventory(record.as_ref(), &data_root)?,
        record,
        conditions: conditions::observe(&data_root)?,
        info,
        data_root,
        remapped,
        containers,
        config,
        configured,
    })
}

/// What is in the trees that would be shifted: those the engine itself fills before a container's first
/// start, and those it leaves to containers.
pub struct Surveys {
    pub init_layers: Survey,
    pub others: Survey,
}

/// The immutable files among those that would be shifted, as far as a survey names them, by where they lie.
pub fn immutable(observed: &Observed, surveys: &Surveys) -> BTreeMap<Place, Vec<PathBuf>> {
    let root = observed.engine_root();
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for path in &surveys.others.immutable.examples {
        let mut names = path
            .strip_prefix(&root)
            .into_iter()
            .flat_map(|rest| rest.iter());
        let (tree, name) = (
            names.next(),
            names
                .next()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        );
        let mut layers = observed.layers.iter();
        let place = match tree.map(|tree| tree.to_string_lossy()).as_deref() {
            Some("volumes") => Some(Place::Volume(name)),
            _ => layers
                .find(|(_, layer)| **layer == name)
                .map(|(id, _)| Place::Layer(id.clone())),
        };
        if let Some(place) = place {
            found.entry(place).or_default().push(path.clone());
        }
    }
    found
}

/// Reads every tree that would be shifted and counts what the maps do to it.
pub fn surveys(
    engine_root: &Path,
    keep: &layout::Keep,
    maps: &IdMaps,
    policy: Policy,
) -> Result<Surveys> {
    let trees = layout::shifted_trees(engine_root, keep)?.into_iter();
    let (init_layers, others): (Vec<_>, Vec<_>) =
        trees.partition(|tree| layout::is_of_init_layer(tree));
    Ok(Surveys {
        init_layers: rechown::survey(&init_layers, maps, policy)?,
        others: rechown::survey(&others, maps, policy)?,
    })
}

fn overrides(record: Option<&Record>) -> Result<BTreeMap<PathBuf, Option<String>>> {
    let written = record.into_iter().flat_map(|record| &record.overrides);
    written
        .map(|change| {
            Ok((
                change.path.clone(),
                files::read_text_optional(&change.path)?,
            ))
        })
        .collect()
}

/// What the first container tells that runs remapped and whose root is the engine's.
fn container_maps(containers: &[Container], root: (u32, u32)) -> Option<IdMaps> {
    let mut running = containers
        .iter()
        .filter(|container| container.state.pid != 0);
    running.find_map(|container| {
        let maps = user_namespace::maps_of(container.state.pid).ok()?;
        (range::root_ids(&maps) == root).then_some(maps)
    })
}

/// Of the account that a value of `userns-remap` names.
pub fn ids(user: &str) -> Result<Ids> {
    let setting = Setting::parse(user);
    let (wanted, group) = setting.map_or((user, user), |setting| (setting.user, setting.group));
    let account = accounts::find(wanted)?;
    let mut taken = accounts::taken(Kind::Uid)?;
    taken.extend(accounts::taken(Kind::Gid)?);
    Ok(Ids {
        name: account
            .as_ref()
            .map_or(wanted, |account| &account.name)
            .to_owned(),
        account,
        has_group: accounts::has_group(group)?,
        rules: SubidRules::read()?,
        subuid: accounts::subids(Kind::Uid)?,
        subgid: accounts::subids(Kind::Gid)?,
        taken,
    })
}

/// BuildKit has each step run by a runc of the engine's own, which no list of containers shows. It logs beside the
/// steps' directories.
fn builds(engine_root: &Path) -> Result<Vec<u32>> {
    process::started_with(&engine_root.join("buildkit/executor"))
}

fn active_units() -> Result<Vec<String>> {
    let mut active = vec![];
    for unit in docker::UNITS {
        if systemd::active_state(unit)? == "active" {
            active.push(unit.to_owned());
        }
    }
    Ok(active)
}

fn dependents() -> Result<Vec<(String, String)>> {
    let mut found = BTreeMap::new();
    for unit in docker::UNITS {
        for dependent in systemd::active_dependents(unit)? {
            if !docker::UNITS.contains(&dependent.as_str()) {
                found.insert(
                    dependent.clone(),
                    systemd::property(&dependent, "ExecStop")?,
                );
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn flags() -> Result<Vec<String>> {
    let pid = systemd::property("docker.service", "MainPID")?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line
        .split(|&byte| byte == 0)
        .filter(|word| !word.is_empty());
    Ok(words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect())
}
