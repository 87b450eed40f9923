//! Units stopped, started and taken into what starts at boot.

use super::Context;
use crate::{
    observe,
    step::{Side, Step, Unit, What},
};
use anyhow::{Context as _, Result};
use host::{
    accounts::Account,
    command, logind, podman,
    systemd::{self, Manager},
};
use std::time::Duration;

/// How long an account's user manager may take to come up.
const MANAGER: Duration = Duration::from_secs(90);

/// The account's manager, once it answers.
fn manager(account: &Account) -> Result<Manager<'_>> {
    if !observe::manager_answers(account) {
        // One that lingers is started at boot; after a kill or a crash of it this helps.
        let unit = logind::manager(account.uid);
        let _ = systemd::start(&[&unit], MANAGER);
    }
    command::until(
        MANAGER,
        &format!("the user manager of {}", account.name),
        || Ok(observe::manager_answers(account).then_some(())),
    )?;
    Ok(Manager::Of(account))
}

fn of_manager(units: &[Unit], system: bool) -> Vec<&str> {
    let units = units.iter().filter(|unit| unit.system == system);
    units.map(|unit| unit.name.as_str()).collect()
}

fn each(
    account: &Account,
    units: &[Unit],
    act: impl Fn(Manager<'_>, &[&str]) -> Result<()>,
) -> Result<()> {
    let (own, of_system) = (of_manager(units, false), of_manager(units, true));
    if !own.is_empty() {
        act(manager(account)?, &own)?;
    }
    if !of_system.is_empty() {
        act(Manager::System, &of_system)?;
    }
    Ok(())
}

/// Stops them; one that is not loaded any more runs nothing.
pub fn stop(step: &Step, side: Side, units: &[Unit], timeout: Duration) -> Result<()> {
    each(step.account(side), units, |manager, units| {
        for unit in units {
            if manager.property(unit, "LoadState")? != "not-found" {
                manager.stop(&[unit], timeout)?;
            }
        }
        let still = |unit: &&&str| {
            let state = manager.active_state(unit);
            !state.is_ok_and(|state| matches!(state.as_str(), "inactive" | "failed"))
        };
        let running: Vec<_> = units.iter().filter(still).copied().collect();
        anyhow::ensure!(running.is_empty(), "{} still runs", running.join(", "));
        Ok(())
    })
}

/// Starts them in one go, so that they come in the order that they need.
pub fn start(step: &Step, side: Side, units: &[Unit], timeout: Duration) -> Result<()> {
    podman::forget_dead_holder(step.account(side));
    each(step.account(side), units, |manager, units| {
        manager.reset_failed(units)?;
        manager.start(units, timeout).with_context(|| {
            let logs = units.iter().map(|unit| manager.journal_tail(unit, 20));
            logs.collect::<Vec<_>>().join("\n")
        })
    })
}

pub fn enable(step: &Step, side: Side, verb: &str, units: &[Unit]) -> Result<()> {
    each(step.account(side), units, |manager, units| {
        manager.systemctl(verb, units).stdout().map(drop)
    })
}

/// Has the managers read their units again.
pub fn reload(step: &Step, side: Side) -> Result<()> {
    manager(step.account(side))?.daemon_reload()?;
    systemd::daemon_reload()
}

/// Stops what the new account's manager may have started by itself after a reboot.
pub fn stop_new(step: &Step, context: &Context) -> Result<()> {
    let What::Write { changes } = &step.what else {
        return Ok(());
    };
    let units: Vec<_> = (changes.iter())
        .filter_map(|change| {
            Some(Unit {
                name: crate::units::service_of_file(&change.path, change.after.as_deref()?)?,
                system: change.place == crate::units::Place::System,
            })
        })
        .collect();
    stop(step, Side::New, &units, context.timeout)
}
