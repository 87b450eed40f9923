//! Whether the service is what it was.

use crate::{
    log,
    step::{Expected, Side, Step},
};
use anyhow::{Context, Result, bail, ensure};
use host::{
    command,
    podman::{Container, Podman},
    systemd::Manager,
    user_namespace,
};
use std::{
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A service that ends soon after its start has not come up.
const SETTLED: Duration = Duration::from_secs(3);

/// What was found right; `started` is in seconds since 1970.
///
/// # Errors
/// With what is not, once the time is up.
pub fn service(
    step: &Step,
    side: Side,
    expected: &Expected,
    started: i64,
    timeout: Duration,
) -> Result<Vec<String>> {
    if expected.units.is_empty() {
        return Ok(vec!["not running, as before".to_owned()]);
    }
    let look = || look(step, side, expected, started).map(Some);
    let name = &step.account(side).name;
    let before = command::until(timeout, &format!("the service as {name}"), look)?;
    thread::sleep(SETTLED);
    let after = look()?.context("no answer")?;
    ensure!(
        before.restarts == after.restarts,
        "a unit of the service was restarted within {} s",
        SETTLED.as_secs()
    );
    Ok(after.checks)
}

struct Seen {
    checks: Vec<String>,
    restarts: Vec<String>,
}

fn look(step: &Step, side: Side, expected: &Expected, started: i64) -> Result<Seen> {
    let account = step.account(side);
    let mut seen = Seen {
        checks: vec![],
        restarts: vec![],
    };
    for unit in &expected.units {
        let manager = match unit.system {
            true => Manager::System,
            false => Manager::Of(account),
        };
        let state = manager.active_state(&unit.name)?;
        ensure!(
            state == "active",
            "{} is {state}\n{}",
            unit.name,
            manager.journal_tail(&unit.name, 20)
        );
        seen.restarts
            .push(manager.property(&unit.name, "NRestarts")?);
        seen.checks.push(format!("{} is active", unit.name));
    }
    let podman = Podman {
        account,
        timeout: PATIENCE * 12,
    };
    let containers = podman.containers()?;
    let mut own = vec![];
    for (name, expected) in &expected.containers {
        let container = containers.iter().find(|container| container.name == *name);
        let container =
            container.with_context(|| format!("no container {name} of {}", account.name))?;
        check_container(container, expected, &mut seen.checks)?;
        own.push(container.clone());
    }
    for port in &expected.ports {
        let address = SocketAddr::from(([127, 0, 0, 1], *port));
        TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("port {port}"))?;
        seen.checks.push(format!("port {port} answers"));
    }
    for url in &expected.urls {
        let answer = minreq::get(url).with_timeout(PATIENCE.as_secs()).send();
        let status = answer.with_context(|| url.clone())?.status_code;
        ensure!(status < 400, "{url} answers {status}");
        seen.checks.push(format!("{url} answers {status}"));
    }
    if let Some(before) = &expected.complaints {
        let units: Vec<_> = expected
            .units
            .iter()
            .map(|unit| unit.name.clone())
            .collect();
        let now = log::complaints(account, &units, &own, Some(started))?;
        let new: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
        if let Some(line) = new.first() {
            bail!(
                "its log complains of permissions as it did not before ({} lines, such as \"{line}\"); where that is \
                 of no account, check_log=false",
                new.len()
            );
        }
        seen.checks
            .push("no new complaint of permissions in the log".to_owned());
    }
    Ok(seen)
}

fn check_container(
    container: &Container,
    expected: &crate::step::ExpectedContainer,
    checks: &mut Vec<String>,
) -> Result<()> {
    let name = &container.name;
    ensure!(container.state.running, "container {name} does not run");
    let maps = user_namespace::maps_of(container.state.pid)?;
    ensure!(
        maps == expected.maps,
        "container {name} has the ids {} and {}, not {} and {}",
        maps.uid,
        maps.gid,
        expected.maps.uid,
        expected.maps.gid
    );
    checks.push(format!("container {name} has its ids ({})", maps.uid));
    if expected.healthy {
        let status = &container.state.health.status;
        ensure!(status == "healthy", "container {name} is {status}");
        checks.push(format!("container {name} is healthy"));
    }
    Ok(())
}
