//! Stopping and starting containers, and seeing that they run as they should.

use crate::step::Running;
use anyhow::{Context, Result, bail, ensure};
use host::{
    command::until,
    docker::{self, Container},
};
use std::{collections::BTreeMap, fs, thread, time::Duration};

/// How long a container has to keep running before it counts as up.
const SETTLE: Duration = Duration::from_secs(2);

/// How long the engine may take to delete a container that ran with `--rm`.
const REMOVAL: Duration = Duration::from_secs(60);

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
        .with_context(|| format!("container {} does not stop", container.name))?;
    if container.removed {
        // The engine deletes it after it has answered.
        let left = format!(
            "container {} was started with --rm and stays",
            container.name
        );
        until(REMOVAL, &left, || {
            Ok((!docker::exists(&container.id)?).then_some(()))
        })?;
    }
    Ok(())
}

/// Starts what ran and stops what did not, then sees that what ran keeps running, healthy where it was, and
/// under a map that begins at `uid_start`.
pub fn start_exactly(
    running: &[Running],
    idle: &[String],
    uid_start: u32,
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
            .map(|wanted| is_up(wanted, find(wanted), uid_start))
            .collect();
        Ok(match states.into_iter().collect::<Result<Vec<_>>>() {
            // Waiting would not help.
            Err(down) => Some(Err(down)),
            Ok(up) => up.into_iter().all(|up| up).then_some(Ok(())),
        })
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
        if container.removed {
            return Some(format!(
                "container {} is gone, and its anonymous volumes with it: it was started with --rm, and the \
                 stop that allow_loss allows has deleted it",
                container.name
            ));
        }
        Some(format!(
            "container {} ran before and could not be started again: {error:#}",
            container.name
        ))
    });
    let not_stopped = stop_idle(idle).err().map(|error| format!("{error:#}"));
    failed.chain(not_stopped).collect()
}

/// `Ok(false)` while it is being restarted, or its health check has not decided yet.
fn is_up(wanted: &Running, found: Option<&Container>, uid_start: u32) -> Result<bool> {
    let name = &wanted.name;
    let Some(found) = found else {
        bail!("container {name} is gone")
    };
    let state = &found.state;
    match state.status.as_str() {
        "running" => {}
        "restarting" => return Ok(false),
        other => bail!(
            "container {name} ran before and is now {other}: {}",
            last_words(&wanted.id)
        ),
    }
    let start = map_start(state.pid).with_context(|| format!("container {name}"))?;
    let expected = if wanted.host_mode { 0 } else { uid_start };
    ensure!(
        start == expected,
        "container {name} runs with container root at {start}, not {expected}"
    );
    Ok(!wanted.healthy || state.health() == Some("healthy"))
}

/// The host id of uid 0 in a process's user namespace (user_namespaces(7)).
fn map_start(pid: u32) -> Result<u32> {
    let path = format!("/proc/{pid}/uid_map");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let first = text.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.next() == Some("0")).then(|| fields.next()?.parse().ok())?
    });
    first.with_context(|| format!("{path} does not map uid 0"))
}

fn last_words(id: &str) -> String {
    let logs = docker::docker(["container", "logs", "--tail", "5", id]).finish();
    logs.map(|logs| format!("{}{}", logs.stdout, logs.stderr).trim().to_owned())
        .unwrap_or_default()
}
