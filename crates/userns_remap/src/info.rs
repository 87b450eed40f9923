//! The module that only tells: observe and plan, without apply.

use crate::{
    args::{self, Args, CarryOver, MaskedData, Others, State},
    compat, config, copying, facts, layout, observe,
    observed::{Entry, Observed},
    plan, present, range,
    references::{self, Reference},
    remap, validate,
    verdict::{self, Facts, Finding},
    workload::Workload,
};
use ansible_module::{Failure, Invocation, Kind, Module, Opt, Outcome, Spec};
use anyhow::Result;
use host::compose::{self, Project};
use idmap::IdMap;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The module `userns_remap_info`.
pub fn main() -> ExitCode {
    if let Some(held) = facts::hold_user_namespace() {
        return held;
    }
    Module::new(spec())
        .version(env!("CARGO_PKG_VERSION"))
        .run(run)
}

#[derive(Debug, Deserialize)]
struct Wanted {
    user: String,
    subid_start: Option<i64>,
    subid_count: Option<i64>,
    config_file: PathBuf,
    compose_projects: Vec<PathBuf>,
}

fn spec() -> Spec {
    let spec = Spec::new("userns_remap_info").about(
        "Tell what Docker's user namespaces would mean for this host and each of its containers",
    );
    args::whose(spec)
        .option(
            Opt::list("compose_projects", Kind::Path)
                .default(json!([]))
                .help("Directories of compose projects, beside those of the containers that are there"),
        )
        .read_only()
        .supports_check_mode()
}

fn run(invocation: &mut Invocation) -> Result<Outcome, Failure> {
    let wanted: Wanted = invocation.parse()?;
    if !host::process::is_root() {
        return Err(Failure::new(
            "userns_remap_info has to run as root; use become: true",
        ));
    }
    let args = Args {
        state: State::Enabled,
        user: wanted.user,
        subid_start: wanted.subid_start,
        subid_count: wanted.subid_count,
        carry_over: CarryOver::InPlace,
        discard_new_data: false,
        host_mode: vec![],
        compose_projects: vec![],
        bind_mounts: BTreeMap::new(),
        other_bind_mounts: Others::Warn,
        allow_loss: vec![],
        masked_data: MaskedData::Refuse,
        compat_links: false,
        config_file: wanted.config_file,
        backup: false,
        timeout: 0,
    };
    let observed = observe::host(&args)?;
    let (workloads, unread) = workloads(&observed, &wanted.compose_projects);
    unread
        .into_iter()
        .for_each(|warning| invocation.warn(warning));
    tell(&args, &observed, &workloads).map_err(Failure::from)
}

fn tell(args: &Args, observed: &Observed, workloads: &[Workload]) -> Result<Outcome> {
    let choice = range::choose(args, &observed.ids);
    let uids = match &choice {
        Ok(choice) => choice.maps.uid.clone(),
        Err(_) => IdMap::new(vec![])?,
    };
    let mut plan = choice
        .as_ref()
        .ok()
        .map(|_| plan::plan(args, observed, ""))
        .transpose()?;
    let surveys = plan.as_mut().map(remap::survey).transpose()?.flatten();
    if let Some(plan) = &mut plan {
        plan.refusals
            .extend(validate::refusal(observed, &plan.steps)?);
    }
    let mut facts = Facts {
        immutable: surveys
            .as_ref()
            .map(|surveys| observe::immutable(observed, surveys))
            .unwrap_or_default(),
        ..observed.facts.clone()
    };
    let to_come = workloads.iter().filter(|workload| workload.id.is_none());
    facts.sources.extend(facts::sources(to_come.clone())?);
    facts.sysctls.extend(facts::sysctls(to_come));
    let found = verdict::findings(workloads, &facts, &uids);
    let (containers, services): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|(workload, _)| workload.id.is_some());
    let range = match &choice {
        Ok(choice) => json!({
            "user": observed.ids.name,
            "exists": observed.ids.account.is_some() && choice.add.is_empty(),
            "uid_map": present::extents(&choice.maps.uid),
            "gid_map": present::extents(&choice.maps.gid),
        }),
        Err(error) => json!({"user": observed.ids.name, "problem": format!("{error:#}")}),
    };
    Ok(Outcome::new(false)
        .returning("engine", engine(observed)?)
        .returning("range", range)
        .returning("refusals", plan.map(|plan| plan.refusals))
        .returning(
            "entries",
            surveys
                .map(|surveys| surveys.init_layers.counts.entries + surveys.others.counts.entries),
        )
        .returning("containers", list(&containers))
        .returning("services", list(&services))
        .returning("masked", masked(observed))
        .returning("references", references(observed, &args.config_file)))
}

fn engine(observed: &Observed) -> Result<Value> {
    let info = &observed.info;
    let collisions = config::collisions(observed.config.as_deref(), &observed.flags)?;
    Ok(json!({
        "version": info.server_version,
        "data_root": observed.data_root,
        "remapped": observed.remapped.map(|(uid, gid)| json!({"uid": uid, "gid": gid})),
        "storage_driver": info.driver,
        "containerd_image_store": info.has_containerd_store(),
        "live_restore": info.live_restore_enabled,
        "swarm": info.swarm.local_node_state,
        "rootless": info.has_security_option("rootless"),
        "units": observed.active_units,
        "command_line": observed.flags,
        "colliding_flags": collisions,
        "free_bytes": observed.free_bytes,
        "copy": copy(observed)?,
    }))
}

/// The room that carry_over=copy needs; nothing to tell of an engine that is remapped.
fn copy(observed: &Observed) -> Result<Value> {
    if observed.remapped.is_some() {
        return Ok(Value::Null);
    }
    let space = copying::measure(&observed.data_root)?;
    Ok(json!({
        "needed_bytes": space.needed(), "free_bytes": space.free_bytes, "reflinks": space.reflinks,
    }))
}

fn list(found: &[(&Workload, Vec<Finding>)]) -> Value {
    let one = |(workload, findings): &(&Workload, Vec<Finding>)| {
        let service = workload.service.as_ref();
        json!({
            "name": workload.name,
            "id": workload.id,
            "status": workload.status,
            "compose": service.map(|(project, service)| json!({"project": project, "service": service})),
            "userns_mode": if workload.host_mode { "host" } else { "" },
            "ok": findings.is_empty(),
            "findings": findings,
        })
    };
    found.iter().map(one).collect()
}

/// What points into the data root, and what to do about it.
fn references(observed: &Observed, config: &Path) -> Value {
    let root = &observed.data_root;
    let one = |found: &Reference| {
        let by_hand = compat::by_hand(found, root);
        json!({
            "file": found.file, "line": found.line, "text": found.text,
            "remedy": by_hand.unwrap_or_else(|| "compat_links".to_owned()),
        })
    };
    references::find(root, config).iter().map(one).collect()
}

/// Roots that hold an engine's data and are not in use.
fn masked(observed: &Observed) -> Value {
    let in_use = observed.engine_root();
    let names = |entries: &[Entry]| -> Vec<String> {
        let filled = entries
            .iter()
            .filter(|entry| !entry.empty && !layout::is_beside(&entry.name));
        filled.map(|entry| entry.name.clone()).collect()
    };
    let remapped = observed
        .remapped_roots
        .iter()
        .map(|(name, entries)| (observed.data_root.join(name), names(entries)));
    // A root that a copy kept is the way back, and nobody's former attempt.
    let plain = match observed.kept() {
        Some(_) => vec![],
        None => names(&observed.root),
    };
    let plain = (observed.data_root.clone(), plain);
    let others = remapped
        .chain([plain])
        .filter(|(path, entries)| *path != in_use && !entries.is_empty());
    others
        .map(|(path, entries)| json!({"path": path, "entries": entries}))
        .collect()
}

/// The containers that are there, and the services that have none yet; with what could not be read.
fn workloads(observed: &Observed, wanted: &[PathBuf]) -> (Vec<Workload>, Vec<String>) {
    let mut workloads = observed.workloads();
    let projects = projects(observed, wanted);
    let mut unread = vec![];
    for project in projects {
        match compose::resolve(&project) {
            Ok(resolved) => {
                let new = Workload::of_project(&resolved).filter(|service| {
                    workloads
                        .iter()
                        .all(|other| other.service != service.service)
                });
                let new: Vec<_> = new.collect();
                workloads.extend(new);
            }
            Err(error) => unread.push(format!(
                "{} could not be read: {error:#}",
                project.directory.display()
            )),
        }
    }
    (workloads, unread)
}

fn projects(observed: &Observed, wanted: &[PathBuf]) -> BTreeSet<Project> {
    let of_containers = observed.containers.iter().filter_map(|container| {
        let label = |key: &str| container.label(&format!("com.docker.compose.project.{key}"));
        let files = label("config_files")
            .unwrap_or_default()
            .split(',')
            .filter(|file| !file.is_empty());
        Some(Project {
            directory: label("working_dir")?.into(),
            files: files.map(|file| Path::new(file).to_owned()).collect(),
        })
    });
    let named = wanted.iter().map(|directory| Project {
        directory: directory.clone(),
        files: vec![],
    });
    of_containers
        .chain(named)
        .filter(|project| project.directory.is_dir())
        .collect()
}
