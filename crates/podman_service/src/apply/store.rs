//! What the new account's store has to have. What is made can be made again, and what is taken away may be gone.

use crate::{
    observe::credentials,
    step::{NewVolume, Own, Side, Step, Use},
};
use anyhow::{Context, Result, ensure};
use host::{
    accounts::Account,
    files,
    podman::{Listed, Network, Podman},
};
use serde_json::{Map, Value};
use std::path::PathBuf;

pub fn image(step: &Step, name: &str, pull: bool) -> Result<()> {
    let (old, new) = (step.podman(Side::Old), step.podman(Side::New));
    if pull {
        return new.call(&["pull", "--quiet", name]).stdout().map(drop);
    }
    let image = old.image(name)?;
    let image =
        image.with_context(|| format!("{} has no image {name} any more", step.from.name))?;
    old.copy_image(name, &image, &new)
        .with_context(|| format!("cannot copy image {name}"))
}

/// One that something else uses stays.
pub fn remove_image(step: &Step, name: &str) -> Result<()> {
    let podman = step.podman(Side::New);
    podman.call(&["image", "rm", name]).finish().map(drop)
}

/// One that is not in all it is what the old account has is worse than none.
pub fn network(step: &Step, network: &Network) -> Result<()> {
    let podman = step.podman(Side::New);
    let name = &network.name;
    if podman.network(name)?.is_none() {
        let words = network.create_words();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let made = podman.call(&words).stdout();
        made.with_context(|| format!("cannot make network {name} as {} has it", step.from.name))?;
    }
    let there = podman.network(name)?;
    let there = there.with_context(|| format!("network {name} is not there once it is made"))?;
    ensure!(
        there.is_like(network),
        "network {name} of {} cannot be carried whole: {} would get {}, not {}; make it for {1} by hand",
        step.from.name,
        step.to.name,
        serde_json::to_string(&there)?,
        serde_json::to_string(network)?
    );
    Ok(())
}

pub fn remove_network(step: &Step, name: &str) -> Result<()> {
    remove(
        &step.podman(Side::New),
        &["network", "rm", "--force", name],
        |podman| Ok(podman.network(name)?.is_some()),
    )
}

/// A unit that is stopped while it starts leaves its container behind.
pub fn remove_own(step: &Step, own: &Own) -> Result<()> {
    let podman = step.podman(Side::New);
    let runs = |it: &&Listed| it.names.iter().any(|name| own.runs(name, &it.labels));
    for container in podman.listed()?.iter().filter(runs) {
        podman.remove_container(container)?;
    }
    let mut networks = own.networks.iter();
    networks.try_for_each(|name| remove_network(step, name))
}

/// Its value goes from one Podman to the other without touching the disk in between.
pub fn secret(step: &Step, name: &str) -> Result<()> {
    let (old, new) = (step.podman(Side::Old), step.podman(Side::New));
    if new.has_secret(name)? {
        return Ok(());
    }
    let value = old.secret(name)?;
    let create = new.call(&["secret", "create", name, "-"]);
    create.input(value).stdout().map(drop)
}

pub fn remove_secret(step: &Step, name: &str) -> Result<()> {
    remove(&step.podman(Side::New), &["secret", "rm", name], |podman| {
        podman.has_secret(name)
    })
}

/// Makes a volume without its directory: where that is there, it is the data that has come.
pub fn volume(step: &Step, volume: &NewVolume) -> Result<()> {
    let podman = step.podman(Side::New);
    if podman.volume(&volume.name)?.is_none() {
        let labels = volume.labels.iter();
        let labels: Vec<_> = labels
            .map(|(key, value)| format!("--label={key}={value}"))
            .collect();
        let words = ["volume", "create"].into_iter();
        let words = words.chain(labels.iter().map(String::as_str));
        let words: Vec<_> = words.chain([volume.name.as_str()]).collect();
        podman.call(&words).stdout()?;
    }
    if let Some(how) = &volume.use_once {
        use_once(&podman, &volume.name, how)?;
    }
    let made = podman.volume(&volume.name)?;
    let made = made.with_context(|| format!("volume {} is gone", volume.name))?;
    // What the image has there came with the first use, and its owners are the account's subordinate ids.
    let directory = made.mountpoint.to_string_lossy();
    let empty = podman.call(&["unshare", "rm", "-rf", "--", &directory]);
    empty.stdout().map(drop)
}

/// So that the volume's first start does not change the data that it gets.
fn use_once(podman: &Podman<'_>, volume: &str, how: &Use) -> Result<()> {
    let name = format!("bulkhead-{volume}");
    let mount = format!("{volume}:{}", how.destination);
    let program = format!("--entrypoint={}", serde_json::to_string(&[&how.program])?);
    let words = [
        "container",
        "create",
        "--replace",
        "--network=none",
        "--name",
        &name,
    ];
    let more = ["--volume", &mount, &program, &how.image];
    podman.call(&[&words[..], &more].concat()).stdout()?;
    let used = podman.call(&["container", "init", &name]).stdout();
    podman
        .call(&["container", "rm", "--force", &name])
        .stdout()?;
    used.map(drop)
}

/// Its data is elsewhere by now.
pub fn remove_volume(step: &Step, name: &str) -> Result<()> {
    let container = format!("bulkhead-{name}");
    let podman = step.podman(Side::New);
    podman
        .call(&["container", "rm", "--force", &container])
        .finish()?;
    remove(&podman, &["volume", "rm", name], |podman| {
        Ok(podman.volume(name)?.is_some())
    })
}

fn remove(
    podman: &Podman<'_>,
    words: &[&str],
    is_there: impl Fn(&Podman<'_>) -> Result<bool>,
) -> Result<()> {
    match is_there(podman)? {
        true => podman.call(words).stdout().map(drop),
        false => Ok(()),
    }
}

/// Where a login outlasts a reboot.
fn own_logins(account: &Account) -> PathBuf {
    account.home.join(".config/containers/auth.json")
}

/// Only those of the registries that its images come from.
pub fn log_in(step: &Step, registries: &[String]) -> Result<()> {
    let mut found = credentials(&step.from)?;
    found.retain(|registry, _| registries.contains(registry));
    change_logins(&step.to, |logins| logins.extend(found))
}

pub fn forget_logins(account: &Account, registries: &[String]) -> Result<()> {
    if !own_logins(account).exists() {
        return Ok(());
    }
    change_logins(account, |logins| {
        registries
            .iter()
            .for_each(|registry| drop(logins.remove(registry)));
    })
}

fn change_logins(
    account: &Account,
    change: impl FnOnce(&mut Map<String, Value>) + Send,
) -> Result<()> {
    let path = own_logins(account);
    super::data::make_parents(&path, account)?;
    account.with_its_rights(|| {
        let text = files::read_text_optional(&path)?;
        let text = text.unwrap_or_else(|| "{}".to_owned());
        let mut file: Map<String, Value> =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let logins = file
            .entry("auths")
            .or_insert_with(|| Value::Object(Map::new()));
        change(
            logins
                .as_object_mut()
                .with_context(|| path.display().to_string())?,
        );
        if file
            .iter()
            .all(|(key, value)| key == "auths" && value == &Value::Object(Map::new()))
        {
            return files::remove_optional(&path);
        }
        files::write_atomic(&path, &serde_json::to_vec_pretty(&file)?, 0o600)
    })
}
