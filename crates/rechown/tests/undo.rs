//! The way back, and crashes on the way there and back.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    CRASH, Tree, leaving_strays, maps, run, shift_elsewhere, shift_rest_elsewhere, undo_elsewhere,
};
use rechown::{Error, IdMaps, Policy, Progress};
use std::fs;

fn furnished_with_strays() -> Tree {
    let tree = furnished();
    tree.stray();
    tree
}

fn furnished() -> Tree {
    let tree = Tree::new();
    tree.furnish();
    tree
}

/// A tree on which a run died.
struct Crashed {
    tree: Tree,
    /// Before the shift, and how the shift has to leave it.
    before: String,
    shifted: String,
}

/// Lets runs die after ever more changes of owner; the one that survives ends it. The threads do not keep
/// an order, so that every third number meets them all.
fn crashes(
    make: impl Fn() -> Tree,
    prepare: impl Fn(&Tree),
    die: impl Fn(&Tree, &[(&str, &str)]) -> std::process::Output,
    check: impl Fn(Crashed),
) {
    for chowns in (1..).step_by(3) {
        let tree = make();
        let (before, shifted) = (tree.manifest(), tree.shifted_manifest());
        prepare(&tree);
        let output = die(&tree, &[(CRASH, &chowns.to_string())]);
        if output.status.success() {
            assert!(chowns > 3, "hardly a run died: {output:?}");
            return;
        }
        assert_eq!(output.status.code(), None, "not a crash: {output:?}");
        check(Crashed {
            tree,
            before,
            shifted,
        });
    }
}

#[test]
fn undo_leaves_no_trace() {
    let tree = furnished();
    let before = tree.manifest();
    rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    let report = rechown::undo(&tree.journal()).unwrap();
    assert!(report.changed);
    assert_eq!(tree.manifest(), before);
    assert_eq!(fs::read_dir(tree.beside("")).unwrap().count(), 1);
    assert!(!rechown::undo(&tree.journal()).unwrap().changed);
}

#[test]
fn undo_carries_back_what_was_written_since() {
    let tree = furnished();
    rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    run(
        "chmod",
        [
            "4750".as_ref(),
            tree.file("new", 100_007, 100_008).as_os_str(),
        ],
    );
    let new = tree.path("new");
    run(
        "setcap",
        [
            "-n".as_ref(),
            "100009".as_ref(),
            "cap_net_raw+ep".as_ref(),
            new.as_os_str(),
        ],
    );
    rechown::undo(&tree.journal()).unwrap();
    let manifest = tree.manifest();
    let line = manifest
        .lines()
        .find(|line| line.starts_with("b'/new'"))
        .unwrap();
    assert!(line.starts_with("b'/new' 0o104750 7 8 "), "{line}");
    assert!(line.contains(", 9))]"), "{line}");
}

#[test]
fn undo_leaves_alone_what_is_back_already_and_reports_what_is_neither() {
    let tree = furnished();
    rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    tree.file("back", 5, 5);
    tree.file("neither", 70_000, 100_003);
    let report = rechown::undo(&tree.journal()).unwrap();
    assert_eq!(report.already, 1);
    assert_eq!(report.unmapped.examples[0].path, tree.path("neither"));
    let manifest = tree.manifest();
    assert!(manifest.contains("b'/back' 0o100644 5 5 "), "{manifest}");
    assert!(
        manifest.contains("b'/neither' 0o100644 70000 3 "),
        "{manifest}"
    );
}

#[test]
fn undo_takes_back_the_last_of_several_shifts() {
    let tree = Tree::new();
    tree.file("file", 5, 5);
    rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    let onward = IdMaps::parse(&["100000:200000:65536"]).unwrap();
    rechown::shift(&[tree.root()], &onward, Policy::default(), &tree.journal()).unwrap();
    let record = rechown::recorded(&tree.journal()).unwrap().unwrap();
    assert_eq!((record.maps, record.progress), (onward, Progress::Complete));
    rechown::undo(&tree.journal()).unwrap();
    assert!(tree.manifest().contains("b'/file' 0o100644 100005 "));
    assert_eq!(rechown::recorded(&tree.journal()).unwrap(), None);
}

#[test]
fn undo_without_a_journal_does_nothing() {
    let tree = furnished();
    let before = tree.manifest();
    assert!(!rechown::undo(&tree.journal()).unwrap().changed);
    assert_eq!(tree.manifest(), before);
}

#[test]
fn a_shift_that_died_anywhere_is_finished_by_the_next() {
    let nothing = |_: &Tree| ();
    crashes(
        furnished,
        nothing,
        shift_elsewhere,
        |Crashed {
             tree,
             before,
             shifted,
         }| {
            let report =
                rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal())
                    .unwrap();
            assert!(report.resumed && report.lost.is_empty());
            assert_eq!(tree.manifest(), shifted);
            rechown::undo(&tree.journal()).unwrap();
            assert_eq!(tree.manifest(), before);
        },
    );
}

#[test]
fn a_shift_that_died_anywhere_can_be_taken_back() {
    let nothing = |_: &Tree| ();
    crashes(
        furnished,
        nothing,
        shift_elsewhere,
        |Crashed { tree, before, .. }| {
            assert!(rechown::undo(&tree.journal()).unwrap().resumed);
            assert_eq!(tree.manifest(), before);
            assert!(!tree.journal().exists());
        },
    );
}

#[test]
fn an_undo_that_died_anywhere_is_finished_by_the_next() {
    let shift = |tree: &Tree| {
        rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    };
    crashes(
        furnished,
        shift,
        undo_elsewhere,
        |Crashed { tree, before, .. }| {
            let error = rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal())
                .unwrap_err();
            assert!(matches!(error, Error::UndoPending(_)), "{error}");
            let record = rechown::recorded(&tree.journal()).unwrap().unwrap();
            assert_eq!(record.progress, Progress::UndoBegun);
            assert!(rechown::undo(&tree.journal()).unwrap().resumed);
            assert_eq!(tree.manifest(), before);
            assert_eq!(fs::read_dir(tree.beside("")).unwrap().count(), 1);
        },
    );
}

#[test]
fn the_undo_of_a_dead_shift_may_die_too() {
    let half_shift = |tree: &Tree| {
        assert!(!shift_elsewhere(tree, &[(CRASH, "18")]).status.success());
    };
    crashes(
        furnished,
        half_shift,
        undo_elsewhere,
        |Crashed { tree, before, .. }| {
            rechown::undo(&tree.journal()).unwrap();
            assert_eq!(tree.manifest(), before);
        },
    );
}

#[test]
fn strays_are_left_alone_there_and_back() {
    let tree = furnished_with_strays();
    let (before, shifted) = (tree.manifest(), tree.shifted_manifest());
    let report =
        rechown::shift(&[tree.root()], &maps(), leaving_strays(), &tree.journal()).unwrap();
    assert_eq!((report.already, report.unmapped.count), (4, 1));
    assert_eq!(tree.manifest(), shifted);
    rechown::undo(&tree.journal()).unwrap();
    assert_eq!(tree.manifest(), before);
}

#[test]
fn strays_survive_a_crash_and_its_undo() {
    crashes(
        furnished_with_strays,
        |_| (),
        shift_rest_elsewhere,
        |Crashed { tree, before, .. }| {
            // Dies on the way back too, with the strays on the wrong side.
            assert!(!undo_elsewhere(&tree, &[(CRASH, "3")]).status.success());
            rechown::undo(&tree.journal()).unwrap();
            assert_eq!(tree.manifest(), before);
        },
    );
}

#[test]
fn undo_follows_trees_that_came_and_went() {
    let tree = Tree::new();
    for name in ["a", "b"] {
        tree.file(format!("{name}/file"), 5, 5);
        tree.file(format!("{name}/stray"), 100_005, 5);
    }
    let roots = |names: &[&str]| names.iter().map(|name| tree.path(name)).collect::<Vec<_>>();
    rechown::shift(
        &roots(&["a", "b"]),
        &maps(),
        leaving_strays(),
        &tree.journal(),
    )
    .unwrap();
    fs::remove_dir_all(tree.path("a")).unwrap();
    tree.file("c/new", 100_007, 100_007);
    let root = tree.path("c");
    run("chown", ["100000".as_ref(), root.as_os_str()]);
    rechown::undo_at(&roots(&["b", "c"]), &tree.journal()).unwrap();
    let manifest = tree.manifest();
    for line in [
        "/c' 0o40755 0 0 ",
        "/c/new' 0o100644 7 7 ",
        "/b/file' 0o100644 5 5 ",
        "/b/stray' 0o100644 100005 5 ",
    ] {
        assert!(manifest.contains(line), "{line} in {manifest}");
    }
}

#[test]
fn a_file_replaced_since_the_crash_gets_no_set_id_bit() {
    let tree = Tree::new();
    let path = tree.file("set-id", 5, 5);
    run("chmod", ["4755".as_ref(), path.as_os_str()]);
    assert!(!shift_elsewhere(&tree, &[(CRASH, "2")]).status.success());
    fs::remove_file(&path).unwrap();
    tree.file("set-id", 5, 5);
    let report =
        rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    assert_eq!(report.lost.examples, [path]);
    assert!(tree.manifest().contains("b'/set-id' 0o100644 100005 "));
}
