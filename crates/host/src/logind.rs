//! Accounts whose user manager runs without a login, through loginctl(1).

use crate::{
    accounts::Account,
    command::{run, until},
    files, systemd,
};
use anyhow::{Result, ensure};
use std::{path::PathBuf, time::Duration};

/// How long a user manager may take to come up or to end: systemd's own default for a unit.
const PATIENCE: Duration = Duration::from_secs(90);

/// Whether the account's user manager is started at boot and outlives its sessions.
#[must_use]
pub fn lingers(name: &str) -> bool {
    mark(name).exists()
}

/// Has the account's user manager started at boot, and now, and waits for it.
///
/// # Errors
/// With loginctl's words, or the user manager's where it does not come up.
pub fn enable_linger(account: &Account) -> Result<()> {
    run(["loginctl", "enable-linger", &account.name]).stdout()?;
    let unit = manager(account.uid);
    systemd::start(&[&unit], PATIENCE)
}

/// Takes that back. The user manager ends, with all that it runs, unless somebody is logged in.
///
/// # Errors
/// With loginctl's words, or when the user manager stays.
pub fn disable_linger(name: &str, uid: u32) -> Result<()> {
    if lingers(name) {
        // Without the account loginctl knows nothing to forget.
        let known = crate::accounts::find(name)?.is_some();
        match known {
            true => run(["loginctl", "disable-linger", name])
                .stdout()
                .map(drop)?,
            false => files::remove_optional(&mark(name))?,
        }
    }
    if is_logged_in(uid)? {
        return Ok(());
    }
    let unit = manager(uid);
    systemd::stop(&[&unit], PATIENCE)?;
    let runtime = format!("user-runtime-dir@{uid}.service");
    systemd::stop(&[&runtime], PATIENCE)
}

/// Whether there is a session, beside the one by which the user manager itself counts from systemd 256 on.
fn is_logged_in(uid: u32) -> Result<bool> {
    let show = |what, id: &str, property: &str| {
        let property = format!("--property={property}");
        run(["loginctl", what, &property, "--value", id]).finish()
    };
    // Of an account without user manager and session it knows nothing, and fails.
    let sessions = show("show-user", &uid.to_string(), "Sessions")?;
    for session in sessions.stdout.split_whitespace() {
        let class = show("show-session", session, "Class")?;
        if class.status.success() && !class.stdout.starts_with("manager") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until no process has one of these ids.
///
/// # Errors
/// With those that are left.
pub fn wait_for_end(owns: impl Fn(u32) -> bool) -> Result<()> {
    until(Duration::from_secs(15), "processes of the account", || {
        let left = crate::process::of(&owns)?;
        let words: Vec<_> = left.iter().map(ToString::to_string).collect();
        ensure!(left.is_empty(), "{}", words.join(", "));
        Ok(Some(()))
    })
}

/// The unit of an account's user manager.
#[must_use]
pub fn manager(uid: u32) -> String {
    format!("user@{uid}.service")
}

fn mark(name: &str) -> PathBuf {
    PathBuf::from("/var/lib/systemd/linger").join(name)
}
