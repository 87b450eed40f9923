//! Capabilities of immutable files, and those whose root is the host's, which the kernel shows without one.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CRASH, LIFT, Tree, engine, extents, run};
use rechown::Policy;
use std::{
    ffi::OsStr,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

/// The way a remapped tree becomes the host's.
const BACK: &str = "100000:0:65536";

fn remapped() -> (Tree, PathBuf) {
    let tree = Tree::new();
    let file = tree.file("file", 100_007, 100_007);
    set_capability(&file, "100000");
    chown(tree.root(), Some(100_000), Some(100_000)).unwrap();
    (tree, file)
}

fn set_capability(file: &Path, root: &str) {
    let capability = ["-n", root, "cap_net_raw+ep"].map(OsStr::new);
    run("setcap", [&capability[..], &[file.as_os_str()]].concat());
}

fn chattr(flag: &str, file: &Path) {
    run("chattr", [flag.as_ref(), file.as_os_str()]);
}

#[test]
fn the_root_of_a_capability_that_became_the_hosts_comes_back() {
    let (tree, _) = remapped();
    let before = tree.manifest();
    let (maps, policy) = (extents(BACK), Policy::default());
    rechown::shift(&[tree.root()], &maps, policy, &tree.journal()).unwrap();
    rechown::undo(&tree.journal()).unwrap();
    assert_eq!(tree.manifest(), before);
}

#[test]
fn an_immutable_file_whose_capability_becomes_the_hosts_is_shifted() {
    let (tree, file) = remapped();
    chattr("+i", &file);
    let shift = rechown::shift(&[tree.root()], &extents(BACK), LIFT, &tree.journal());
    chattr("-i", &file);
    assert!(shift.unwrap().changed);
}

#[test]
fn an_undo_killed_among_immutable_strays_with_capabilities_is_finished() {
    let tree = Tree::new();
    tree.file("source", 1, 0);
    let strays = ["one", "other"].map(|name| tree.file(name, 12, 0));
    for stray in &strays {
        set_capability(stray, "12");
        chattr("+i", stray);
    }
    let before = tree.manifest();
    let arguments = [tree.journal(), tree.root()].map(PathBuf::into_os_string);
    let shift = ["shift+strays+immutable+unmapped", "u:1:5:10"].map(Into::into);
    assert!(
        engine([shift, arguments.clone()].concat(), &[])
            .status
            .success()
    );
    // In the second of two passes, which leave the strays alone.
    let output = engine(["undo".as_ref(), arguments[0].as_os_str()], &[(CRASH, "2")]);
    assert!(output.status.code().is_none(), "{output:?}");
    let undo = rechown::undo(&tree.journal());
    let after = tree.manifest();
    strays.iter().for_each(|stray| chattr("-i", stray));
    undo.unwrap();
    assert_eq!(after, before);
}
