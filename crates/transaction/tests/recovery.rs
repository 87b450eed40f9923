//! What is left of a transaction that was cut off, and what the next process makes of it.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};
use transaction::{Error, IN_PROGRESS, Recovery, Step, Store, Undone};

/// Makes a directory; `trap` says how it misbehaves.
#[derive(Serialize, Deserialize, Clone)]
struct Make {
    name: String,
    path: PathBuf,
    trap: Trap,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq)]
enum Trap {
    None,
    CrashBefore,
    CrashAfter,
    Fail,
    UndoFails,
    UndoLater,
}

impl Step for Make {
    type Context = Vec<String>;
    type Error = std::io::Error;

    fn name(&self) -> &str {
        &self.name
    }

    fn apply(&self, log: &mut Vec<String>) -> std::io::Result<()> {
        assert!(self.trap != Trap::CrashBefore, "cut off");
        if self.trap == Trap::Fail {
            return Err(std::io::Error::other("no room"));
        }
        fs::create_dir(&self.path)?;
        assert!(self.trap != Trap::CrashAfter, "cut off");
        log.push(format!("made {}", self.name));
        Ok(())
    }

    fn undo(&self, log: &mut Vec<String>) -> std::io::Result<Undone> {
        match self.trap {
            Trap::UndoFails if !self.path.with_extension("fixed").exists() => {
                return Err(std::io::Error::other("stuck"));
            }
            Trap::UndoLater if log.first().is_some_and(|first| first == "early") => {
                return Ok(Undone::Later);
            }
            _ => {}
        }
        if self.path.exists() {
            fs::remove_dir(&self.path)?;
        }
        log.push(format!("unmade {}", self.name));
        Ok(Undone::Whole)
    }

    fn finish(&self, log: &mut Vec<String>) -> std::io::Result<()> {
        log.push(format!("finished {}", self.name));
        Ok(())
    }
}

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn store(&self) -> Store {
        Store::lock(&self.state()).unwrap()
    }

    fn journal(&self) -> PathBuf {
        self.state().join(IN_PROGRESS).join("journal")
    }

    fn steps(&self, traps: [Trap; 3]) -> Vec<Make> {
        let names = ["one", "two", "three"].into_iter();
        let make = |(name, trap): (&str, Trap)| Make {
            name: name.to_owned(),
            path: self.0.path().join(name),
            trap,
        };
        names.zip(traps).map(make).collect()
    }

    fn made(&self) -> Vec<&'static str> {
        ["one", "two", "three"]
            .into_iter()
            .filter(|name| self.0.path().join(name).exists())
            .collect()
    }

    /// Runs the steps in a process of their own, as far as the journal can tell: cut off by a panic.
    fn cut_off(&self, traps: [Trap; 3]) {
        let cut = catch_unwind(AssertUnwindSafe(|| {
            let store = self.store();
            let mut open = store
                .begin("test", self.steps(traps), vec![self.state()])
                .unwrap();
            let _ = open.run(&mut vec![]);
        }));
        assert!(cut.is_err(), "the run was meant to be cut off");
    }

    fn recover(&self) -> (Recovery, Vec<String>) {
        let (store, mut log) = (self.store(), vec![]);
        let mut open = store.interrupted::<Make>("test").unwrap().unwrap();
        (open.recover(&mut log).unwrap(), log)
    }
}

const CALM: Trap = Trap::None;

fn nothing_open(path: &Path) -> bool {
    !path.join(IN_PROGRESS).exists()
}

#[test]
fn a_run_applies_every_step_then_finishes_and_closes() {
    let scratch = Scratch::new();
    let (store, mut log) = (scratch.store(), vec![]);
    let steps = scratch.steps([CALM, CALM, CALM]);
    store
        .begin("test", steps, vec![scratch.state()])
        .unwrap()
        .run(&mut log)
        .unwrap();
    assert_eq!(scratch.made(), ["one", "two", "three"]);
    assert_eq!(log[3..], ["finished three", "finished two", "finished one"]);
    assert!(nothing_open(&scratch.state()) && !store.is_open());
}

#[test]
fn room_for_all_records_is_set_aside_before_the_first_step() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let _open = store.begin("test", scratch.steps([CALM; 3]), vec![]);
    let journal = fs::metadata(scratch.journal()).unwrap();
    assert!(journal.len() < 4096 && journal.blocks() * 512 >= 64 << 10);
}

#[test]
fn a_failing_step_takes_everything_back_and_says_why() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let steps = scratch.steps([CALM, CALM, Trap::Fail]);
    let failed = store
        .begin("test", steps, vec![])
        .unwrap()
        .run(&mut vec![])
        .unwrap_err();
    assert_eq!(
        failed.to_string(),
        "three failed: no room; everything was taken back"
    );
    assert!(scratch.made().is_empty() && !store.is_open());
}

#[test]
fn cut_off_before_a_step_ran_is_undone() {
    let scratch = Scratch::new();
    scratch.cut_off([CALM, CALM, Trap::CrashBefore]);
    assert_eq!(scratch.made(), ["one", "two"]);
    let (recovery, log) = scratch.recover();
    assert_eq!(recovery, Recovery::Undone);
    assert_eq!(log, ["unmade three", "unmade two", "unmade one"]);
    assert!(scratch.made().is_empty() && nothing_open(&scratch.state()));
}

#[test]
fn cut_off_after_a_step_ran_but_before_the_journal_said_so_is_undone() {
    let scratch = Scratch::new();
    scratch.cut_off([CALM, Trap::CrashAfter, CALM]);
    assert_eq!(scratch.made(), ["one", "two"]);
    let (recovery, log) = scratch.recover();
    assert_eq!(recovery, Recovery::Undone);
    assert_eq!(
        log,
        ["unmade two", "unmade one"],
        "a step that never started is left alone"
    );
    assert!(scratch.made().is_empty());
}

#[test]
fn a_record_cut_off_in_the_middle_never_counted() {
    let scratch = Scratch::new();
    scratch.cut_off([CALM, Trap::CrashAfter, CALM]);
    let mut journal = fs::OpenOptions::new()
        .append(true)
        .open(scratch.journal())
        .unwrap();
    journal.write_all(b"\"Com").unwrap();
    assert_eq!(scratch.recover().0, Recovery::Undone);
}

#[test]
fn cut_off_after_the_commit_is_finished() {
    let scratch = Scratch::new();
    scratch.cut_off([CALM, CALM, Trap::CrashAfter]);
    let mut journal = fs::OpenOptions::new()
        .append(true)
        .open(scratch.journal())
        .unwrap();
    journal.write_all(b"{\"done\":2}\n\"commit\"\n").unwrap();
    let (recovery, log) = scratch.recover();
    assert_eq!(recovery, Recovery::Finished);
    assert_eq!(log, ["finished three", "finished two", "finished one"]);
    assert_eq!(scratch.made(), ["one", "two", "three"]);
}

#[test]
fn an_undo_that_fails_leaves_the_transaction_open_for_the_next_try() {
    let scratch = Scratch::new();
    let steps = scratch.steps([CALM, Trap::UndoFails, Trap::Fail]);
    {
        let store = scratch.store();
        let failed = store
            .begin("test", steps, vec![])
            .unwrap()
            .run(&mut vec![])
            .unwrap_err();
        assert_eq!(failed.stuck, Some(("two".to_owned(), "stuck".to_owned())));
        assert!(store.is_open());
        let again = store.begin("test", Vec::<Make>::new(), vec![]);
        assert!(matches!(again, Err(Error::AlreadyOpen { .. })));
    }
    fs::write(scratch.0.path().join("two.fixed"), "").unwrap();
    let (recovery, log) = scratch.recover();
    assert_eq!(recovery, Recovery::Undone);
    assert_eq!(
        log,
        ["unmade two", "unmade one"],
        "it goes on where it stuck"
    );
}

#[test]
fn an_undo_that_has_to_wait_goes_on_later_from_there() {
    let scratch = Scratch::new();
    scratch.cut_off([CALM, Trap::UndoLater, Trap::CrashAfter]);
    {
        let (store, mut log) = (scratch.store(), vec!["early".to_owned()]);
        let mut open = store.interrupted::<Make>("test").unwrap().unwrap();
        assert_eq!(open.recover(&mut log).unwrap(), Recovery::Waiting);
        assert_eq!(log, ["early", "unmade three"]);
        assert!(store.is_open());
    }
    let (recovery, log) = scratch.recover();
    assert_eq!((recovery, log.len()), (Recovery::Undone, 2));
}

#[test]
fn a_second_process_is_told_who_holds_the_lock() {
    let scratch = Scratch::new();
    let _held = scratch.store();
    let Err(error) = Store::lock(&scratch.state()) else {
        panic!("locked twice")
    };
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", std::process::id())),
        "{error}"
    );
}

#[test]
fn a_journal_of_another_kind_is_refused() {
    let scratch = Scratch::new();
    scratch.cut_off([CALM, CALM, Trap::CrashAfter]);
    let store = scratch.store();
    assert!(matches!(
        store.interrupted::<Make>("other"),
        Err(Error::Corrupt { .. })
    ));
}

#[test]
fn a_crash_while_the_journal_is_being_made_leaves_nothing_open() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.state().join("in-progress.new")).unwrap();
    let store = scratch.store();
    assert!(store.interrupted::<Make>("test").unwrap().is_none());
    store
        .begin("test", scratch.steps([CALM, CALM, CALM]), vec![])
        .unwrap()
        .run(&mut vec![])
        .unwrap();
}
