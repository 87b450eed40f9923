//! What is refused, and that nothing has changed then.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Tree, acl, leaving_strays, maps, run, shift_elsewhere};
use rechown::{Error, IdMaps, Policy};
use std::{fs, os::unix::fs::MetadataExt};

/// Shifts and expects a refusal that changed nothing.
fn refused(tree: &Tree) -> Error {
    let before = tree.manifest();
    let error =
        rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap_err();
    assert_eq!(tree.manifest(), before);
    assert!(!tree.journal().exists());
    error
}

#[test]
fn an_id_outside_the_map_is_named() {
    let tree = Tree::new();
    tree.furnish();
    let path = tree.file("dir/foreign", 70_000, 5);
    let error = refused(&tree).to_string();
    assert_eq!(
        error,
        format!("ids outside the map: {} (uid 70000)", path.display())
    );
}

#[test]
fn a_foreign_id_in_a_list_or_a_capability_is_found() {
    let tree = Tree::new();
    acl(&tree.file("acl", 0, 0), "u:5:r,g:70001:r");
    let capability = tree.file("capability", 0, 0);
    let arguments = ["-n", "70002", "cap_net_raw+ep"].map(std::ffi::OsStr::new);
    run(
        "setcap",
        [&arguments[..], &[capability.as_os_str()]].concat(),
    );
    let Error::Unmapped(unmapped) = refused(&tree) else {
        panic!("not refused for its ids");
    };
    let ids: Vec<_> = unmapped
        .examples
        .iter()
        .map(|unmapped| unmapped.id)
        .collect();
    assert_eq!(ids, [70_001, 70_002]);
}

#[test]
fn twenty_foreign_ids_are_named_and_all_are_counted() {
    let tree = Tree::new();
    for name in 0..50 {
        tree.file(format!("{name}/file"), 70_000, 0);
    }
    let Error::Unmapped(unmapped) = refused(&tree) else {
        panic!("not refused for its ids");
    };
    assert_eq!((unmapped.count, unmapped.examples.len()), (50, 20));
}

#[test]
fn a_partly_shifted_tree_without_a_journal_is_refused() {
    let tree = Tree::new();
    tree.file("source", 5, 5);
    tree.file("target", 100_005, 100_005);
    let Error::Mixed { source, target } = refused(&tree) else {
        panic!("not refused as mixed");
    };
    assert_eq!(source.examples, [tree.root(), tree.path("source")]);
    assert_eq!(target.examples, [tree.path("target")]);
}

#[test]
fn a_shift_that_leaves_strays_alone_takes_the_rest_and_reports_them() {
    let tree = Tree::new();
    let owners = |name: &str| {
        let meta = fs::symlink_metadata(tree.path(name)).unwrap();
        (meta.uid(), meta.gid())
    };
    tree.file("source", 5, 5);
    tree.file("target", 100_005, 100_005);
    tree.file("foreign", 70_000, 5);
    let report =
        rechown::shift(&[tree.root()], &maps(), leaving_strays(), &tree.journal()).unwrap();
    assert_eq!(owners("source"), (100_005, 100_005));
    assert_eq!(owners("target"), (100_005, 100_005));
    assert_eq!(owners("foreign"), (70_000, 100_005));
    assert_eq!((report.already, report.unmapped.count), (1, 1));
}

#[test]
fn immutable_and_append_only_entries_are_named() {
    let tree = Tree::new();
    tree.file("fixed", 0, 0);
    tree.file("log", 0, 0);
    run("chattr", ["+i".as_ref(), tree.path("fixed").as_os_str()]);
    run("chattr", ["+a".as_ref(), tree.path("log").as_os_str()]);
    let error = refused(&tree);
    run("chattr", ["-i".as_ref(), tree.path("fixed").as_os_str()]);
    run("chattr", ["-a".as_ref(), tree.path("log").as_os_str()]);
    let Error::Immutable(immutable) = error else {
        panic!("not refused as immutable");
    };
    assert_eq!(immutable.examples, [tree.path("fixed"), tree.path("log")]);
}

#[test]
fn nested_and_repeated_roots_are_refused() {
    let tree = Tree::new();
    fs::create_dir_all(tree.path("a/b")).unwrap();
    fs::create_dir_all(tree.path("a-b")).unwrap();
    let shift = |names: &[&str]| {
        let roots: Vec<_> = names.iter().map(|name| tree.path(name)).collect();
        rechown::shift(&roots, &maps(), Policy::default(), &tree.journal())
    };
    assert!(matches!(
        shift(&["a/b", "a-b", "a"]),
        Err(Error::NestedRoots(..))
    ));
    assert!(matches!(shift(&["a", "a"]), Err(Error::NestedRoots(..))));
    assert!(shift(&["a-b", "a/b"]).is_ok());
}

#[test]
fn a_root_that_is_no_directory_is_refused() {
    let tree = Tree::new();
    tree.file("file", 0, 0);
    std::os::unix::fs::symlink(tree.root(), tree.beside("link")).unwrap();
    for root in [tree.path("file"), tree.beside("link"), tree.path("missing")] {
        assert!(rechown::shift(&[root], &maps(), Policy::default(), &tree.journal()).is_err());
    }
    assert_eq!(tree.manifest().matches("100000").count(), 0);
}

#[test]
fn a_read_only_mount_is_refused_before_the_journal() {
    let tree = Tree::new();
    let mount = tree.beside("mount");
    fs::create_dir(&mount).unwrap();
    run(
        "mount",
        [
            "--bind".as_ref(),
            tree.root().as_os_str(),
            mount.as_os_str(),
        ],
    );
    run(
        "mount",
        ["-o".as_ref(), "remount,bind,ro".as_ref(), mount.as_os_str()],
    );
    let result = rechown::shift(&[&mount], &maps(), Policy::default(), &tree.journal());
    run("umount", [&mount]);
    assert!(matches!(result, Err(Error::ReadOnly(_))), "{result:?}");
    assert!(!tree.journal().exists());
}

#[test]
fn the_journal_of_another_shift_cut_short_is_refused() {
    let tree = Tree::new();
    let other = tree.beside("other");
    fs::create_dir(&other).unwrap();
    assert!(
        !shift_elsewhere(&tree, &[("BULKHEAD_FAULT_AFTER_CHOWNS", "1")])
            .status
            .success()
    );
    let error = rechown::shift(&[&other], &maps(), Policy::default(), &tree.journal()).unwrap_err();
    assert!(matches!(error, Error::OtherJournal(_)), "{error}");
    let maps = IdMaps::parse(&["0:200000:65536"]).unwrap();
    let error =
        rechown::shift(&[tree.root()], &maps, Policy::default(), &tree.journal()).unwrap_err();
    assert!(matches!(error, Error::OtherJournal(_)), "{error}");
}

#[test]
fn a_journal_that_is_none_is_named() {
    let tree = Tree::new();
    fs::write(tree.journal(), "nonsense").unwrap();
    let error =
        rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap_err();
    assert!(error.to_string().contains("journal"), "{error}");
    assert!(rechown::undo(&tree.journal()).is_err());
}

#[test]
fn file_systems_of_the_kernel_are_refused() {
    let tree = Tree::new();
    for root in ["/proc/sys/kernel", "/sys/kernel", "/dev/pts"] {
        let survey = rechown::survey(&[root], &maps(), Policy::default());
        assert!(matches!(survey, Err(Error::NoOwners(_))), "{root}");
        let shift = rechown::shift(&[root], &maps(), Policy::default(), &tree.journal());
        assert!(matches!(shift, Err(Error::NoOwners(_))), "{root}");
    }
}

/// Root without the right to change owners stands in for root on a server that squashes it.
#[test]
fn a_file_system_that_forbids_a_change_of_owner_is_refused_before_the_journal() {
    let tree = Tree::new();
    std::os::unix::fs::chown(tree.root(), Some(5), Some(5)).unwrap();
    let example = common::example();
    let arguments = [
        "--bounding-set=-chown".as_ref(),
        example.as_os_str(),
        "shift".as_ref(),
        "0:100000:65536".as_ref(),
        tree.journal().as_os_str(),
        tree.root().as_os_str(),
    ]
    .map(std::ffi::OsStr::to_owned);
    let output = std::process::Command::new("setpriv")
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("Squashed"), "{error}");
    assert!(!tree.journal().exists());
}
