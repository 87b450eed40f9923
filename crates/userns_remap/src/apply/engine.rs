//! Stopping the engine, proving that it is gone, starting it, and seeing what it has.

use crate::{
    apply::containers,
    conditions, guard,
    order::start_order,
    step::{Inventory, Running},
};
use anyhow::{Context, Result, bail, ensure};
use host::{
    command::{run, until},
    docker, mounts, systemd,
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How long the engine may take to stop once its containers are stopped.
const STOP: Duration = Duration::from_secs(120);

/// How long shims may linger after the engine is gone.
const LINGER: Duration = Duration::from_secs(20);

pub fn stop(units: &[String]) -> Result<()> {
    let units: Vec<_> = units.iter().map(String::as_str).collect();
    stop_for_good(&units)
}

/// Whoever starts the engine at the same time makes systemd cancel the stop.
fn stop_for_good(units: &[&str]) -> Result<()> {
    until(STOP, "the engine does not stop", || {
        systemd::stop(units, STOP).map(Some)
    })
}

/// Takes a start back: whatever containers run now are stopped, then the engine, in whatever state it
/// is, and it may not start again.
pub fn unstart(engine_root: &Path) -> Result<()> {
    if let Ok(containers) = docker::containers() {
        let running: Vec<_> = start_order(&containers)
            .into_iter()
            .map(Running::of)
            .collect();
        containers::stop(&running)?;
    }
    hold()?;
    prove_stopped(engine_root)
}

/// Removes the bridges of networks that the next engine does not know. One of the same subnet would take what is
/// meant for its containers.
pub fn remove_bridges(names: &[String]) -> Result<()> {
    let is_there = |name: &&String| Path::new("/sys/class/net").join(name).exists();
    names
        .iter()
        .filter(is_there)
        .try_for_each(|name| run(["ip", "link", "delete", name]).stdout().map(drop))
}

/// From here on nothing starts the engine: whatever started it since it was stopped (a package upgrade, a client's
/// call of its socket) has done so in vain.
pub fn hold() -> Result<()> {
    guard::hold()?;
    stop_for_good(&docker::UNITS)
}

/// Nothing may use the data root: no shim of the engine's, no mount in any mount namespace, no program that writes
/// into containers' files.
pub fn prove_stopped(data_root: &Path) -> Result<()> {
    until(LINGER, "the engine is stopped, but not gone", || {
        let shims = shims();
        ensure!(
            shims.is_empty(),
            "containers' shims still run: processes {}",
            shims.join(", ")
        );
        if let Some(writer) = conditions::writers(data_root)?.first() {
            bail!("{}", conditions::open_file(writer));
        }
        let held = mounts::holders(data_root)?;
        // The data root may be a mount of its own: what is in it moves within it.
        if let Some(holder) = held.iter().find(|holder| holder.point != data_root) {
            let point = holder.point.display();
            bail!(
                "{point} is still mounted, as process {} sees it",
                holder.pid
            );
        }
        Ok(Some(()))
    })
}

/// `containerd-shim-runc-v2 -namespace moby …`, or `moby-<uid>.<gid>`.
fn shims() -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|&byte| byte == 0);
        words
            .next()
            .is_some_and(|program| program.windows(15).any(|part| part == b"containerd-shim"))
            && words.any(|word| word.starts_with(b"moby"))
    })
    .collect()
}

/// Starts the units and waits until the engine answers and uses the root it should.
pub fn start(units: &[String], expected_root: &Path, timeout: Duration) -> Result<()> {
    let root = bring_up(units, timeout)?;
    let (found, expected) = (root.display(), expected_root.display());
    ensure!(
        root == expected_root,
        "the engine came up on {found}, not on {expected}"
    );
    Ok(())
}

/// Starts the units again as they were, on whatever root is configured.
pub fn restart(units: &[String], timeout: Duration) -> Result<()> {
    if units.is_empty() {
        return Ok(());
    }
    bring_up(units, timeout).map(drop)
}

/// The data root that the engine answers from.
fn bring_up(units: &[String], timeout: Duration) -> Result<PathBuf> {
    let since = SystemTime::now();
    let units: Vec<_> = units.iter().map(String::as_str).collect();
    let start = || {
        // A few restarts in a row hit the start limit otherwise.
        systemd::reset_failed(&units)?;
        systemd::start(&units, timeout)
    };
    // Whoever starts the service in the same instant has its socket refuse to ("already active").
    start()
        .or_else(|_| start())
        .and_then(|()| {
            until(timeout, "the engine does not answer", || {
                Ok(Some(docker::info()?.docker_root_dir))
            })
        })
        .map_err(|error| with_its_words(error, since))
}

/// Adds what dockerd itself wrote: systemctl only says that it failed.
fn with_its_words(error: anyhow::Error, since: SystemTime) -> anyhow::Error {
    let seconds = since
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let since = format!("@{seconds}");
    // Only what the unit's processes wrote, whatever they are called, not what systemd says of them.
    let journal = [
        "journalctl",
        "_SYSTEMD_UNIT=docker.service",
        "--since",
        &since,
    ];
    let form = ["--no-pager", "--output", "cat", "--lines", "8"];
    match run(journal.iter().chain(&form)).stdout() {
        Ok(words) if !words.trim().is_empty() => {
            error.context(format!("dockerd said:\n{}\n", words.trim()))
        }
        _ => error,
    }
}

/// What the engine has now.
pub fn inventory() -> Result<Inventory> {
    Ok(Inventory::new(
        docker::images()?,
        &docker::containers()?,
        &docker::networks()?,
        &docker::volumes()?,
    ))
}

/// Fails where other containers run than these.
pub fn still_runs(ids: &[String]) -> Result<()> {
    let containers = docker::containers()?;
    let now: BTreeSet<_> = (containers.iter())
        .filter(|container| container.state.status == "running")
        .map(|container| &container.id)
        .collect();
    let differing: Vec<_> = (ids
        .iter()
        .collect::<BTreeSet<_>>()
        .symmetric_difference(&now))
    .map(|id| id.get(..12).unwrap_or(id))
    .collect();
    ensure!(
        differing.is_empty(),
        "containers were started or stopped meanwhile: {}; run it again",
        differing.join(", ")
    );
    Ok(())
}

pub fn verify(expected: &Inventory) -> Result<()> {
    let found = inventory().context("the engine does not say what it has")?;
    let lists = [
        ("images", &expected.images, &found.images),
        ("containers", &expected.containers, &found.containers),
        ("networks", &expected.networks, &found.networks),
        ("volumes", &expected.volumes, &found.volumes),
    ];
    for (what, expected, found) in lists {
        let missing: Vec<_> = expected
            .iter()
            .filter(|id| !found.contains(id))
            .cloned()
            .collect();
        ensure!(
            missing.is_empty(),
            "{what} are missing after the change: {}",
            missing.join(", ")
        );
    }
    Ok(())
}
