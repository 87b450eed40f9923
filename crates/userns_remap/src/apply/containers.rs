//! Stopping and starting containers, and seeing that they run as they should.

use crate::step::Running;
use anyhow::{Context, Result, bail, ensure};
use host::{
    command::until,
    docker::{self, Container},
};
use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

/// How long a container has to keep running before it counts as up.
const SETTLE: Duration = Duration::from_secs(2);

/// How many containers the client stops at a time; of more, the last would wait for the first.
const TOGETHER: usize = 50;

/// Stops containers, those that nothing stands on first, and those of one level together: many do not
/// heed the signal and take all the time they have.
pub fn stop(running: &[Running]) -> Result<()> {
    for level in levels(running).values().rev() {
        let mut by_grace: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for container in level {
            let together = by_grace.entry(container.grace).or_default();
            together.push(container.id.as_str());
        }
        let groups: Vec<_> = by_grace
            .iter()
            .flat_map(|(grace, ids)| ids.chunks(TOGETHER).map(move |ids| (*grace, ids)))
            .collect();
        each(&groups, groups.len(), |(grace, ids)| {
            docker::stop(ids, *grace).context("containers do not stop")
        })?;
    }
    Ok(())
}

fn levels(running: &[Running]) -> BTreeMap<usize, Vec<&Running>> {
    let mut levels: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for container in running {
        levels.entry(container.level).or_default().push(container);
    }
    levels
}

/// Does it to all of them, so many at a time; a failure is returned once the others are through.
fn each<T: Sync>(
    items: &[T],
    at_a_time: usize,
    act: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let items_left = Mutex::new(items.iter());
    let next = || {
        items_left
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    };
    let work = || std::iter::from_fn(next).try_for_each(&act);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time.min(items.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let ends: Vec<_> = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| bail!("a thread panicked")))
            .collect();
        ends.into_iter().collect()
    })
}

/// Starts what ran, each after what it stands on and those of one level together, and returns once all are back:
/// healthy where they were, and under a map that begins at `uid_start`.
pub fn start(running: &[Running], uid_start: u32, timeout: Duration) -> Result<()> {
    // A restart policy of `always` has the engine start it.
    let up = docker::running()?;
    in_order(running, |container| {
        if up.contains(&container.id) {
            return Ok(());
        }
        docker::start(&container.id, timeout)
            .with_context(|| format!("container {} does not start", container.name))
    })?;
    all_up(running, uid_start, timeout)
}

/// Does it to each after all that it stands on.
fn in_order(running: &[Running], act: impl Fn(&Running) -> Result<()> + Sync) -> Result<()> {
    // A start is mostly work for the processors: many more at a time would only wait for each other.
    let at_a_time = thread::available_parallelism().map_or(1, |processors| 2 * processors.get());
    let levels = levels(running);
    let mut levels = levels.values();
    levels.try_for_each(|level| each(level, at_a_time, |container| act(container)))
}

/// Stops what did not run, and sees that what ran keeps running.
pub fn settle(
    running: &[Running],
    idle: &[String],
    uid_start: u32,
    timeout: Duration,
) -> Result<()> {
    stop_idle(idle)?;
    thread::sleep(SETTLE);
    all_up(running, uid_start, timeout)
}

fn all_up(running: &[Running], uid_start: u32, timeout: Duration) -> Result<()> {
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
    let idle = up.filter(|container| idle.contains(&container.id));
    let idle: Vec<_> = idle.map(|container| Running::of((0, container))).collect();
    stop(&idle)
}

/// Starts what ran and stops what did not, as far as it can be done, and names what cannot.
pub fn start_what_can(running: &[Running], idle: &[String], timeout: Duration) -> Vec<String> {
    let failed = Mutex::new(vec![]);
    let fail = |text| {
        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.push(text);
    };
    let started = in_order(running, |container| {
        if let Err(error) = docker::start(&container.id, timeout) {
            fail(format!(
                "container {} ran before and could not be started again: {error:#}",
                container.name
            ));
        }
        Ok(())
    });
    for error in [started, stop_idle(idle)]
        .into_iter()
        .filter_map(Result::err)
    {
        fail(format!("{error:#}"));
    }
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
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
