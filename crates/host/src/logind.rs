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
    wait_for_predecessor(account)?;
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
    for session in show("show-user", &uid.to_string(), "Sessions")?.split_whitespace() {
        let class = show("show-session", session, "Class")?;
        if !class.is_empty() && !class.starts_with("manager") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// logind remembers an account by its uid for seconds after it is gone (`UserStopDelaySec`, logind.conf(5)), and would
/// then end the user manager of another one that has the uid.
fn wait_for_predecessor(account: &Account) -> Result<()> {
    until(
        PATIENCE,
        "logind still knows another account by that uid",
        || {
            let name = show("show-user", &account.uid.to_string(), "Name")?;
            Ok((name.is_empty() || name.trim() == account.name).then_some(()))
        },
    )
}

/// A property of a user or a session; empty for one that logind does not know.
fn show(what: &str, id: &str, property: &str) -> Result<String> {
    let property = format!("--property={property}");
    let told = run(["loginctl", what, &property, "--value", id]).finish()?;
    Ok(told.stdout)
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
