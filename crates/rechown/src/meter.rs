//! How far this process is, for whoever wants to show it. One for all: a process shifts one thing at a time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static SHIFTING: AtomicBool = AtomicBool::new(false);
static ENTRIES: AtomicU64 = AtomicU64::new(0);
/// Zero: unknown.
static TOTAL: AtomicU64 = AtomicU64::new(0);

/// How far the survey, shift or undo is that this process runs, or has run last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meter {
    /// Whether owners are being changed; a survey only looks.
    pub shifting: bool,
    /// Entries met so far; where a shift goes in two passes, those of both.
    pub entries: u64,
    /// Entries to be met in all. A survey does not know them, nor does a run that takes up another.
    pub total: Option<u64>,
}

/// Reads the meter, at any time and from any thread.
#[must_use]
pub fn meter() -> Meter {
    let total = TOTAL.load(Ordering::Relaxed);
    Meter {
        shifting: SHIFTING.load(Ordering::Relaxed),
        entries: ENTRIES.load(Ordering::Relaxed),
        total: (total > 0).then_some(total),
    }
}

pub(crate) fn begin(shifting: bool, total: u64) {
    SHIFTING.store(shifting, Ordering::Relaxed);
    ENTRIES.store(0, Ordering::Relaxed);
    TOTAL.store(total, Ordering::Relaxed);
}

pub(crate) fn add(entries: u64) {
    ENTRIES.fetch_add(entries, Ordering::Relaxed);
}
