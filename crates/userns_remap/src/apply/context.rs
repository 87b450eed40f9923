//! What the steps of one run share.

use super::downtime::Downtime;
use crate::step::{Inventory, Step};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

/// What the steps of one run share, and what they learned.
pub struct Context {
    /// This early in the boot no unit can be started.
    pub boot: bool,
    pub timeout: Duration,
    /// Set when the user wants it to end: the change is then taken back.
    pub interrupted: Arc<AtomicBool>,
    pub warnings: Vec<String>,
    /// The step that is being taken, forward or back.
    pub step: Arc<Mutex<&'static str>>,
    pub shifted: Option<rechown::Report>,
    pub restarted: Vec<String>,
    /// The layers that are in the copy, and shifted, while all runs.
    pub copied_layers: Option<BTreeSet<String>>,
    /// What the engine had right before it was stopped, where that is some time after it was looked at.
    pub inventory: Option<Inventory>,
    pub downtime: Downtime,
}

impl Context {
    pub fn new(boot: bool, timeout: Duration) -> Context {
        Context {
            boot,
            timeout,
            interrupted: Arc::default(),
            warnings: vec![],
            step: Arc::new(Mutex::new("look")),
            shifted: None,
            restarted: vec![],
            copied_layers: None,
            inventory: None,
            downtime: Downtime::default(),
        }
    }

    pub fn takes(&self, step: &Step) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step.name();
    }
}
