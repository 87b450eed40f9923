//! A VM is brought back to a snapshot.
//!
//! libvirt can do so itself, external snapshots from 9.9 on. For these it is done here all the same: its own
//! revert deletes the overlays in use, and with them all that was written since, and leaves UEFI's variables
//! as they are.

use super::{
    Plan, Refusals,
    files::{SINCE, damage, in_file, stem},
    unknown,
};
use crate::{
    decide,
    observed::Observed,
    record::Place,
    step::{Aside, Fresh, Power, Resuming, Reverted, What},
};
use host::libvirt::{
    domain::{self, Source},
    snapshot::{Memory, Overlay, Snapshot},
};
use std::{collections::BTreeMap, path::PathBuf};

/// The steps back to the snapshot of this name. `definition` is the VM's at that time, `stamp` names files.
///
/// # Errors
/// Everything that stands in the way.
pub fn revert(
    observed: &Observed,
    name: &str,
    definition: &str,
    stamp: &str,
) -> Result<Plan, Refusals> {
    let Some(snapshot) = observed.snapshot(name) else {
        return Err(vec![unknown(name, observed)]);
    };
    let mut refusals = decide::busy(observed);
    refusals.extend(match snapshot.is_external() {
        true => damage(observed, snapshot),
        false => internal_out_of_reach(observed, snapshot),
    });
    let fresh = overlays(observed, snapshot, stamp);
    let there = fresh
        .iter()
        .filter(|fresh| observed.beside.contains(&fresh.file));
    // What undoes a failed revert would remove them.
    refusals.extend(there.map(|fresh| {
        let file = &fresh.file;
        format!("{file} is there already, as after a revert within this second; try again")
    }));
    if !refusals.is_empty() {
        return Err(refusals);
    }
    match snapshot.is_external() {
        true => external(observed, snapshot, definition, stamp, fresh)
            .map_err(|error| vec![format!("{error:#}")]),
        false => Ok(internal(observed, snapshot)),
    }
}

/// libvirt reverts the files in use. Where an external snapshot froze one of them, its data would go.
fn internal_out_of_reach(observed: &Observed, snapshot: &Snapshot) -> Refusals {
    let mut refusals: Vec<_> = observed.broken(None).collect();
    let name = &snapshot.name;
    for target in within(snapshot) {
        let Some(used) = observed.in_use(target) else {
            refusals.push(format!(
                "the VM has no disk {target} any more, which snapshot \"{name}\" holds"
            ));
            continue;
        };
        let image = observed.chain(target).first();
        if !image.is_some_and(|image| image.snapshots.iter().any(|within| within.name == *name)) {
            refusals.push(format!(
                "{} does not have snapshot \"{name}\" within: remove the external snapshots that were taken later",
                used.file
            ));
        }
        let freezing = observed.snapshots.iter().find(|other| {
            let frozen = other.frozen();
            frozen
                .get(target)
                .is_some_and(|source| source.file == used.file)
        });
        if let Some(other) = freezing {
            refusals.push(format!(
                "{} holds the data of snapshot \"{}\", which would be lost: remove that one first",
                used.file, other.name
            ));
        }
    }
    refusals
}

fn within(snapshot: &Snapshot) -> impl Iterator<Item = &String> {
    let overlays = snapshot.overlays.iter();
    overlays
        .filter(|(_, overlay)| **overlay == Overlay::Internal)
        .map(|(target, _)| target)
}

fn internal(observed: &Observed, snapshot: &Snapshot) -> Plan {
    let name = snapshot.name.clone();
    let steps = [
        What::RevertInternal {
            name: name.clone(),
            was: Power::of(observed.domain.state),
        },
        What::VerifyReverted(Reverted {
            name,
            running: snapshot.state == "running",
            chains: BTreeMap::new(),
        }),
    ];
    let mut plan = Plan::of(&observed.domain.uuid, steps);
    plan.warnings.push(format!(
        "what the VM has written since snapshot \"{}\" is gone, as with every internal snapshot",
        snapshot.name
    ));
    plan
}

fn external(
    observed: &Observed,
    snapshot: &Snapshot,
    definition: &str,
    stamp: &str,
    fresh: Vec<Fresh>,
) -> anyhow::Result<Plan> {
    let (domain, name) = (&observed.domain, &snapshot.name);
    let place = Place::of(&domain.uuid);
    let sources = sources(&fresh);
    let after = domain::with_sources(definition, &sources)?;
    let was = Power::of(domain.state);
    let nvram = saved_nvram(observed, name);
    let aside = Aside {
        directory: place.aside(stamp),
        definition: domain.lasting.clone().unwrap_or_default(),
        nvram: nvram.clone().filter(|_| observed.nvram_there),
    };
    let resuming = resuming(observed, snapshot, &sources);
    let current = observed.snapshots.iter().find(|snapshot| snapshot.current);
    let mut steps = vec![
        What::MakeOverlays(fresh.clone()),
        What::PutAside(aside.clone()),
        What::Stop { was },
    ];
    steps.extend(nvram.map(|file| What::RestoreNvram {
        name: name.clone(),
        aside: aside.directory.join("nvram"),
        file,
    }));
    steps.extend([
        What::Define {
            before: aside.definition.clone(),
            after,
        },
        What::Leave {
            files: left(observed, &sources, &aside),
        },
        What::MakeCurrent {
            name: name.clone(),
            before: current.map(|snapshot| snapshot.name.clone()),
        },
        What::Resume(resuming.clone()),
        What::VerifyReverted(Reverted {
            name: name.clone(),
            running: resuming != Resuming::Off,
            chains: fresh
                .into_iter()
                .map(|fresh| (fresh.target, (fresh.file, fresh.below.file)))
                .collect(),
        }),
    ]);
    let mut plan = Plan::of(&domain.uuid, steps);
    plan.warnings = warnings(observed, &sources);
    Ok(plan)
}

fn overlays(observed: &Observed, snapshot: &Snapshot, stamp: &str) -> Vec<Fresh> {
    let frozen = snapshot.frozen().into_iter();
    frozen
        .map(|(target, below)| {
            // Beside the overlay that the snapshot made, whose directory the VM may write to.
            let beside = match snapshot.overlays.get(&target) {
                Some(Overlay::External(overlay)) => overlay,
                _ => &below.file,
            };
            let stem = stem(beside, observed);
            Fresh {
                file: format!("{stem}.{}{SINCE}{stamp}", in_file(&snapshot.name)),
                target,
                below,
            }
        })
        .collect()
}

fn sources(fresh: &[Fresh]) -> BTreeMap<String, Source> {
    let source = |fresh: &Fresh| Source {
        file: fresh.file.clone(),
        format: "qcow2".to_owned(),
    };
    fresh
        .iter()
        .map(|fresh| (fresh.target.clone(), source(fresh)))
        .collect()
}

fn saved_nvram(observed: &Observed, name: &str) -> Option<PathBuf> {
    let saved = observed
        .records
        .get(name)
        .is_some_and(|record| record.nvram);
    let nvram = observed.domain.nvram.as_ref().filter(|_| saved);
    nvram.map(|nvram| PathBuf::from(&nvram.file))
}

fn resuming(
    observed: &Observed,
    snapshot: &Snapshot,
    sources: &BTreeMap<String, Source>,
) -> Resuming {
    let ran = observed
        .records
        .get(&snapshot.name)
        .map(|record| record.running);
    match &snapshot.memory {
        Memory::External(file) => Resuming::Memory {
            file: file.clone(),
            sources: sources.clone(),
        },
        _ if ran.unwrap_or(snapshot.state == "disk-snapshot") => Resuming::Boot,
        _ => Resuming::Off,
    }
}

/// The overlays in use, unless another snapshot needs them.
fn left(observed: &Observed, sources: &BTreeMap<String, Source>, aside: &Aside) -> Vec<PathBuf> {
    let used = sources.keys().filter_map(|target| observed.in_use(target));
    let mut files: Vec<_> = used.map(|source| PathBuf::from(source.file)).collect();
    files.push(aside.directory.join("domain.xml"));
    files.extend(aside.nvram.as_ref().map(|_| aside.directory.join("nvram")));
    files
}

fn warnings(observed: &Observed, sources: &BTreeMap<String, Source>) -> Vec<String> {
    let since = observed
        .disks()
        .filter(|disk| !sources.contains_key(&disk.target));
    since
        .map(|disk| {
            let (target, file) = (&disk.target, disk.source.as_deref().unwrap_or("-"));
            format!("disk {target} ({file}) is no part of the snapshot; the VM does not have it any more")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{samples::vm, step::Step};
    use host::libvirt::domain::{Nvram, State};

    const DEFINITION: &str = "<domain><name>m</name><devices><disk type='file'><driver type='raw'/><source file='/i/a'/>\
        <backingStore/><target dev='vda'/></disk></devices></domain>";

    fn names(plan: &Plan) -> Vec<&str> {
        plan.steps.iter().map(Step::name).collect()
    }

    fn one() -> Observed {
        vm(&["/i/a.1", "/i/a"]).with_external("1", &["/i/a"], "/i/a.1")
    }

    #[test]
    fn fresh_overlays_stand_on_the_frozen_files() {
        let plan = revert(&one(), "1", DEFINITION, "T").unwrap();
        let expected = [
            "make_overlays",
            "put_aside",
            "stop",
            "define",
            "leave",
            "make_current",
            "resume",
            "verify_reverted",
        ];
        assert_eq!(names(&plan), expected);
        let What::MakeOverlays(fresh) = &plan.steps[0].what else {
            panic!()
        };
        assert_eq!(
            (fresh[0].file.as_str(), fresh[0].below.file.as_str()),
            ("/i/a.1-since-T", "/i/a")
        );
        let What::Define { after, .. } = &plan.steps[3].what else {
            panic!()
        };
        assert!(
            after.contains("/i/a.1-since-T")
                && after.contains("qcow2")
                && !after.contains("backingStore")
        );
        let What::Leave { files } = &plan.steps[4].what else {
            panic!()
        };
        assert_eq!(files[0], PathBuf::from("/i/a.1"));
    }

    #[test]
    fn the_vm_does_what_it_did_then() {
        let resuming = |observed: &Observed| {
            let plan = revert(observed, "1", DEFINITION, "T").unwrap();
            let resume = plan.steps.into_iter().find_map(|step| match step.what {
                What::Resume(resuming) => Some(resuming),
                _ => None,
            });
            resume.unwrap()
        };
        let mut observed = one();
        assert_eq!(resuming(&observed), Resuming::Off);
        observed.records.get_mut("1").unwrap().running = true;
        observed.domain.state = State::ShutOff;
        assert_eq!(resuming(&observed), Resuming::Boot);
        // Of a snapshot by other hands libvirt's word for it tells.
        observed.records.clear();
        assert_eq!(resuming(&observed), Resuming::Off);
        observed.snapshots[0].state = "disk-snapshot".to_owned();
        assert_eq!(resuming(&observed), Resuming::Boot);
        observed.snapshots[0].memory = Memory::External("/i/m".to_owned());
        assert!(matches!(resuming(&observed), Resuming::Memory { file, .. } if file == "/i/m"));
    }

    #[test]
    fn uefi_variables_come_back_where_they_were_saved() {
        let mut observed = one();
        observed.domain.nvram = Some(Nvram {
            file: "/n".to_owned(),
            format: "raw".to_owned(),
        });
        assert!(
            !names(&revert(&observed, "1", DEFINITION, "T").unwrap()).contains(&"restore_nvram")
        );
        observed.records.get_mut("1").unwrap().nvram = true;
        let plan = revert(&observed, "1", DEFINITION, "T").unwrap();
        assert_eq!(
            names(&plan)[..4],
            ["make_overlays", "put_aside", "stop", "restore_nvram"]
        );
    }

    #[test]
    fn a_snapshot_that_cannot_be_shown_to_be_whole_is_refused() {
        let refused = |observed: &Observed| {
            revert(observed, "1", DEFINITION, "T")
                .unwrap_err()
                .join("; ")
        };
        let mut observed = one();
        observed.written.insert("/i/a".to_owned());
        assert!(refused(&observed).contains("/i/a was written to after snapshot \"1\""));
        let mut observed = one();
        observed.frozen = [(
            "1".to_owned(),
            [("vda".to_owned(), Err("no /i/a".to_owned()))].into(),
        )]
        .into();
        assert!(refused(&observed).contains("no /i/a"));
        let observed = vm(&["/i/a"]).with_external("1", &["/i/a"], "/i/a.1");
        assert!(refused(&observed).contains("it is lost"));
        let mut observed = one();
        observed.records.clear();
        observed.modified = [("/i/a".to_owned(), 1005)].into();
        assert!(revert(&observed, "1", DEFINITION, "T").is_ok());
        observed.modified = [("/i/a".to_owned(), 1006)].into();
        assert!(refused(&observed).contains("cannot be shown to be whole"));
        assert!(
            revert(&one(), "7", "", "T").unwrap_err()[0]
                .contains("no snapshot \"7\"; there are: 1")
        );
    }

    #[test]
    fn an_internal_one_must_not_take_others_with_it() {
        let within = |observed: &mut Observed, at: usize| {
            let chain = observed.chains.get_mut("vda").unwrap().as_mut().unwrap();
            chain[at].snapshots = vec![host::qemu_img::Internal {
                name: "0".to_owned(),
                vm_state_size: 0,
            }];
        };
        let mut observed = vm(&["/i/a"]).with_internal("0");
        within(&mut observed, 0);
        let plan = revert(&observed, "0", "", "T").unwrap();
        assert_eq!(names(&plan), ["revert_internal", "verify_reverted"]);
        assert!(plan.warnings[0].contains("is gone"));
        let mut observed =
            vm(&["/i/a.1", "/i/a"])
                .with_internal("0")
                .with_external("1", &["/i/a"], "/i/a.1");
        within(&mut observed, 1);
        assert!(
            revert(&observed, "0", "", "T").unwrap_err()[0]
                .contains("remove the external snapshots")
        );
        let mut observed = vm(&["/i/a"])
            .with_internal("0")
            .with_external("1", &["/i/a"], "/i/a.1");
        within(&mut observed, 0);
        assert!(
            revert(&observed, "0", "", "T").unwrap_err()[0]
                .contains("holds the data of snapshot \"1\"")
        );
    }
}
