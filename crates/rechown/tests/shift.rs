//! What a shift changes, and that it changes nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Tree, acl, engine, maps, run, shift_elsewhere};
use rechown::Policy;
use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat},
    process::{Resource, Rlimit, setrlimit},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
};

#[test]
fn a_shift_translates_every_id_and_keeps_all_else() {
    let tree = Tree::new();
    tree.furnish();
    let expected = tree.shifted_manifest();
    let report =
        rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    assert_eq!(tree.manifest(), expected);
    assert!(report.changed && !report.resumed);
    let counts = report.counts;
    assert_eq!(counts.entries as usize, expected.lines().count());
    assert_eq!(counts.changed(), counts.entries - 1);
    assert_eq!(
        (counts.hard_links, counts.symlinks, counts.specials),
        (1, 2, 4)
    );
    assert_eq!(
        (counts.acls, counts.capabilities, counts.set_ids),
        (5, 3, 5)
    );
    assert_eq!(counts.skipped, 0);
}

#[test]
fn without_listxattrat_it_is_the_same() {
    let tree = Tree::new();
    tree.furnish();
    let expected = tree.shifted_manifest();
    let output = shift_elsewhere(&tree, &[("BULKHEAD_FAULT_NO_XATTRAT", "1")]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(tree.manifest(), expected);
}

#[test]
fn a_second_shift_changes_nothing() {
    let tree = Tree::new();
    tree.furnish();
    rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    let before = tree.manifest();
    let changed =
        |path: &Path| fs::symlink_metadata(path).map(|meta| (meta.ctime(), meta.ctime_nsec()));
    let time = changed(&tree.path("capability")).unwrap();
    let report =
        rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    assert!(!report.changed);
    assert_eq!(
        report.counts.skipped + report.counts.hard_links,
        report.counts.entries
    );
    assert_eq!(tree.manifest(), before);
    assert_eq!(changed(&tree.path("capability")).unwrap(), time);
}

#[test]
fn nothing_to_shift_leaves_no_journal() {
    let tree = Tree::new();
    chown(tree.root(), Some(100_000), Some(100_000)).unwrap();
    let report =
        rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    assert!(!report.changed && !tree.journal().exists());
}

#[test]
fn a_survey_tells_what_a_shift_does_and_changes_nothing() {
    let tree = Tree::new();
    tree.furnish();
    let before = tree.manifest();
    let times = || {
        run(
            "find",
            [
                "-L".as_ref(),
                tree.root().as_os_str(),
                "-printf".as_ref(),
                "%p %A@ %C@\n".as_ref(),
            ],
        )
    };
    // Reading contents moved the access times; once they are past the change times they stay.
    tree.manifest();
    let before_times = times();
    let survey = rechown::survey(&[tree.root()], &maps(), Policy::default()).unwrap();
    assert_eq!(times(), before_times);
    assert_eq!(tree.manifest(), before);
    let mut fragile: Vec<_> = survey.fragile().map(|(_, path)| path.to_owned()).collect();
    fragile.sort();
    let names: Vec<_> = fragile.iter().map(|path| path.to_string_lossy()).collect();
    assert_eq!(
        names,
        [
            "both",
            "capability",
            "dir/namespaced",
            "everything",
            "not\u{fffd}\u{fffd}%utf\n8/set\u{fffd}id",
            "set-group-id",
            "set-user-id"
        ]
    );
    let report =
        rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    assert_eq!(report.counts, survey.counts);
}

#[test]
fn the_target_of_a_link_keeps_its_owner() {
    let tree = Tree::new();
    let outside = tree.beside("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "").unwrap();
    std::os::unix::fs::symlink(&outside, tree.path("link")).unwrap();
    rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    assert_eq!(fs::metadata(&outside).unwrap().uid(), 0);
    assert_eq!(fs::metadata(outside.join("file")).unwrap().uid(), 0);
    assert_eq!(
        fs::symlink_metadata(tree.path("link")).unwrap().uid(),
        100_000
    );
}

#[test]
fn a_list_of_many_named_users_is_translated_whole() {
    let tree = Tree::new();
    let many: Vec<_> = (1000..1100)
        .map(|id| format!("u:{id}:rw,g:{id}:r"))
        .collect();
    acl(&tree.file("acl", 0, 0), &many.join(","));
    let expected = tree.shifted_manifest();
    rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    assert_eq!(tree.manifest(), expected);
    let shown = run("getfacl", ["-n".as_ref(), tree.path("acl").as_os_str()]);
    assert_eq!(
        shown.lines().filter(|line| line.contains(":101")).count(),
        200
    );
}

/// The names alone are longer than what the kernel is offered at first.
#[test]
fn an_attribute_is_found_among_many_others() {
    let tree = Tree::new();
    let file = tree.file("file", 0, 0);
    for number in 10..30 {
        let name = format!("user.{number}{}", "x".repeat(60));
        rustix::fs::setxattr(&file, name, b"", rustix::fs::XattrFlags::empty()).unwrap();
    }
    acl(&file, "u:5:r");
    let expected = tree.shifted_manifest();
    rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    assert_eq!(tree.manifest(), expected);
}

#[test]
fn an_id_that_maps_to_itself_stays() {
    let tree = Tree::new();
    tree.file("file", 5, 70_000);
    let maps = rechown::IdMaps::parse(&["u:0:100000:65536"]).unwrap();
    rechown::shift(&[tree.root()], &maps, Policy::default(), &tree.journal()).unwrap();
    let meta = fs::metadata(tree.path("file")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (100_005, 70_000));
}

#[test]
fn a_hard_link_across_two_roots_is_shifted_once() {
    let (one, two) = (Tree::new(), Tree::new());
    fs::hard_link(one.file("file", 5, 5), two.path("file")).unwrap();
    run("chmod", ["4755".as_ref(), two.path("file").as_os_str()]);
    let roots = [one.root(), two.root()];
    let report = rechown::shift(&roots, &maps(), Policy::default(), &one.journal()).unwrap();
    assert_eq!((report.counts.files, report.counts.hard_links), (1, 1));
    assert!(report.outside_links.is_empty());
    let meta = fs::metadata(two.path("file")).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (100_005, 0o4755));
}

#[test]
fn a_name_outside_the_roots_is_reported() {
    let tree = Tree::new();
    fs::hard_link(tree.file("file", 5, 5), tree.beside("outside")).unwrap();
    let survey = rechown::survey(&[tree.root()], &maps(), Policy::default()).unwrap();
    assert_eq!(survey.outside_links.examples, [tree.path("file")]);
}

#[test]
fn a_mount_inside_the_tree_is_a_boundary() {
    let tree = Tree::new();
    let other = tree.beside("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("file"), "").unwrap();
    fs::create_dir(tree.path("mount")).unwrap();
    tree.file("file-mount", 0, 0);
    run(
        "mount",
        [
            "--bind".as_ref(),
            other.as_os_str(),
            tree.path("mount").as_os_str(),
        ],
    );
    let file = other.join("file");
    run(
        "mount",
        [
            "--bind".as_ref(),
            file.as_os_str(),
            tree.path("file-mount").as_os_str(),
        ],
    );
    let result = rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal());
    run("umount", [tree.path("mount")]);
    run("umount", [tree.path("file-mount")]);
    let report = result.unwrap();
    assert_eq!(
        report.boundaries.examples,
        [tree.path("file-mount"), tree.path("mount")]
    );
    assert_eq!(fs::metadata(&other).unwrap().uid(), 0);
    assert_eq!(fs::metadata(other.join("file")).unwrap().uid(), 0);
    assert_eq!(fs::metadata(tree.path("mount")).unwrap().uid(), 0);
    assert_eq!(fs::metadata(tree.root()).unwrap().uid(), 100_000);
}

/// More names than are read at once, and by far enough to be shared among threads.
#[test]
fn a_large_directory_is_shifted_whole() {
    let tree = Tree::new();
    let long = "x".repeat(240);
    for number in 0..3000 {
        fs::write(tree.path(format!("{long}{number}")), "").unwrap();
        fs::create_dir_all(tree.path(format!("{number}{long}/sub"))).unwrap();
        fs::write(tree.path(format!("{number}")), "").unwrap();
    }
    let report =
        rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    let counts = report.counts;
    assert_eq!((counts.files, counts.directories), (6000, 6001));
    assert_eq!(counts.entries, 12_001);
    assert!(owners(&tree).iter().all(|owner| owner == "100000:100000"));
}

/// Two directories on each of many levels: the chain is longer than any path may be, and the second one
/// waits on every level while the first is walked.
fn deep(tree: &Tree, levels: u32) {
    let open = |at: std::os::fd::BorrowedFd<'_>, name: &str| {
        openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
    };
    let mut fd = open(CWD, tree.root().to_str().unwrap());
    for _ in 0..levels {
        mkdirat(&fd, "first", Mode::RWXU).unwrap();
        mkdirat(&fd, "second", Mode::RWXU).unwrap();
        fd = open(std::os::fd::AsFd::as_fd(&fd), "second");
    }
    openat(&fd, "file", OFlags::CREATE | OFlags::RDWR, Mode::RWXU).unwrap();
}

fn owners(tree: &Tree) -> Vec<String> {
    let shown = run(
        "find",
        [
            tree.root().as_os_str(),
            "-printf".as_ref(),
            "%U:%G\n".as_ref(),
        ],
    );
    shown.lines().map(str::to_owned).collect()
}

#[test]
fn a_tree_deeper_than_any_path_is_shifted() {
    let tree = Tree::new();
    deep(&tree, 5000);
    rechown::shift(&[tree.root()], &maps(), Policy::default(), &tree.journal()).unwrap();
    let owners = owners(&tree);
    assert_eq!(owners.len(), 10_002);
    assert!(owners.iter().all(|owner| owner == "100000:100000"));
    run("rm", ["-rf".as_ref(), tree.root().as_os_str()]);
}

/// The limit holds for the whole process: only a child may be bound so.
#[test]
fn a_deep_and_wide_tree_needs_few_descriptors() {
    let tree = Tree::new();
    deep(&tree, 300);
    for name in 0..1000 {
        fs::create_dir_all(tree.path(format!("wide/{name}/sub"))).unwrap();
    }
    let limit = |current| Rlimit {
        current,
        maximum: limits().maximum,
    };
    let before = limits().current;
    setrlimit(Resource::Nofile, limit(Some(40))).unwrap();
    let output = shift_elsewhere(&tree, &[]);
    setrlimit(Resource::Nofile, limit(before)).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(owners(&tree).iter().all(|owner| owner == "100000:100000"));
}

fn limits() -> Rlimit {
    rustix::process::getrlimit(Resource::Nofile)
}

#[test]
fn many_roots_are_one_run() {
    let tree = Tree::new();
    let roots: Vec<_> = (0..300).map(|name| format!("{name}/diff")).collect();
    for root in &roots {
        tree.file(format!("{root}/file"), 5, 5);
    }
    let roots: Vec<_> = roots.iter().map(|root| tree.path(root)).collect();
    let report = rechown::shift(&roots, &maps(), Policy::default(), &tree.journal()).unwrap();
    assert_eq!(report.counts.entries, 600);
    assert_eq!(
        fs::metadata(tree.path("7/diff/file")).unwrap().uid(),
        100_005
    );
    assert_eq!(fs::metadata(tree.path("7")).unwrap().uid(), 0);
    assert!(rechown::undo(&tree.journal()).unwrap().changed);
    assert_eq!(fs::metadata(tree.path("299/diff/file")).unwrap().uid(), 5);
}

#[test]
fn the_example_prints_what_it_did() {
    let tree = Tree::new();
    let output = engine(
        [
            "survey".as_ref(),
            "0:100000:65536".as_ref(),
            tree.root().as_os_str(),
        ],
        &[],
    );
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("\"entries\": 1,"),
        "{output:?}"
    );
}
