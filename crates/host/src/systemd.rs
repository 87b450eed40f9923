//! systemd units, through systemctl(1).

use crate::{
    accounts::Account,
    command::{Run, run},
};
use anyhow::Result;
use std::time::Duration;

/// The manager of the system's units, or that of an account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager<'a> {
    /// The first process.
    System,
    /// `user@UID.service`; the account needs to linger, or to be logged in.
    Of(&'a Account),
}

impl Manager<'_> {
    /// systemctl(1), ready to run.
    #[must_use]
    pub fn systemctl(&self, verb: &str, words: &[&str]) -> Run {
        let words = words.iter().copied();
        match self {
            Manager::System => run(["systemctl", verb].into_iter().chain(words)),
            Manager::Of(account) => {
                run(["systemctl", "--user", verb].into_iter().chain(words)).user(account)
            }
        }
    }

    /// One property of a unit; empty for a unit that does not exist, where the property has no default.
    ///
    /// # Errors
    /// When systemctl cannot be run, or the manager does not answer.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        let value = self.systemctl("show", &["--property", name, "--value", unit]);
        Ok(value.stdout()?.trim().to_owned())
    }

    /// `ActiveState` of a unit: `active`, `inactive`, `failed`, `activating`, …
    ///
    /// # Errors
    /// As [`Manager::property`].
    pub fn active_state(&self, unit: &str) -> Result<String> {
        self.property(unit, "ActiveState")
    }

    /// `UnitFileState` of a unit: `enabled`, `disabled`, `static`, `generated`, or empty.
    ///
    /// # Errors
    /// As [`Manager::property`].
    pub fn unit_file_state(&self, unit: &str) -> Result<String> {
        self.property(unit, "UnitFileState")
    }

    /// Starts units and waits for them.
    ///
    /// # Errors
    /// When one does not come up within `timeout`, with systemctl's words.
    pub fn start(&self, units: &[&str], timeout: Duration) -> Result<()> {
        self.change("start", units, timeout)
    }

    /// Stops units and waits for them.
    ///
    /// # Errors
    /// When one is not down within `timeout`, with systemctl's words.
    pub fn stop(&self, units: &[&str], timeout: Duration) -> Result<()> {
        self.change("stop", units, timeout)
    }

    fn change(&self, verb: &str, units: &[&str], timeout: Duration) -> Result<()> {
        self.systemctl(verb, units)
            .timeout(timeout)
            .stdout()
            .map(drop)
    }

    /// Makes it forget failures and start counts, which would otherwise hit the start limit after a
    /// few restarts. A unit that is not loaded has none: not an error.
    ///
    /// # Errors
    /// When systemctl cannot be run.
    pub fn reset_failed(&self, units: &[&str]) -> Result<()> {
        self.systemctl("reset-failed", units).finish().map(drop)
    }

    /// The last `lines` lines of a unit's journal, for an error message.
    #[must_use]
    pub fn journal_tail(&self, unit: &str, lines: usize) -> String {
        let of = match self {
            Manager::System => vec![format!("--unit={unit}")],
            // Its own, and what its manager says of it.
            Manager::Of(account) => vec![
                format!("_SYSTEMD_OWNER_UID={}", account.uid),
                format!("_SYSTEMD_USER_UNIT={unit}"),
                "+".to_owned(),
                format!("_UID={}", account.uid),
                format!("USER_UNIT={unit}"),
            ],
        };
        let lines = format!("--lines={lines}");
        let fixed = ["journalctl", "--no-pager", "--output=cat", &lines];
        let words = fixed.into_iter().chain(of.iter().map(String::as_str));
        run(words).stdout().unwrap_or_default()
    }

    /// Makes it read its unit files again, and run its generators.
    ///
    /// # Errors
    /// With systemctl's words.
    pub fn daemon_reload(&self) -> Result<()> {
        self.systemctl("daemon-reload", &[]).stdout().map(drop)
    }
}

/// [`Manager::active_state`] of the system's.
///
/// # Errors
/// When systemctl cannot be run.
pub fn active_state(unit: &str) -> Result<String> {
    Manager::System.active_state(unit)
}

/// [`Manager::property`] of the system's.
///
/// # Errors
/// When systemctl cannot be run.
pub fn property(unit: &str, name: &str) -> Result<String> {
    Manager::System.property(unit, name)
}

/// The active units that systemd stops when it stops `unit`: those that require it, are bound to it or
/// are part of it.
///
/// # Errors
/// When systemctl cannot be run.
pub fn active_dependents(unit: &str) -> Result<Vec<String>> {
    let mut found = vec![];
    for relation in ["RequiredBy", "BoundBy", "ConsistsOf"] {
        for dependent in property(unit, relation)?.split_whitespace() {
            if active_state(dependent)? == "active" {
                found.push(dependent.to_owned());
            }
        }
    }
    Ok(found)
}

/// [`Manager::start`] of the system's.
///
/// # Errors
/// When one does not come up within `timeout`, with systemctl's words.
pub fn start(units: &[&str], timeout: Duration) -> Result<()> {
    Manager::System.start(units, timeout)
}

/// [`Manager::stop`] of the system's.
///
/// # Errors
/// When one is not down within `timeout`, with systemctl's words.
pub fn stop(units: &[&str], timeout: Duration) -> Result<()> {
    Manager::System.stop(units, timeout)
}

/// [`Manager::reset_failed`] of the system's.
///
/// # Errors
/// When systemctl cannot be run.
pub fn reset_failed(units: &[&str]) -> Result<()> {
    Manager::System.reset_failed(units)
}

/// [`Manager::daemon_reload`] of the system's.
///
/// # Errors
/// With systemctl's words.
pub fn daemon_reload() -> Result<()> {
    Manager::System.daemon_reload()
}

/// [`Manager::journal_tail`] of the system's.
#[must_use]
pub fn journal_tail(unit: &str, lines: usize) -> String {
    Manager::System.journal_tail(unit, lines)
}
