//! This process: surviving the loss of whoever started it.

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::sync::{Arc, atomic::AtomicBool};

/// Blocks SIGHUP for this thread and all it starts later: the loss of a terminal or of an SSH session
/// does not end a change half-way. (A broken pipe already is an error to a Rust program, not a signal.)
///
/// # Errors
/// When the system refuses, which it has no reason to.
pub fn survive_hangup() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGHUP);
    signals.thread_block().context("cannot block SIGHUP")
}

/// A flag that SIGINT and SIGTERM set from now on, instead of ending the process in the middle of a step.
///
/// # Errors
/// When the system refuses, which it has no reason to.
pub fn on_interrupt() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&interrupted)).context("cannot handle signals")?;
    }
    Ok(interrupted)
}

/// Whether this process is root's.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
