//! What a crash leaves of the journal's last line.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CRASH, Tree, engine, extents, owner};
use rechown::{Policy, Progress};
use std::{fs::File, io::Write, os::unix::fs::chown, path::PathBuf};

/// A line without its end was not counted when it was read first, nor may it be once another follows.
#[test]
fn a_note_cut_short_by_its_last_byte_never_counts() {
    let tree = Tree::new();
    let files = ["one", "two", "three"].map(|name| tree.file(name, 1, 0));
    chown(tree.root(), Some(1), None).unwrap();
    let arguments = [tree.journal(), tree.root()].map(PathBuf::into_os_string);
    let dies_after = |chowns| {
        let shift = ["shift", "u:1:5:10"].map(Into::into);
        let output = engine([shift, arguments.clone()].concat(), &[(CRASH, chowns)]);
        assert!(output.status.code().is_none(), "{output:?}");
    };
    // In the first of two passes over four entries.
    dies_after("2");
    let mut journal = File::options().append(true).open(tree.journal()).unwrap();
    journal.write_all(b"done").unwrap();
    // The other two, and two of the second pass.
    dies_after("4");
    let record = rechown::recorded(&tree.journal()).unwrap().unwrap();
    assert_eq!(record.progress, Progress::Begun);
    let (maps, policy) = (extents("u:1:5:10"), Policy::default());
    rechown::shift(&[tree.root()], &maps, policy, &tree.journal()).unwrap();
    assert!(files.iter().all(|file| owner(file) == (5, 0)));
}
