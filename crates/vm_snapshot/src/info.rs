//! The module that only tells: observe and decide, without apply.

use crate::{
    args::{self, Abandoned, Args, Maybe, Wanted},
    decide::{self, Decision},
    observe,
    observed::{Agent, Observed},
    present,
};
use ansible_module::{Failure, Invocation, Kind, Module, Opt, Outcome, Spec};
use anyhow::{Context, Result};
use host::libvirt::{
    Libvirt,
    domain::{Disk, State},
    snapshot::Snapshot,
    xml,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeSet, process::ExitCode};

/// The module `vm_snapshot_info`.
pub fn main() -> ExitCode {
    Module::new(spec())
        .version(env!("CARGO_PKG_VERSION"))
        .run(run)
}

#[derive(Debug, Deserialize)]
struct Asked {
    vm: Option<Vec<String>>,
    uri: String,
    timeout: i64,
}

fn spec() -> Spec {
    let spec = Spec::new("vm_snapshot_info")
        .about("Tell which snapshots the VMs of libvirt have, and which they could have")
        .option(
            Opt::list("vm", Kind::Str).help("The VMs' names, exactly, or UUIDs; if unset, all"),
        );
    args::connection(spec).read_only()
}

fn run(invocation: &mut Invocation) -> Result<Outcome, Failure> {
    let asked: Asked = invocation.parse()?;
    // What this module remembers is root's only, and without it its snapshots would seem another's.
    if !host::process::is_root() {
        return Err(Failure::new(
            "vm_snapshot_info has to run as root; use become: true",
        ));
    }
    let libvirt = Libvirt {
        timeout: args::patience(asked.timeout)?,
        uri: asked.uri,
    };
    let host = host(&libvirt)?;
    let vms = match asked.vm {
        Some(names) => named(&libvirt, &names)?,
        None => all(&libvirt, invocation)?,
    };
    let vms: Value = vms.iter().map(vm).collect();
    Ok(Outcome::new(false)
        .returning("host", host)
        .returning("vms", vms))
}

/// Those that were asked for, each once.
fn named(libvirt: &Libvirt, names: &[String]) -> Result<Vec<Observed>> {
    let mut found = BTreeSet::new();
    let mut vms = vec![];
    for name in names {
        let uuid = libvirt.find(name)?;
        if found.insert(uuid.clone()) {
            vms.push(read(libvirt, &uuid, name)?);
        }
    }
    Ok(vms)
}

/// Every VM that can be read; one that cannot does not hide the others.
fn all(libvirt: &Libvirt, invocation: &mut Invocation) -> Result<Vec<Observed>> {
    let mut vms = vec![];
    for (uuid, name) in libvirt.list()? {
        match read(libvirt, &uuid, &name) {
            Ok(observed) => vms.push(observed),
            Err(error) => invocation.warn(format!("{error:#}")),
        }
    }
    Ok(vms)
}

fn read(libvirt: &Libvirt, uuid: &str, name: &str) -> Result<Observed> {
    observe::alone(libvirt, uuid).with_context(|| format!("VM \"{name}\" could not be read"))
}

fn host(libvirt: &Libvirt) -> Result<Value> {
    let (version, qemu) = libvirt.versions()?;
    let capabilities = xml::parse(&libvirt.call(&["capabilities"])?)?;
    let external = xml::children(&capabilities, "guest")
        .any(|guest| xml::at(guest, &["features", "externalSnapshot"]).is_some());
    Ok(json!({
        "libvirt": present::version(version),
        "qemu": present::version(qemu),
        "uri": libvirt.uri,
        "can": {"external_revert": external, "internal_uefi": version >= decide::INTERNAL_WITH_UEFI},
    }))
}

fn vm(observed: &Observed) -> Value {
    let domain = &observed.domain;
    json!({
        "name": domain.name,
        "uuid": domain.uuid,
        "state": match domain.state {
            State::Running => "running",
            State::Paused => "paused",
            State::ShutOff => "shutoff",
            State::Other => "other",
        },
        "reason": domain.reason,
        "firmware": if domain.uefi { "efi" } else { "bios" },
        "nvram": domain.nvram.as_ref().map(|nvram| &nvram.file),
        "agent": match observed.agent {
            Agent::None => "none",
            Agent::Silent => "silent",
            Agent::Answers => "answers",
        },
        "disks": observed.disks().map(|told| disk(observed, told)).collect::<Value>(),
        "snapshots": snapshots(observed),
        "abandoned": present::abandoned(observed),
        "decision": decision(observed, Wanted::Auto, Maybe::Auto, Maybe::Auto)
            .ok()
            .map(|decision| present::decision(&decision)),
        "can": can(observed),
    })
}

fn disk(observed: &Observed, disk: &Disk) -> Value {
    let chain = observed.chain(&disk.target);
    let problem = match observed.chains.get(&disk.target) {
        Some(Err(problem)) => Some(problem),
        _ => None,
    };
    let files = present::files(observed, &disk.target);
    let sizes = files.iter().map(|file| observed.sizes.get(*file).copied());
    let size: Option<u64> = sizes.sum();
    json!({
        "target": disk.target,
        "device": disk.device,
        "format": disk.format,
        "file": disk.source,
        // Of no files the sum would be nothing, which is something else than unknown.
        "size": size.filter(|_| !files.is_empty()),
        "chain": files,
        "problem": problem,
        "virtual_size": chain.first().map(|image| image.virtual_size),
        "free": disk.source.as_ref().and_then(|file| observed.free.get(file)),
    })
}

/// Each behind its parent and before its parent's next child.
fn snapshots(observed: &Observed) -> Value {
    let mut tree = vec![];
    branch(observed, None, 0, &mut tree);
    let one = |(depth, snapshot): &(usize, &Snapshot)| {
        let children: Vec<_> = children(observed, Some(&snapshot.name))
            .map(|child| &child.name)
            .collect();
        let mut told = present::snapshot(observed, snapshot);
        told["children"] = json!(children);
        told["depth"] = json!(depth);
        told
    };
    tree.iter().map(one).collect()
}

fn branch<'o>(
    observed: &'o Observed,
    parent: Option<&str>,
    depth: usize,
    tree: &mut Vec<(usize, &'o Snapshot)>,
) {
    for child in children(observed, parent) {
        tree.push((depth, child));
        branch(observed, Some(&child.name), depth + 1, tree);
    }
}

/// The snapshots below one; or those without a parent, and those whose parent libvirt has lost.
fn children<'o>(
    observed: &'o Observed,
    parent: Option<&str>,
) -> impl Iterator<Item = &'o Snapshot> {
    let known = |name: &&String| observed.snapshot(name).is_some();
    observed.snapshots.iter().filter(move |snapshot| {
        snapshot.parent.as_ref().filter(known).map(String::as_str) == parent
    })
}

/// What `vm_snapshot` would say now to each wish that it can be asked for.
fn can(observed: &Observed) -> Value {
    use Maybe::{Auto, True};
    let told = |kind, memory, quiesce| {
        let obstacles = decision(observed, kind, memory, quiesce).err();
        let reason = obstacles.map(|obstacles| obstacles.join("; "));
        json!({"possible": reason.is_none(), "reason": reason})
    };
    json!({
        "internal": told(Wanted::Internal, Auto, Auto),
        "external": told(Wanted::External, Auto, Auto),
        "memory": told(Wanted::Auto, True, Auto),
        "quiesce": told(Wanted::Auto, Auto, True),
    })
}

fn decision(
    observed: &Observed,
    kind: Wanted,
    memory: Maybe,
    quiesce: Maybe,
) -> Result<Decision, Vec<String>> {
    let args = Args {
        vm: observed.domain.uuid.clone(),
        name: None,
        state: args::State::Present,
        description: None,
        kind,
        memory,
        quiesce,
        keep: None,
        older_than: None,
        abandoned: Abandoned::Keep,
        uri: String::new(),
        timeout: 0,
    };
    decide::decide(&args, observed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use host::qemu_img::Image;

    /// A VM that is off, with one disk that is raw.
    fn with_disk() -> Observed {
        let mut observed = samples::vm(&["/i/a"]);
        observed.domain.disks[0].format = "raw".to_owned();
        observed.domain.state = State::ShutOff;
        observed
    }

    #[test]
    fn snapshots_are_told_as_a_tree() {
        let one = |name: &str, parent: Option<&str>| Snapshot {
            name: name.to_owned(),
            parent: parent.map(str::to_owned),
            ..Snapshot::default()
        };
        let observed = Observed {
            snapshots: vec![
                one("a", None),
                one("x", Some("gone")),
                one("b", Some("a")),
                one("c", Some("a")),
                one("d", Some("b")),
            ],
            ..Observed::default()
        };
        let told = snapshots(&observed);
        let told: Vec<_> = told.as_array().unwrap().iter().collect();
        let order: Vec<_> = told
            .iter()
            .map(|one| {
                (
                    one["name"].as_str().unwrap(),
                    one["depth"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(order, [("a", 0), ("b", 1), ("d", 2), ("c", 1), ("x", 0)]);
        assert_eq!(told[0]["children"], json!(["b", "c"]));
    }

    #[test]
    fn what_can_be_had_is_what_the_module_would_say() {
        let mut observed = with_disk();
        let told = can(&observed);
        assert_eq!(told["external"], json!({"possible": true, "reason": null}));
        for (wish, reason) in [
            ("internal", "only qcow2 holds internal snapshots"),
            ("memory", "it is off"),
            ("quiesce", "it is off"),
        ] {
            assert_eq!(told[wish]["possible"], false, "{wish}");
            assert!(
                told[wish]["reason"].as_str().unwrap().contains(reason),
                "{told}"
            );
        }
        observed.domain.managed_save = true;
        let told = vm(&observed);
        assert!(
            told["can"]["external"]["reason"]
                .as_str()
                .unwrap()
                .contains("managedsave")
        );
        assert_eq!(told["decision"], Value::Null);
    }

    #[test]
    fn a_disk_whose_files_are_not_whole_says_so_and_has_no_size() {
        let mut observed = with_disk();
        let told = |observed: &Observed| vm(observed)["disks"][0].clone();
        observed.chains = [("vda".to_owned(), Err("no /i/base".to_owned()))].into();
        let broken = told(&observed);
        assert_eq!(broken["problem"], "no /i/base");
        assert_eq!(
            (&broken["size"], &broken["chain"]),
            (&Value::Null, &json!([]))
        );
        let image = |file: &str| Image {
            filename: file.to_owned(),
            virtual_size: 9000,
            ..Image::default()
        };
        let chain = Ok(vec![image("/i/a"), image("/i/base")]);
        observed.chains = [("vda".to_owned(), chain)].into();
        observed.sizes = [("/i/a".to_owned(), 5), ("/i/base".to_owned(), 70)].into();
        let whole = told(&observed);
        assert_eq!(
            (&whole["size"], &whole["virtual_size"]),
            (&json!(75), &json!(9000))
        );
        assert_eq!(
            (&whole["free"], &whole["problem"]),
            (&json!(1_u64 << 40), &Value::Null)
        );
    }
}
