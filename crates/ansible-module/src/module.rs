//! Running a module: read the call, check it, run it, print the result.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::{Failure, Invocation, Outcome, Spec};

/// A module: a specification and how it runs.
#[derive(Debug, Clone)]
pub struct Module {
    pub(crate) spec: Spec,
    pub(crate) version: &'static str,
    pub(crate) kept: Option<PathBuf>,
}

impl Module {
    /// A module of this specification.
    #[must_use]
    pub fn new(spec: Spec) -> Self {
        Self {
            spec,
            version: env!("CARGO_PKG_VERSION"),
            kept: None,
        }
    }

    /// What `--version` prints; `env!("CARGO_PKG_VERSION")` of the executable.
    #[must_use]
    pub fn version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    /// Where the result lies until it is delivered, so that the next run can report the result of
    /// one whose controller vanished. Nothing is kept where the directory does not exist yet.
    #[must_use]
    pub fn keep_result_at(self, path: impl Into<PathBuf>) -> Self {
        Self {
            kept: Some(path.into()),
            ..self
        }
    }

    /// Runs the module: reads the call, checks it, calls `body`, prints the result.
    pub fn run(self, body: impl FnOnce(&mut Invocation) -> Result<Outcome, Failure>) -> ExitCode {
        let _ = body;
        ExitCode::FAILURE
    }
}
