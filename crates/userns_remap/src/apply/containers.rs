//! Stopping and starting containers, and seeing that they run as they should.

use crate::step::Running;
use anyhow::{Context, Result, bail, ensure};
use host::{
    command::until,
    docker::{self, Container},
    user_namespace::maps_of,
};
use idmap::IdMaps;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

/// How long a container has to keep running before it counts as up.
const SETTLE: Duration = Duration::from_secs(2);

/// How many containers the client stops at a time; of more, the last would wait for the first.
const TOGETHER: usize = 50;
/// How long the engine may take to delete a container that ran with `--rm`.
const REMOVAL: Duration = Duration::from_secs(60);

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
    let mut removed = running.iter().filter(|container| container.removed);
    removed.try_for_each(is_removed)
}

/// The engine deletes a container that ran with `--rm` after it has answered.
fn is_removed(container: &Running) -> Result<()> {
    let left = format!(
        "container {} was started with --rm and stays",
        container.name
    );
    until(REMOVAL, &left, || {
        Ok((!docker::exists(&container.id)?).then_some(()))
    })
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
/// healthy where they were, and by just these maps.
pub fn start(running: &[Running], maps: &IdMaps, timeout: Duration) -> Result<()> {
    // A restart policy of `always` has the engine start it.
    let up = docker::running()?;
    in_order(running, |container| {
        if up.contains(&container.id) {
            return Ok(());
        }
        docker::start(&container.id, timeout)
            .with_context(|| format!("container {} does not start", container.name))
    })?;
    all_up(running, maps, timeout)
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
    maps: &IdMaps,
    timeout: Duration,
) -> Result<()> {
    stop_idle(idle)?;
    thread::sleep(SETTLE);
    all_up(running, maps, timeout)
}

fn all_up(running: &[Running], maps: &IdMaps, timeout: Duration) -> Result<()> {
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
        let Err(error) = docker::start(&container.id, timeout) else {
            return Ok(());
        };
        fail(if container.removed {
            format!(
                "container {} is gone, and its anonymous volumes with it: it was started with --rm, and the stop that \
                 allow_loss allows has deleted it",
                container.name
            )
        } else {
            format!(
                "container {} ran before and could not be started again: {error:#}",
                container.name
            )
        });
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
