//! Maps whose targets are themselves still to be shifted.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CRASH, NEAR, Tree, acl, engine, leaving_strays};
use rechown::{Error, IdMaps, Policy, Progress};
use std::{fs, os::unix::fs::MetadataExt};

const BY: u32 = 10;

fn furnished() -> Tree {
    let tree = Tree::new();
    tree.furnish();
    tree
}

fn near() -> IdMaps {
    IdMaps::parse(&[NEAR]).unwrap()
}

/// The engine in a process of its own, that dies after so many changes of owner. Says whether it died.
fn dies(verb: &str, tree: &Tree, chowns: u32) -> bool {
    let (journal, root) = (
        tree.journal().into_os_string(),
        tree.root().into_os_string(),
    );
    let arguments = match verb {
        "undo" => vec![verb.into(), journal],
        _ => vec![verb.into(), NEAR.into(), journal, root],
    };
    let output = engine(arguments, &[(CRASH, &chowns.to_string())]);
    assert!(
        output.status.success() || output.status.code().is_none(),
        "{output:?}"
    );
    !output.status.success()
}

#[test]
fn a_shift_by_less_than_the_size_is_exact_and_so_is_its_undo() {
    let tree = furnished();
    let (before, shifted) = (tree.manifest(), tree.manifest_shifted_by(BY));
    assert!(
        rechown::shift(&[tree.root()], &near(), Policy::default(), &tree.journal())
            .unwrap()
            .changed
    );
    assert_eq!(tree.manifest(), shifted);
    rechown::undo(&tree.journal()).unwrap();
    assert_eq!(tree.manifest(), before);
    assert!(!tree.journal().exists());
}

#[test]
fn accounts_that_change_places_keep_their_files_apart() {
    let tree = Tree::new();
    let (one, two) = (tree.file("one", 1, 7), tree.file("two", 2, 7));
    acl(&one, "u:2:r,g:8:r");
    let maps = IdMaps::parse(&["u:1:2:1", "u:2:1:1", "u:0:0:1", "g:0:0:100"]).unwrap();
    rechown::shift(&[tree.root()], &maps, Policy::default(), &tree.journal()).unwrap();
    let owner = |path| fs::metadata(path).unwrap().uid();
    assert_eq!((owner(&one), owner(&two)), (2, 1));
    let listed = common::run("getfacl", ["-nc".as_ref(), one.as_os_str()]);
    assert!(
        listed.contains("user:1:r--") && listed.contains("group:8:r--"),
        "{listed}"
    );
}

#[test]
fn killed_anywhere_it_is_resumed_to_the_exact_end() {
    for chowns in (1..).step_by(5) {
        let tree = furnished();
        let shifted = tree.manifest_shifted_by(BY);
        if !dies("shift", &tree, chowns) {
            assert!(chowns > 40, "hardly a run died");
            break;
        }
        let report =
            rechown::shift(&[tree.root()], &near(), Policy::default(), &tree.journal()).unwrap();
        assert!(report.resumed);
        assert_eq!(tree.manifest(), shifted, "after {chowns}");
    }
}

#[test]
fn killed_anywhere_it_can_be_taken_back_also_when_that_is_killed() {
    for chowns in (1..).step_by(5) {
        let tree = furnished();
        let before = tree.manifest();
        if !dies("shift", &tree, chowns) {
            assert!(chowns > 40, "hardly a run died");
            break;
        }
        if dies("undo", &tree, chowns / 2 + 1) {
            let record = rechown::recorded(&tree.journal()).unwrap().unwrap();
            assert_eq!(record.progress, Progress::UndoBegun);
            let again = rechown::shift(&[tree.root()], &near(), Policy::default(), &tree.journal());
            assert!(matches!(again, Err(Error::UndoPending(_))));
        }
        rechown::undo(&tree.journal()).unwrap();
        assert_eq!(tree.manifest(), before, "after {chowns}");
    }
}

#[test]
fn the_undo_of_a_complete_shift_killed_anywhere_is_finished() {
    for chowns in (1..).step_by(5) {
        let tree = furnished();
        let before = tree.manifest();
        rechown::shift(&[tree.root()], &near(), Policy::default(), &tree.journal()).unwrap();
        if !dies("undo", &tree, chowns) {
            assert!(chowns > 40, "hardly a run died");
            break;
        }
        rechown::undo(&tree.journal()).unwrap();
        assert_eq!(tree.manifest(), before, "after {chowns}");
    }
}

#[test]
fn an_id_outside_the_map_is_never_gone_by() {
    let tree = Tree::new();
    let highest = u32::MAX - 1;
    let stray = tree.file("stray", highest, 0);
    tree.file("file", 1, 1);
    rechown::shift(&[tree.root()], &near(), leaving_strays(), &tree.journal()).unwrap();
    assert_eq!(fs::metadata(&stray).unwrap().uid(), highest);
    assert_eq!(fs::metadata(tree.path("file")).unwrap().uid(), 11);
}
