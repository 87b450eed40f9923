//! What a crash or an earlier release may have left.

use rechown::fuzzing;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{cell::RefCell, fs, path::Path};
use tempfile::TempDir;
use transaction::{IN_PROGRESS, Recovery, Step, Store, Undone};

/// In memory, since every case writes files; one for every thread.
fn scratch(work: impl FnOnce(&Path)) {
    thread_local! {
        static SCRATCH: RefCell<Option<TempDir>> = const { RefCell::new(None) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let scratch = scratch.get_or_insert_with(|| {
            tempfile::tempdir_in("/dev/shm").expect("there is memory for files")
        });
        work(scratch.path());
    });
}

/// The journal of a shift: what is read is written the same, and a note counts whatever a crash left before it.
pub fn shift(data: &[u8]) {
    scratch(|scratch| {
        let path = scratch.join("journal");
        fs::write(&path, data).expect("there is room");
        let Ok(Some((done, left))) = fuzzing::progress(&path) else {
            assert!(fuzzing::rewrite_journal(&path).is_err());
            return;
        };
        assert!(rechown::recorded(&path).is_ok());
        let noted = Some((done + 1, left));
        assert_eq!(fuzzing::note_done(&path).ok(), Some(noted));
        assert_eq!(fuzzing::progress(&path).ok(), Some(noted));
        if fuzzing::rewrite_journal(&path).is_ok() {
            let once = fs::read(&path).expect("it is there");
            fuzzing::rewrite_journal(&path).expect("it is as we write them");
            assert_eq!(fs::read(&path).expect("it is there"), once);
        }
    });
}

#[derive(Serialize, Deserialize)]
struct Nothing(Value);

impl Step for Nothing {
    /// How many may be taken back now.
    type Context = usize;
    type Error = String;

    fn name(&self) -> &str {
        "nothing"
    }

    fn apply(&self, _: &mut usize) -> Result<(), String> {
        Ok(())
    }

    fn undo(&self, left: &mut usize) -> Result<Undone, String> {
        let undone = match left {
            0 => Undone::Later,
            _ => Undone::Whole,
        };
        *left = left.saturating_sub(1);
        Ok(undone)
    }
}

/// The journal of a transaction: what opens is recovered, step by step in processes of their own, and then
/// nothing is open.
pub fn transaction(data: &[u8]) {
    if has_unknown_step(data) {
        return;
    }
    scratch(|scratch| {
        let state = scratch.join("state");
        let store = Store::lock(&state).expect("nobody else has it");
        let directory = state.join(IN_PROGRESS);
        fs::create_dir_all(&directory).expect("there is room");
        fs::write(directory.join("journal"), data).expect("there is room");
        if let Ok(Some(mut open)) = store.interrupted::<Nothing>("nothing") {
            let mut undone = 0;
            while open.recover(&mut 1).expect("no step fails") == Recovery::Waiting {
                undone += 1;
                assert!(undone < open.steps().len() && !open.is_committed());
                let again = store.interrupted("nothing").expect("it was read before");
                open = again.expect("it waits");
            }
            drop(open);
            assert!(!store.is_open());
        }
        fs::remove_dir_all(&state).expect("it is there");
    });
}

/// A record of a step that is not in the list: whoever recovers by it reads past the end. A path to flush is
/// none of the parser's, and may be anywhere.
fn has_unknown_step(data: &[u8]) -> bool {
    let records: Vec<Value> = (data.split(|&byte| byte == b'\n'))
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let steps = |record: &Value| record["begin"]["steps"].as_array().map(Vec::len);
    let fewest = records.iter().filter_map(steps).min().unwrap_or(0) as u64;
    records.iter().any(|record| {
        let at = ["start", "done", "undone"].map(|word| record[word].as_u64());
        let sync = record["begin"]["sync"].as_array();
        at.into_iter().flatten().any(|at| at >= fewest) || sync.is_some_and(|sync| !sync.is_empty())
    })
}
