//! An open transaction: run it, or recover one that an earlier process left.

use crate::{
    Error, Failed, Step, Store, Undone, fault,
    journal::{Journal, Record},
};
use std::path::PathBuf;

/// A transaction whose journal is on the disk.
pub struct Open<'s, S> {
    store: &'s Store,
    journal: Journal,
    steps: Vec<S>,
    sync: Vec<PathBuf>,
    /// How many steps, from the first, may have left traces.
    touched: usize,
    committed: bool,
}

/// What [`Open::recover`] made of an interrupted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// It had been committed; what was left to tidy up is done.
    Finished,
    /// It had not been committed; everything is taken back.
    Undone,
    /// Taken back as far as can be now; it stays open for a later call.
    Waiting,
}

impl Recovery {
    /// What an operator is told that became of it: "an interrupted change was …".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Recovery::Finished => "finished",
            Recovery::Undone => "undone",
            Recovery::Waiting => "undone as far as this early in the boot",
        }
    }
}

impl<'s, S: Step> Open<'s, S> {
    pub(crate) fn new(store: &'s Store, journal: Journal, records: Vec<Record<S>>) -> Self {
        let mut open = Open {
            store,
            journal,
            steps: vec![],
            sync: vec![],
            touched: 0,
            committed: false,
        };
        for record in records {
            match record {
                Record::Begin { steps, sync, .. } => (open.steps, open.sync) = (steps, sync),
                Record::Start(at) => open.touched = at + 1,
                Record::Done(_) => {}
                Record::Undone(at) => open.touched = at,
                Record::Commit => open.committed = true,
            }
        }
        open
    }

    /// The steps, in the order in which they are applied.
    #[must_use]
    pub fn steps(&self) -> &[S] {
        &self.steps
    }

    /// Applies every step, flushes, commits and finishes.
    ///
    /// # Errors
    /// When a step fails, it and all before it have been taken back; [`Failed::stuck`] says when even
    /// that was impossible.
    pub fn run(&mut self, context: &mut S::Context) -> Result<(), Failed> {
        if let Err((step, reason)) = self.apply_all(context) {
            let stuck = self.undo_all(context).err();
            return Err(Failed {
                step,
                reason,
                stuck,
            });
        }
        self.finish(context).map_err(|(step, reason)| Failed {
            stuck: Some((
                step.clone(),
                "it is committed, only tidying up is left".to_owned(),
            )),
            step,
            reason,
        })
    }

    /// Finishes a committed transaction, takes any other one back.
    ///
    /// # Errors
    /// Names the step that could not be taken back or finished, and why.
    pub fn recover(&mut self, context: &mut S::Context) -> Result<Recovery, (String, String)> {
        if self.committed {
            self.finish(context)?;
            return Ok(Recovery::Finished);
        }
        Ok(match self.undo_all(context)? {
            Undone::Whole => Recovery::Undone,
            Undone::Later => Recovery::Waiting,
        })
    }

    /// Whether the commit record is on the disk.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.committed
    }

    fn apply_all(&mut self, context: &mut S::Context) -> Result<(), (String, String)> {
        for at in 0..self.steps.len() {
            self.write(&Record::Start(at))?;
            self.touched = at + 1;
            self.fault("started", at)?;
            let step = &self.steps[at];
            step.apply(context)
                .map_err(|error| (step.name().to_owned(), format!("{error:#}")))?;
            self.fault("applied", at)?;
            self.write(&Record::Done(at))?;
            self.fault("done", at)?;
        }
        self.flush()?;
        self.write(&Record::Commit)?;
        self.committed = true;
        // The commit is on the disk: a failure from here on is not one of the transaction's.
        let _ = fault::point("committed");
        Ok(())
    }

    fn undo_all(&mut self, context: &mut S::Context) -> Result<Undone, (String, String)> {
        while let Some(at) = self.touched.checked_sub(1) {
            let step = &self.steps[at];
            match step.undo(context) {
                Ok(Undone::Whole) => {}
                Ok(Undone::Later) => return Ok(Undone::Later),
                Err(error) => return Err((step.name().to_owned(), format!("{error:#}"))),
            }
            self.flush()?;
            self.write(&Record::Undone(at))?;
            self.touched = at;
            self.fault("undone", at)?;
        }
        self.store.close().map_err(of_journal)?;
        Ok(Undone::Whole)
    }

    fn finish(&mut self, context: &mut S::Context) -> Result<(), (String, String)> {
        for step in self.steps.iter().rev() {
            step.finish(context)
                .map_err(|error| (step.name().to_owned(), format!("{error:#}")))?;
        }
        self.store.close().map_err(of_journal)
    }

    /// Puts on the disk what the steps did, before a record says that they did it: not every file
    /// system keeps the order between the journal and other files by itself.
    fn flush(&self) -> Result<(), (String, String)> {
        self.sync
            .iter()
            .try_for_each(|path| Journal::sync_file_system(path))
            .map_err(of_journal)
    }

    fn write(&mut self, record: &Record<S>) -> Result<(), (String, String)> {
        self.journal.write(record).map_err(of_journal)
    }

    fn fault(&self, when: &str, at: usize) -> Result<(), (String, String)> {
        let name = self.steps[at].name();
        fault::point(&format!("{when}:{name}")).map_err(|reason| (name.to_owned(), reason))
    }
}

fn of_journal(error: Error) -> (String, String) {
    ("the journal".to_owned(), error.to_string())
}
