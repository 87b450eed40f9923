//! Reversible steps with a write-ahead journal: after a crash, finish or undo.
//!
//! A transaction is a list of [`Step`]s that is known whole before the first one runs. The list is
//! written to a journal, each step is announced there (and the announcement flushed to the disk)
//! before it runs, and the last record is the commit. Whoever finds an open transaction later, in a
//! new process or after a reboot, undoes every announced step in reverse order, or, where the commit
//! record is there, finishes it. A step's `undo` therefore has to cope with a step that never ran,
//! ran in part, or ran whole, and to be repeatable itself.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use transaction::{Step, Store, Undone};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Make(std::path::PathBuf);
//!
//! impl Step for Make {
//!     type Context = ();
//!     type Error = std::io::Error;
//!     fn name(&self) -> &str { "make" }
//!     fn apply(&self, (): &mut ()) -> std::io::Result<()> { std::fs::create_dir(&self.0) }
//!     fn undo(&self, (): &mut ()) -> std::io::Result<Undone> {
//!         let _ = std::fs::remove_dir(&self.0);
//!         Ok(Undone::Whole)
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let scratch = tempfile::tempdir()?;
//! let store = Store::lock(&scratch.path().join("state"))?;
//! let target = scratch.path().join("made");
//! let mut open = store.begin("example", vec![Make(target.clone())], vec![])?;
//! open.run(&mut ()).map_err(|failed| failed.to_string())?;
//! assert!(target.is_dir() && !store.is_open());
//! # Ok(())
//! # }
//! ```

mod error;
mod fault;
mod journal;
mod open;
mod store;

pub use error::{Error, Failed};
pub use open::{Open, Recovery};
pub use store::{IN_PROGRESS, Store};

use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Display;

/// One reversible step. It is written to the journal before it runs, so it holds all that its
/// `undo` needs in a process that knows nothing else.
pub trait Step: Serialize + DeserializeOwned {
    /// What the steps of one transaction share: handles, time-outs, collected results.
    type Context;
    /// What a step fails with; it reaches the user as text.
    type Error: Display;

    /// A short name in snake_case for the journal and for the user, such as `move_root`.
    fn name(&self) -> &str;

    /// Does the step.
    ///
    /// # Errors
    /// On an error the transaction undoes this step, which may have run in part, and all before it.
    fn apply(&self, context: &mut Self::Context) -> Result<(), Self::Error>;

    /// Takes the step back, whether it ran whole, in part or not at all. Repeatable.
    ///
    /// # Errors
    /// On an error the transaction stays open, and a later run tries again from this step.
    fn undo(&self, context: &mut Self::Context) -> Result<Undone, Self::Error>;

    /// Tidies up once the transaction is committed. Repeatable.
    ///
    /// # Errors
    /// On an error the transaction stays open (committed), and a later run finishes it.
    fn finish(&self, _context: &mut Self::Context) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// How far an undo came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// The step is taken back.
    Whole,
    /// It cannot be taken back yet (a daemon that may not start this early in the boot): the
    /// transaction stays open at this step.
    Later,
}
