//! systemd units, through systemctl(1).

use crate::command::{Run, run};
use anyhow::Result;
use std::time::Duration;

fn systemctl(verb: &str, units: &[&str]) -> Run {
    run(["systemctl", verb].into_iter().chain(units.iter().copied()))
}

/// `ActiveState` of a unit: `active`, `inactive`, `failed`, `activating`, …
///
/// # Errors
/// When systemctl cannot be run.
pub fn active_state(unit: &str) -> Result<String> {
    property(unit, "ActiveState")
}

/// One property of a unit; empty for a unit that does not exist, where the property has no default.
///
/// # Errors
/// When systemctl cannot be run.
pub fn property(unit: &str, name: &str) -> Result<String> {
    let value = run(["systemctl", "show", "--property", name, "--value", unit]).stdout()?;
    Ok(value.trim().to_owned())
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

/// Starts units and waits for them.
///
/// # Errors
/// When one does not come up within `timeout`, with systemctl's words.
pub fn start(units: &[&str], timeout: Duration) -> Result<()> {
    systemctl("start", units)
        .timeout(timeout)
        .stdout()
        .map(drop)
}

/// Stops units and waits for them.
///
/// # Errors
/// When one is not down within `timeout`, with systemctl's words.
pub fn stop(units: &[&str], timeout: Duration) -> Result<()> {
    systemctl("stop", units).timeout(timeout).stdout().map(drop)
}

/// Makes systemd forget failures and start counts, which would otherwise hit the start limit after a
/// few restarts. A unit that is not loaded has none: not an error.
///
/// # Errors
/// When systemctl cannot be run.
pub fn reset_failed(units: &[&str]) -> Result<()> {
    systemctl("reset-failed", units).finish().map(drop)
}

/// Makes systemd read its unit files again.
///
/// # Errors
/// With systemctl's words.
pub fn daemon_reload() -> Result<()> {
    systemctl("daemon-reload", &[]).stdout().map(drop)
}

/// The last `lines` lines of a unit's journal since it was last started, for an error message.
#[must_use]
pub fn journal_tail(unit: &str, lines: usize) -> String {
    let lines = lines.to_string();
    run([
        "journalctl",
        "--unit",
        unit,
        "--no-pager",
        "--output",
        "cat",
        "--lines",
        &lines,
    ])
    .stdout()
    .unwrap_or_default()
}
