//! Immutable and append-only entries, there and back, and crashes while their flags are lifted.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CRASH, FAR, LIFT, NEAR, Tree, engine, extents, owner, run};
use std::{os::unix::fs::chown, process::Output};

/// A furnished tree in which entries of several kinds are immutable or append-only, freed again at the end.
struct Fixed(Tree);

impl Fixed {
    const FLAGS: [(&'static str, &'static str); 6] = [
        ("everything", "+i"),
        ("set-user-id", "+a"),
        ("plain", "+i"),
        ("acl", "+ai"),
        ("dir/sub", "+i"),
        ("sticky", "+a"),
    ];

    fn new() -> Self {
        let tree = Tree::new();
        tree.furnish();
        for (name, flags) in Self::FLAGS {
            run("chattr", [flags.as_ref(), tree.path(name).as_os_str()]);
        }
        Self(tree)
    }

    /// As lsattr(1) sees them.
    fn flags(&self) -> Vec<String> {
        let shown = |(name, _)| {
            let arguments = ["-d".into(), self.0.path(name).into_os_string()];
            let shown = run("lsattr", arguments);
            let flags = shown.split(' ').next().unwrap();
            flags.chars().filter(|flag| "ai".contains(*flag)).collect()
        };
        Self::FLAGS.into_iter().map(shown).collect()
    }

    fn run(&self, verb: &str, map: &str, environment: &[(&str, &str)]) -> Output {
        let (journal, root) = (self.0.journal(), self.0.root());
        match verb {
            "undo" => engine(["undo".as_ref(), journal.as_os_str()], environment),
            _ => engine(
                [
                    verb.as_ref(),
                    map.as_ref(),
                    journal.as_os_str(),
                    root.as_os_str(),
                ],
                environment,
            ),
        }
    }
}

impl Drop for Fixed {
    fn drop(&mut self) {
        for (name, _) in Self::FLAGS {
            run("chattr", ["-ai".as_ref(), self.0.path(name).as_os_str()]);
        }
    }
}

#[test]
fn immutable_files_are_lifted_shifted_and_fixed_again_there_and_back() {
    for (map, offset) in [(FAR, 100_000), (NEAR, 10)] {
        let fixed = Fixed::new();
        let tree = &fixed.0;
        let (before, shifted, flags) = (
            tree.manifest(),
            tree.manifest_shifted_by(offset),
            fixed.flags(),
        );
        assert_eq!(flags, ["i", "a", "i", "ia", "i", "a"]);
        let report = rechown::shift(&[tree.root()], &extents(map), LIFT, &tree.journal()).unwrap();
        assert_eq!((tree.manifest(), fixed.flags()), (shifted, flags.clone()));
        assert!(report.counts.immutable > 0);
        assert!(rechown::undo(&tree.journal()).unwrap().changed);
        assert_eq!((tree.manifest(), fixed.flags()), (before, flags));
    }
}

/// Kills shifts after ever more changes of owner, each while the flags of that entry are lifted.
fn killed(map: &str, check: impl Fn(&Fixed, u32)) {
    for chowns in (1..).step_by(2) {
        let fixed = Fixed::new();
        let output = fixed.run("shift+immutable", map, &[(CRASH, &chowns.to_string())]);
        if output.status.success() {
            assert!(chowns > 20, "hardly a run died");
            return;
        }
        assert_eq!(output.status.code(), None, "not a crash: {output:?}");
        check(&fixed, chowns);
    }
}

#[test]
fn killed_with_flags_lifted_the_next_run_gives_them_back() {
    let flags = Fixed::new().flags();
    for (map, offset) in [(FAR, 100_000), (NEAR, 10)] {
        let mut without = std::cell::Cell::new(0);
        killed(map, |fixed, chowns| {
            let lifted = fixed.flags().into_iter().zip(&flags);
            let lifted = lifted.filter(|(now, flags)| now != *flags).count();
            let threads = std::thread::available_parallelism().unwrap().get();
            assert!(lifted <= threads, "{lifted} lifted at once");
            without.set(without.get() + lifted);
            let output = fixed.run("shift", map, &[]);
            assert!(output.status.success(), "{output:?}");
            let expected = Fixed::new().0.manifest_shifted_by(offset);
            assert_eq!(owners(&fixed.0.manifest()), owners(&expected), "{chowns}");
            assert_eq!(fixed.flags(), flags, "after {chowns}");
        });
        assert!(*without.get_mut() > 0, "none died with flags lifted");
    }
}

/// Names, modes and owners: times differ from tree to tree.
fn owners(manifest: &str) -> Vec<String> {
    let line = |line: &str| line.split(' ').take(4).collect::<Vec<_>>().join(" ");
    manifest.lines().map(line).collect()
}

#[test]
fn killed_with_flags_lifted_it_can_be_taken_back_also_when_that_is_killed() {
    let (flags, expected) = (Fixed::new().flags(), Fixed::new().0.manifest());
    for map in [FAR, NEAR] {
        killed(map, |fixed, chowns| {
            fixed.run("undo", map, &[(CRASH, &(chowns / 2 + 1).to_string())]);
            rechown::undo(&fixed.0.journal()).unwrap();
            assert_eq!(owners(&fixed.0.manifest()), owners(&expected), "{chowns}");
            assert_eq!(fixed.flags(), flags, "after {chowns}");
        });
    }
}

#[test]
fn a_flag_that_no_journal_holds_is_never_lifted() {
    let tree = Tree::new();
    let path = tree.file("file", 5, 5);
    let arguments = |verb: &str| {
        [
            verb.into(),
            FAR.into(),
            tree.journal().into_os_string(),
            tree.root().into_os_string(),
        ]
    };
    assert!(
        !engine(arguments("shift+immutable"), &[(CRASH, "1")])
            .status
            .success()
    );
    chown(&path, Some(5), Some(5)).unwrap();
    run("chattr", ["+i".as_ref(), path.as_os_str()]);
    let output = engine(arguments("shift+immutable"), &[]);
    let flags = run("lsattr", [&path]);
    run("chattr", ["-i".as_ref(), path.as_os_str()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("not permitted"), "{error}");
    assert!(flags.split(' ').next().unwrap().contains('i'), "{flags}");
    assert_eq!(owner(&path), (5, 5));
}

#[test]
fn an_immutable_stray_comes_back_as_it_was_after_a_crash() {
    let policy = "shift+strays+unmapped+immutable";
    for chowns in 1..8 {
        let tree = Tree::new();
        for name in 0..8 {
            tree.file(format!("{name}"), name, 0);
        }
        let stray = tree.file("stray", 100_005, 100_006);
        run("chattr", ["+i".as_ref(), stray.as_os_str()]);
        let (journal, root) = (tree.journal(), tree.root());
        let output = engine(
            [
                policy.as_ref(),
                FAR.as_ref(),
                journal.as_os_str(),
                root.as_os_str(),
            ],
            &[(CRASH, &chowns.to_string())],
        );
        assert_eq!(output.status.code(), None);
        let undone = rechown::undo(&journal);
        let flags = run("lsattr", [&stray]);
        run("chattr", ["-i".as_ref(), stray.as_os_str()]);
        undone.unwrap();
        assert_eq!(owner(&stray), (100_005, 100_006));
        assert!(flags.split(' ').next().unwrap().contains('i'), "{flags}");
        assert_eq!(owner(&tree.path("7")), (7, 0));
    }
}
