//! A snapshot is taken.

use super::{
    Plan, Refusals,
    files::{damage, in_file, stem},
};
use crate::{
    args::{Args, Wanted},
    decide::{self, Decision, Kind},
    observed::Observed,
    step::{Taking, What},
};
use host::libvirt::{
    domain::{Disk, State},
    snapshot::{Memory, Overlay, Snapshot},
};
use std::collections::{BTreeMap, BTreeSet};

/// The steps to a snapshot of this name; none where it is there.
///
/// # Errors
/// Everything that stands in the way.
pub fn take(args: &Args, observed: &Observed, name: &str) -> Result<Plan, Refusals> {
    if let Some(snapshot) = observed.snapshot(name) {
        return there(args, observed, snapshot).map(|()| Plan::default());
    }
    let decision = decide::decide(args, observed)?;
    let overlays = overlays(&decision, observed, name)?;
    let domain = &observed.domain;
    let taking = Taking {
        name: name.to_owned(),
        description: args.description.clone(),
        kind: decision.kind,
        memory: memory(&decision, &overlays),
        before: sources(observed),
        overlays,
        quiesce: decision.quiesce,
        running: domain.state == State::Running,
    };
    let new: Vec<_> = taking.new_files().cloned().collect();
    let there = new.iter().filter(|file| observed.beside.contains(*file));
    let refusals: Vec<_> = there.map(|file| there_already(file)).collect();
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mut steps = vec![
        What::SaveDefinition {
            name: name.to_owned(),
            new,
            definition: domain.lasting.clone().unwrap_or_default(),
        },
        What::Take(taking.clone()),
    ];
    let nvram = domain
        .nvram
        .as_ref()
        .filter(|_| decision.kind == Kind::External && observed.nvram_there);
    steps.extend(nvram.map(|nvram| What::SaveNvram {
        name: name.to_owned(),
        file: nvram.file.clone().into(),
    }));
    steps.push(What::Verify {
        taking,
        nvram: nvram.is_some(),
    });
    let mut plan = Plan::of(&domain.uuid, steps);
    let mixed = observed
        .snapshots
        .iter()
        .find(|snapshot| !snapshot.is_external());
    if let (Kind::External, Some(internal)) = (decision.kind, mixed) {
        plan.warnings.push(format!(
            "the VM has the internal snapshot \"{}\", to which it can be brought back only once \"{name}\" is removed",
            internal.name
        ));
    }
    plan.decision = Some(decision);
    Ok(plan)
}

/// What stands in the way of a file that would be made.
pub fn there_already(file: &str) -> String {
    format!("{file} is there already; move it away, or give another name")
}

/// Whether the snapshot that is there is the one that is wished for, and still good.
fn there(args: &Args, observed: &Observed, snapshot: &Snapshot) -> Result<(), Refusals> {
    let name = &snapshot.name;
    let kind = match snapshot.is_external() {
        true => Wanted::External,
        false => Wanted::Internal,
    };
    let mut refusals = vec![];
    if args.kind != Wanted::Auto && args.kind != kind {
        refusals.push(format!(
            "there is a snapshot \"{name}\" of the other kind; give another name"
        ));
    }
    refusals.extend(damage(observed, snapshot));
    match refusals.is_empty() {
        true => Ok(()),
        false => Err(refusals),
    }
}

fn sources(observed: &Observed) -> BTreeMap<String, host::libvirt::domain::Source> {
    let disks = observed.disks();
    disks
        .filter_map(|disk| Some((disk.target.clone(), observed.in_use(&disk.target)?)))
        .collect()
}

fn memory(decision: &Decision, overlays: &BTreeMap<String, Overlay>) -> Memory {
    let first = overlays.values().find_map(|overlay| match overlay {
        Overlay::External(file) => Some(file),
        _ => None,
    });
    match (decision.memory, first) {
        (false, _) => Memory::No,
        (true, Some(file)) => Memory::External(format!("{file}.memory")),
        (true, None) => Memory::Internal,
    }
}

fn overlays(
    decision: &Decision,
    observed: &Observed,
    name: &str,
) -> Result<BTreeMap<String, Overlay>, Refusals> {
    let mut overlays: BTreeMap<String, Overlay> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for disk in &observed.domain.disks {
        let overlay = match decision.kind {
            _ if !disk.holds_data() => Overlay::No,
            Kind::Internal => Overlay::Internal,
            Kind::External => Overlay::External(overlay(disk, observed, name, &mut taken)),
        };
        overlays.insert(disk.target.clone(), overlay);
    }
    Ok(overlays)
}

fn overlay(disk: &Disk, observed: &Observed, suffix: &str, taken: &mut BTreeSet<String>) -> String {
    let stem = stem(disk.source.as_deref().unwrap_or_default(), observed);
    let suffix = in_file(suffix);
    let short = format!("{stem}.{suffix}");
    let file = match taken.contains(&short) {
        true => format!("{stem}-{}.{suffix}", disk.target),
        false => short,
    };
    taken.insert(file.clone());
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        samples::{args, disk, vm},
        step::Step,
    };
    use host::libvirt::domain::Nvram;
    use serde_json::json;

    #[test]
    fn overlays_are_named_after_the_disk_and_the_snapshot() {
        let mut observed =
            vm(&["/i/a.1", "/i/a.qcow2"]).with_external("1", &["/i/a.qcow2"], "/i/a.1");
        observed.domain.disks.push(disk("vdb", "/i/a.raw"));
        observed.domain.disks.push(disk("vdc", "/i/c.raw"));
        let plan = take(&args(json!({})), &observed, "2").unwrap();
        let What::Take(taking) = &plan.steps[1].what else {
            panic!()
        };
        let external = |file: &str| Overlay::External(file.to_owned());
        let expected = [("vda", "/i/a.2"), ("vdb", "/i/a-vdb.2"), ("vdc", "/i/c.2")];
        let expected = expected.map(|(target, file)| (target.to_owned(), external(file)));
        assert_eq!(taking.overlays, expected.into());
        let plan = take(&args(json!({})), &vm(&["/i/a,b.qcow2"]), "c,d").unwrap();
        let What::Take(taking) = &plan.steps[1].what else {
            panic!()
        };
        assert_eq!(taking.overlays["vda"], external("/i/a_b.c_d"));
    }

    #[test]
    fn uefi_variables_are_saved_once_there_are_any() {
        let mut observed = vm(&["/i/a"]);
        observed.domain.nvram = Some(Nvram {
            file: "/n".to_owned(),
            format: "raw".to_owned(),
        });
        let running = take(&args(json!({})), &observed, "s").unwrap_err();
        assert!(running[0].contains("/n, which holds its UEFI variables, is missing"));
        observed.domain.state = State::ShutOff;
        for (there, steps) in [(false, 3), (true, 4)] {
            observed.nvram_there = there;
            let plan = take(&args(json!({})), &observed, "s").unwrap();
            assert_eq!(plan.steps.len(), steps);
        }
    }

    #[test]
    fn the_memory_lies_beside_the_first_disk() {
        let plan = take(&args(json!({"memory": "true"})), &vm(&["/i/a.qcow2"]), "s").unwrap();
        let What::Take(taking) = &plan.steps[1].what else {
            panic!()
        };
        assert_eq!(taking.memory, Memory::External("/i/a.s.memory".to_owned()));
    }

    #[test]
    fn one_that_is_there_is_looked_at_and_not_taken_again() {
        let mut observed = vm(&["/i/a.1", "/i/a"]).with_external("1", &["/i/a"], "/i/a.1");
        let again =
            |observed: &Observed, kind: &str| take(&args(json!({"kind": kind})), observed, "1");
        assert!(again(&observed, "auto").unwrap().steps.is_empty());
        assert!(again(&observed, "external").unwrap().steps.is_empty());
        assert!(again(&observed, "internal").unwrap_err()[0].contains("of the other kind"));
        observed.written.insert("/i/a".to_owned());
        assert!(again(&observed, "auto").unwrap_err()[0].contains("was written to"));
    }

    #[test]
    fn an_external_one_above_an_internal_one_is_warned_of() {
        let observed = vm(&["/i/a"]).with_internal("in");
        let plan = take(&args(json!({"kind": "external"})), &observed, "ex").unwrap();
        assert!(plan.warnings[0].contains("internal snapshot \"in\""));
        let names: Vec<_> = plan.steps.iter().map(Step::name).collect();
        assert_eq!(names, ["save_definition", "take", "verify"]);
    }
}
