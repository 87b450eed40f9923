//! What a policy allows that is refused without it, there and back.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CRASH, FAR, LIFT, NEAR, Tree, engine, extents, maps, owner, run};
use rechown::{
    Change, Error, IdMaps, Immutable, OutsideLinks, Owner, Policy, Strays, Survey, Unknown,
};
use std::{fs, os::unix::fs::chown};

const KEEP_LINKS: Policy = Policy {
    unmapped: Unknown::Refuse,
    strays: Strays::Refuse,
    immutable: Immutable::Refuse,
    outside_links: OutsideLinks::Keep,
};

#[test]
fn ids_outside_the_map_are_kept_there_and_back() {
    for (map, to) in [(FAR, 100_005), (NEAR, 15)] {
        let tree = Tree::new();
        tree.furnish();
        let half = tree.file("half", 70_000, 5);
        let none = tree.file("none", 70_001, 70_002);
        common::acl(&half, "u:70003:r,u:5:rw");
        let before = tree.manifest();
        let policy = Policy {
            unmapped: Unknown::Keep,
            ..Policy::default()
        };
        let report =
            rechown::shift(&[tree.root()], &extents(map), policy, &tree.journal()).unwrap();
        assert_eq!(
            (owner(&half), owner(&none)),
            ((70_000, to), (70_001, 70_002))
        );
        let listed = run("getfacl", ["-nc".as_ref(), half.as_os_str()]);
        assert!(listed.contains("user:70003:r--") && listed.contains(&format!("user:{to}:rw-")));
        assert_eq!(report.unmapped.count, 4);
        assert_eq!(
            rechown::recorded(&tree.journal()).unwrap().unwrap().policy,
            policy
        );
        rechown::undo(&tree.journal()).unwrap();
        assert_eq!(tree.manifest(), before);
    }
}

#[test]
fn to_keep_what_is_unmapped_is_not_to_leave_strays() {
    let tree = Tree::new();
    tree.file("stray", 100_005, 5);
    let policy = Policy {
        unmapped: Unknown::Keep,
        ..Policy::default()
    };
    let error = rechown::shift(&[tree.root()], &maps(), policy, &tree.journal()).unwrap_err();
    assert!(matches!(error, Error::Mixed { .. }), "{error}");
    let strays = Policy {
        strays: Strays::Leave,
        ..Policy::default()
    };
    tree.file("foreign", 70_000, 5);
    let error = rechown::shift(&[tree.root()], &maps(), strays, &tree.journal()).unwrap_err();
    assert!(matches!(error, Error::Unmapped(_)), "{error}");
}

/// Files with several names: inside only, with one outside, and with one outside and on the target side.
fn linked() -> Tree {
    let tree = Tree::new();
    fs::hard_link(tree.file("inside", 5, 5), tree.path("inside-too")).unwrap();
    fs::hard_link(tree.file("dir/out", 5, 5), tree.beside("outside")).unwrap();
    fs::hard_link(tree.path("dir/out"), tree.path("out-too")).unwrap();
    run("chmod", ["4755".as_ref(), tree.path("dir/out").as_os_str()]);
    fs::hard_link(
        tree.file("target", 100_005, 15),
        tree.beside("outside-target"),
    )
    .unwrap();
    tree
}

#[test]
fn a_name_outside_is_refused_only_where_a_shift_would_change_it() {
    let tree = linked();
    let before = tree.manifest();
    let error = rechown::shift(
        &[tree.root()],
        &extents(NEAR),
        Policy::default(),
        &tree.journal(),
    );
    let Err(Error::Unmapped(_)) = error else {
        panic!("{error:?}");
    };
    fs::remove_file(tree.path("target")).unwrap();
    let refused =
        || rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap_err();
    let Error::OutsideLinks(sample) = refused() else {
        panic!("{}", refused());
    };
    assert_eq!(sample.count, 1);
    assert!(before.contains("b'/dir/out' 0o104755 5 5 "), "{before}");
    assert_eq!(owner(&tree.beside("outside")), (5, 5));
    for name in ["", "dir", "dir/out", "inside"] {
        chown(tree.path(name), Some(100_000), Some(100_000)).unwrap();
    }
    let report = rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal());
    assert!(!report.unwrap().changed);
}

#[test]
fn a_file_with_a_name_outside_is_kept_there_and_back() {
    let policy = Policy {
        unmapped: Unknown::Keep,
        ..KEEP_LINKS
    };
    for (map, to) in [(FAR, 100_005), (NEAR, 15)] {
        let tree = linked();
        let before = tree.manifest();
        let report =
            rechown::shift(&[tree.root()], &extents(map), policy, &tree.journal()).unwrap();
        assert_eq!(owner(&tree.path("inside")), (to, to));
        assert_eq!(owner(&tree.path("dir/out")), (5, 5));
        assert_eq!(owner(&tree.path("target")), (100_005, 15));
        let counts = report.counts;
        let of_kind = counts.changed() + counts.hard_links + counts.skipped;
        assert_eq!((counts.entries, of_kind), (7, 7));
        assert!(report.outside_links.count > 0);
        if map == FAR {
            let journal = tree.beside("other");
            let again = rechown::shift(&[tree.root()], &maps(), policy, &journal).unwrap();
            assert!(!again.changed && !journal.exists());
        }
        rechown::undo(&tree.journal()).unwrap();
        assert_eq!(tree.manifest(), before, "{map}");
    }
}

#[test]
fn files_with_names_outside_survive_a_crash_and_its_undo() {
    for map in [FAR, NEAR] {
        for (chowns, undo) in [(1, true), (2, false), (3, true), (4, false)] {
            let tree = linked();
            let before = tree.manifest();
            let verb = "shift+links+unmapped";
            let arguments = [
                verb.into(),
                map.into(),
                tree.journal().into_os_string(),
                tree.root().into_os_string(),
            ];
            let output = engine(arguments.clone(), &[(CRASH, &chowns.to_string())]);
            if output.status.success() {
                assert!(chowns > 2, "hardly a run died");
                continue;
            }
            if !undo {
                let output = engine(arguments, &[]);
                assert!(output.status.success(), "{output:?}");
                assert_eq!(owner(&tree.path("dir/out")), (5, 5));
            }
            rechown::undo(&tree.journal()).unwrap();
            assert_eq!(tree.manifest(), before, "{map} after {chowns}");
        }
    }
}

#[test]
fn the_sample_tells_who_owned_what_and_who_owns_it() {
    for (map, to) in [(FAR, 100_005), (NEAR, 15)] {
        let tree = Tree::new();
        for name in 10..40 {
            tree.file(format!("{name}"), 5, 5);
        }
        chown(tree.root(), Some(to), Some(to)).unwrap();
        let policy = Policy {
            strays: Strays::Leave,
            ..Policy::default()
        };
        let Survey { sample, .. } = rechown::survey(&[tree.root()], &extents(map), policy).unwrap();
        let report =
            rechown::shift(&[tree.root()], &extents(map), policy, &tree.journal()).unwrap();
        assert_eq!(sample.examples.len(), 20);
        assert_eq!(report.sample.count, report.counts.changed());
        let change = |name: &str| Change {
            path: tree.path(name),
            from: Owner { uid: 5, gid: 5 },
            to: Owner { uid: to, gid: to },
        };
        for sample in [sample, report.sample] {
            let of_files = sample
                .examples
                .iter()
                .filter(|change| change.path != tree.root());
            for found in of_files {
                assert_eq!(
                    *found,
                    change(found.path.file_name().unwrap().to_str().unwrap())
                );
            }
        }
    }
}

#[test]
fn a_complete_journal_is_trusted_while_the_root_is_the_same() {
    let tree = Tree::new();
    tree.furnish();
    let policy = Policy::default();
    let is_done = |maps: &IdMaps, policy| {
        rechown::is_done(&[tree.root()], maps, policy, &tree.journal()).unwrap()
    };
    let done = || is_done(&maps(), policy);
    assert!(!done());
    assert!(
        !common::shift_elsewhere(&tree, &[(CRASH, "4")])
            .status
            .success()
    );
    assert!(!done());
    rechown::shift(&[tree.root()], &maps(), policy, &tree.journal()).unwrap();
    assert!(done() && !is_done(&extents(NEAR), policy) && !is_done(&maps(), LIFT));
    // What lies in it is taken on trust, but not the root.
    chown(tree.path("plain"), Some(5), Some(5)).unwrap();
    assert!(done());
    chown(tree.root(), Some(0), Some(100_000)).unwrap();
    assert!(!done());
    chown(tree.root(), Some(100_000), Some(100_000)).unwrap();
    assert!(done());
    fs::rename(tree.root(), tree.beside("former")).unwrap();
    fs::create_dir(tree.root()).unwrap();
    chown(tree.root(), Some(100_000), Some(100_000)).unwrap();
    assert!(!done());
    fs::remove_dir(tree.root()).unwrap();
    fs::rename(tree.beside("former"), tree.root()).unwrap();
    assert!(done());
    let output = common::undo_elsewhere(&tree, &[(CRASH, "4")]);
    assert!(!output.status.success());
    chown(tree.root(), Some(100_000), Some(100_000)).unwrap();
    assert!(!done());
    rechown::undo(&tree.journal()).unwrap();
    assert!(!done());
}
