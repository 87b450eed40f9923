//! Stopping and starting containers, and seeing that they run as they should.

use crate::step::Running;
use anyhow::{Context, Result, bail, ensure};
use host::{
    command::until,
    docker::{self, Container},
    user_namespace::maps_of,
};
use idmap::IdMaps;
use std::{collections::BTreeMap, thread, time::Duration};

/// How long a container has to keep running before it counts as up.
const SETTLE: Duration = Duration::from_secs(2);

/// Stops containers, those that nothing stands on first, and those of one level together: many do not
/// heed the signal and take all the time they have.
pub fn stop(running: &[Running]) -> Result<()> {
    let mut levels: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for container in running {
        levels.entry(container.level).or_default().push(container);
    }
    for level in levels.values().rev() {
        thread::scope(|scope| {
            let stops: Vec<_> = level
                .iter()
                .map(|container| scope.spawn(|| stop_one(container)))
                .collect();
            stops
                .into_iter()
                .try_for_each(|stop| stop.join().unwrap_or_else(|_| bail!("a thread panicked")))
        })?;
    }
    Ok(())
}

fn stop_one(container: &Running) -> Result<()> {
    docker::stop(&container.id, container.grace)
        .with_context(|| format!("container {} does not stop", container.name))
}

/// Starts what ran and stops what did not, then sees that what ran keeps running, healthy where it was, and
/// by just these maps.
pub fn start_exactly(
    running: &[Running],
    idle: &[String],
    maps: &IdMaps,
    timeout: Duration,
) -> Result<()> {
    for container in running {
        docker::start(&container.id, timeout)
            .with_context(|| format!("container {} does not start", container.name))?;
    }
    stop_idle(idle)?;
    thread::sleep(SETTLE);
    until(timeout, "containers do not come back healthy", || {
        let all = docker::containers()?;
        let find = |wanted: &Running| all.iter().find(|container| container.id == wanted.id);
        let states: Vec<_> = running
            .iter()
            .map(|wanted| not_yet(wanted, find(wanted), maps))
            .collect();
        match states.into_iter().collect::<Result<Vec<_>>>() {
            // Waiting would not help.
            Err(down) => Ok(Some(Err(down))),
            Ok(states) => {
                let waiting: Vec<_> = states.into_iter().flatten().collect();
                ensure!(waiting.is_empty(), "{}", waiting.join("; "));
                Ok(Some(Ok(())))
            }
        }
    })?
}

/// A restart policy of `always` starts a container with the engine even where it was stopped by hand.
fn stop_idle(idle: &[String]) -> Result<()> {
    let found = docker::containers()?;
    let up = found
        .iter()
        .filter(|container| matches!(container.state.status.as_str(), "running" | "restarting"));
    up.filter(|container| idle.contains(&container.id))
        .try_for_each(|container| stop_one(&Running::of((0, container))))
}

/// Starts what ran and stops what did not, as far as it can be done, and names what cannot.
pub fn start_what_can(running: &[Running], idle: &[String], timeout: Duration) -> Vec<String> {
    let failed = running.iter().filter_map(|container| {
        let error = docker::start(&container.id, timeout).err()?;
        Some(format!(
            "container {} ran before and could not be started again: {error:#}",
            container.name
        ))
    });
    let not_stopped = stop_idle(idle).err().map(|error| format!("{error:#}"));
    failed.chain(not_stopped).collect()
}

/// What there is to wait for: that it is being restarted, or that its health check has not passed yet.
fn not_yet(wanted: &Running, found: Option<&Container>, maps: &IdMaps) -> Result<Option<String>> {
    let name = &wanted.name;
    let Some(found) = found else {
        bail!("container {name} is gone")
    };
    let state = &found.state;
    match state.status.as_str() {
        "running" => {}
        "restarting" => {
            return Ok(Some(format!(
                "container {name} starts again and again: {}",
                last_words(&wanted.id)
            )));
        }
        other => bail!(
            "container {name} ran before and is now {other}: {}",
            last_words(&wanted.id)
        ),
    }
    let found_maps = maps_of(state.pid).with_context(|| format!("container {name}"))?;
    let hosts = IdMaps::identity();
    let expected = if wanted.host_mode { &hosts } else { maps };
    ensure!(
        found_maps == *expected,
        "container {name} runs with the user ids {} and the group ids {}, not with {} and {}",
        found_maps.uid,
        found_maps.gid,
        expected.uid,
        expected.gid
    );
    let health = state
        .health()
        .filter(|health| wanted.healthy && *health != "healthy");
    Ok(health.map(|health| {
        let output = state.health_output();
        format!("container {name} was healthy before and is {health} now: {output}")
    }))
}

fn last_words(id: &str) -> String {
    let logs = docker::docker(["container", "logs", "--tail", "5", id]).finish();
    logs.map(|logs| format!("{}{}", logs.stdout, logs.stderr).trim().to_owned())
        .unwrap_or_default()
}
