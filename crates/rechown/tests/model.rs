//! Random trees, maps and policies: the engine does what a model of a few lines says, or refuses as it says.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{
    Tree,
    random::{Case, Grown, Scope, cases},
    seen::{File, State, state},
};
use idmap::IdMap;
use proptest::{prelude::*, sample::select};
use rechown::{Counts, Error, IdMaps, Immutable, OutsideLinks, Policy, Report, Strays, Unknown};
use std::collections::BTreeMap;

const SCOPE: Scope = Scope {
    outside_links: true,
    foreign_ids: true,
    immutable_fragile: true,
};

/// What a shift is to come to.
#[derive(Debug, Default)]
struct Outcome {
    after: State,
    counts: Counts,
    already: u64,
    unmapped: u64,
    outside_links: u64,
}

#[derive(Debug, PartialEq)]
enum Refusal {
    Unmapped,
    Mixed,
    OutsideLinks,
    Immutable,
}

/// What maps make of the ids of one file.
#[derive(Default)]
struct Ids {
    source: bool,
    target: bool,
    unmapped: u64,
}

impl Ids {
    fn turn(&mut self, map: &IdMap, id: &mut u32) {
        match map.to_host(*id) {
            Some(host) => {
                self.source |= host != *id;
                *id = host;
            }
            None if map.to_container(*id).is_some() => self.target = true,
            None => self.unmapped += 1,
        }
    }

    fn turn_all(&mut self, maps: &IdMaps, file: &mut File) {
        self.turn(&maps.uid, &mut file.uid);
        self.turn(&maps.gid, &mut file.gid);
        for entry in file.acls.iter_mut().flatten() {
            match entry.tag {
                0x02 => self.turn(&maps.uid, &mut entry.id),
                0x08 => self.turn(&maps.gid, &mut entry.id),
                _ => {}
            }
        }
        if let Some(root) = file
            .capability
            .as_mut()
            .and_then(|capability| capability.root.as_mut())
        {
            self.turn(&maps.uid, root);
        }
    }
}

fn predict(before: &State, maps: &IdMaps, policy: Policy) -> Result<Outcome, Refusal> {
    let mut outcome = Outcome::default();
    let (mut mixed, mut immutable) = ((false, false), false);
    let mut inodes = BTreeMap::new();
    for (path, file) in before {
        inodes
            .entry(file.inode)
            .or_insert_with(|| (file, Vec::new()))
            .1
            .push(path);
    }
    let counts = &mut outcome.counts;
    for (old, names) in inodes.into_values() {
        let (mut ids, mut new) = (Ids::default(), old.clone());
        ids.turn_all(maps, &mut new);
        let is_outside = !old.is_directory() && old.links > names.len() as u64;
        outcome.outside_links += u64::from(is_outside && ids.source);
        counts.entries += names.len() as u64;
        counts.hard_links += names.len() as u64 - 1;
        let is_kept = is_outside && policy.outside_links == OutsideLinks::Keep;
        if !is_kept {
            outcome.unmapped += ids.unmapped;
            outcome.already += u64::from(ids.target);
            mixed = (mixed.0 || ids.source, mixed.1 || ids.target);
            let is_touched = ids.source || (ids.target && policy.strays == Strays::Leave);
            immutable |= old.fixed && is_touched;
        }
        if ids.source && !is_kept {
            count(old, &new, counts);
        } else {
            counts.skipped += 1;
            new = old.clone();
        }
        let names = names.into_iter().map(|path| (path.clone(), new.clone()));
        outcome.after.extend(names);
    }
    if policy.unmapped == Unknown::Refuse && outcome.unmapped > 0 {
        Err(Refusal::Unmapped)
    } else if policy.strays == Strays::Refuse && mixed == (true, true) {
        Err(Refusal::Mixed)
    } else if policy.outside_links == OutsideLinks::Refuse && outcome.outside_links > 0 {
        Err(Refusal::OutsideLinks)
    } else if policy.immutable == Immutable::Refuse && immutable {
        Err(Refusal::Immutable)
    } else {
        Ok(outcome)
    }
}

fn count(old: &File, new: &File, counts: &mut Counts) {
    let kind = match old.mode & 0o170_000 {
        0o040_000 => &mut counts.directories,
        0o100_000 => &mut counts.files,
        0o120_000 => &mut counts.symlinks,
        _ => &mut counts.specials,
    };
    *kind += 1;
    let chown = (old.uid, old.gid) != (new.uid, new.gid);
    let acls = old.acls.iter().zip(&new.acls);
    counts.acls += acls.filter(|(old, new)| old != new).count() as u64;
    let capability = old.capability.is_some() && (chown || old.capability != new.capability);
    counts.capabilities += u64::from(capability);
    let set_id = chown && !old.is_directory() && old.mode & 0o6000 != 0;
    counts.set_ids += u64::from(set_id);
    counts.immutable += u64::from(old.fixed);
}

fn refusal(error: &Error) -> Refusal {
    match error {
        Error::Unmapped(_) => Refusal::Unmapped,
        Error::Mixed { .. } => Refusal::Mixed,
        Error::OutsideLinks(_) => Refusal::OutsideLinks,
        Error::Immutable(_) => Refusal::Immutable,
        other => panic!("{other}"),
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    let unmapped = select(vec![Unknown::Refuse, Unknown::Keep]);
    let strays = select(vec![Strays::Refuse, Strays::Leave]);
    let immutable = select(vec![Immutable::Refuse, Immutable::Lift]);
    let links = [
        OutsideLinks::Refuse,
        OutsideLinks::Keep,
        OutsideLinks::Shift,
    ];
    (unmapped, strays, immutable, select(links.to_vec())).prop_map(
        |(unmapped, strays, immutable, outside_links)| Policy {
            unmapped,
            strays,
            immutable,
            outside_links,
        },
    )
}

/// There, there again, and back.
fn check(case: &Case, policy: Policy) -> Result<(), TestCaseError> {
    let grown = Grown::new(Tree::volatile(), case);
    let (tree, maps) = (&grown.tree, case.maps());
    let (root, journal) = ([tree.root()], tree.journal());
    let before = state(&root[0]);
    let survey = rechown::survey(&root, &maps, policy).unwrap();
    let shift = rechown::shift(&root, &maps, policy, &journal);
    let outcome = match predict(&before, &maps, policy) {
        Err(refused) => {
            prop_assert_eq!(refusal(&shift.unwrap_err()), refused);
            prop_assert_eq!(state(&root[0]), before);
            prop_assert!(!journal.exists());
            return Ok(());
        }
        Ok(outcome) => outcome,
    };
    let report = shift.unwrap();
    let after = state(&root[0]);
    prop_assert_eq!(&after, &outcome.after);
    prop_assert_eq!(report.changed, outcome.counts.changed() > 0);
    prop_assert_eq!(&survey.counts, &outcome.counts);
    prop_assert_eq!(survey.target.count, outcome.already);
    prop_assert_eq!(survey.unmapped.count, outcome.unmapped);
    prop_assert_eq!(survey.outside_links.count, outcome.outside_links);
    prop_assert_eq!(report.outside_links.count, outcome.outside_links);
    check_report(&report, &outcome)?;
    if maps.is_disjoint() {
        let again = rechown::shift(&root, &maps, policy, &journal).unwrap();
        prop_assert!(!again.changed);
        prop_assert_eq!(&state(&root[0]), &after);
    }
    let undo = rechown::undo(&journal);
    if policy.immutable == Immutable::Refuse && report.changed && is_in_the_way(&maps, &after) {
        prop_assert_eq!(refusal(&undo.unwrap_err()), Refusal::Immutable);
        prop_assert_eq!(state(&root[0]), after);
        return Ok(());
    }
    undo.unwrap();
    prop_assert_eq!(state(&root[0]), before);
    prop_assert!(!journal.exists());
    Ok(())
}

/// A file that was kept for its name outside and is immutable: the way back refuses it.
fn is_in_the_way(maps: &IdMaps, after: &State) -> bool {
    let back = maps.invert();
    after.values().filter(|file| file.fixed).any(|file| {
        let mut ids = Ids::default();
        ids.turn_all(&back, &mut file.clone());
        ids.source
    })
}

fn check_report(report: &Report, outcome: &Outcome) -> Result<(), TestCaseError> {
    prop_assert_eq!(&report.counts, &outcome.counts);
    prop_assert_eq!(report.already, outcome.already);
    prop_assert_eq!(report.unmapped.count, outcome.unmapped);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 4096,
        ..ProptestConfig::default()
    })]
    #[test]
    fn a_shift_does_what_the_model_says_or_refuses_as_it_says(
        case in cases(SCOPE, 0..=25),
        policy in policies(),
    ) {
        check(&case, policy)?;
    }
}

#[test]
fn a_shift_by_way_of_free_ids_reports_all_that_it_changed() {
    let tree = Tree::new();
    tree.file("group-only", 50, 7);
    let maps = IdMaps::parse(&["u:1:5:10", "g:7:1007:1"]).unwrap();
    let policy = Policy {
        unmapped: Unknown::Keep,
        ..Policy::default()
    };
    let report = rechown::shift(&[tree.root()], &maps, policy, &tree.journal()).unwrap();
    assert_eq!((report.counts.files, report.unmapped.count), (1, 3));
}

#[test]
fn an_immutable_file_that_was_kept_is_not_in_the_way_of_the_undo() {
    let grown = Grown::new(Tree::volatile(), &Case::kept_immutable());
    let (tree, maps) = (&grown.tree, Case::kept_immutable().maps());
    let policy = Policy {
        outside_links: OutsideLinks::Keep,
        ..Policy::default()
    };
    rechown::shift(&[tree.root()], &maps, policy, &tree.journal()).unwrap();
    rechown::undo(&tree.journal()).unwrap();
}
