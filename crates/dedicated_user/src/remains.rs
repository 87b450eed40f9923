//! What an account that is to be removed would leave behind.

use crate::search::{self, Found};
use anyhow::{Context, Result};
use host::{
    accounts::Account,
    command::run,
    files, podman,
    process::{self, Process},
};
use idmap::SubRange;
use serde::Deserialize;
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// What is left of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    pub processes: Vec<String>,
    /// Files of units and quadlets that are its own, and the host's units that run as the account.
    pub units: Vec<String>,
    /// The names of its containers, whether they run or not.
    pub containers: Vec<String>,
    pub files: Found,
}

/// By which the Podman of an account keeps its containers apart, in memory; it makes it anew where it is missing.
#[must_use]
pub fn podman_lock(uid: u32) -> PathBuf {
    format!("/dev/shm/libpod_rootless_lock_{uid}").into()
}

/// Whose ids they are.
pub struct Ids<'i> {
    pub account: &'i Account,
    pub subuid: &'i [SubRange],
    pub subgid: &'i [SubRange],
    /// The primary group has nobody else in it.
    pub private_group: bool,
}

impl Ids<'_> {
    fn has_uid(&self, uid: u32) -> bool {
        uid == self.account.uid || self.subuid.iter().any(|range| range.contains(uid))
    }

    fn has_gid(&self, gid: u32) -> bool {
        self.private_group && gid == self.account.gid
            || self.subgid.iter().any(|range| range.contains(gid))
    }
}

/// Looks for all of it; for files not in `but`, which goes with the account or stays as it is.
///
/// # Errors
/// When /proc, the store or systemd cannot be read.
pub fn of(ids: &Ids<'_>, but: &[&Path], patience: Duration) -> Result<Remains> {
    let account = ids.account;
    let running = process::of(|uid| ids.has_uid(uid))?;
    let running = running.iter().filter(|process| !is_manager(process));
    let runtime = account.runtime_directory();
    let lock = podman_lock(account.uid);
    let but: Vec<_> = but.iter().copied().chain([&*runtime, &*lock]).collect();
    let passes = |found: &Metadata| ids.has_uid(found.uid()) || ids.has_gid(found.gid());
    Ok(Remains {
        processes: running.map(ToString::to_string).collect(),
        units: units(account)?,
        containers: containers(&podman::store::store(account)?)?,
        files: search::find(passes, &but, patience)?,
    })
}

/// The user manager itself, the bus beside it, and the process by which Podman keeps its user namespace: they end with
/// the account's lingering.
fn is_manager(process: &Process) -> bool {
    let unit = process.control_group.rsplit('/').next().unwrap_or_default();
    matches!(unit, "init.scope" | "dbus.service" | "dbus-broker.service")
        || unit.starts_with("podman-pause-")
}

fn units(account: &Account) -> Result<Vec<String>> {
    let own = account.home.join(".config");
    let quadlets = [
        own.join("containers/systemd"),
        Path::new("/etc/containers/systemd/users").join(account.uid.to_string()),
    ];
    let mut found: Vec<_> = quadlets.iter().flat_map(|at| listed(at)).collect();
    let wants = listed(&own.join("systemd/user"));
    let wants = wants
        .iter()
        .filter(|path| path.to_string_lossy().ends_with(".wants"));
    found.extend(wants.flat_map(|directory| listed(directory)));
    let found = found.iter().map(|path| path.display().to_string());
    Ok(found.chain(of_host(account)?).collect())
}

/// The units that systemd runs as the account by `User=`.
///
/// # Errors
/// With systemctl's words.
pub fn of_host(account: &Account) -> Result<Vec<String>> {
    let properties = "--property=Id,User";
    let told = run(["systemctl", "show", properties, "*.service"]).stdout()?;
    let uid = account.uid.to_string();
    let one = |block: &str| {
        let value = |key: &str| {
            block
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let user = value("User")?;
        let id = value("Id")?;
        // Its own user manager is a unit of the host's, too.
        let manager = id == host::logind::manager(account.uid);
        (!manager && (user == account.name || user == uid)).then(|| id.to_owned())
    };
    Ok(told.split("\n\n").filter_map(one).collect())
}

fn listed(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The containers of a store, by their names (containers/storage, `containers.json`).
fn containers(store: &Path) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Container {
        id: String,
        #[serde(default)]
        names: Vec<String>,
    }
    let mut found = vec![];
    for directory in listed(store) {
        let kind = directory.file_name().unwrap_or_default().to_string_lossy();
        if !kind.ends_with("-containers") {
            continue;
        }
        for file in ["containers.json", "volatile-containers.json"] {
            let path = directory.join(file);
            let Some(text) = files::read_text_optional(&path)? else {
                continue;
            };
            let containers: Vec<Container> = serde_json::from_str(&text)
                .with_context(|| format!("cannot read {}", path.display()))?;
            found.extend(containers.into_iter().map(|container| {
                let name = container.names.into_iter().next();
                name.unwrap_or(container.id)
            }));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_user_manager_and_what_serves_it_go_unnamed() {
        let process = |group: &str| Process {
            pid: 1,
            command: String::new(),
            control_group: format!("/user.slice/user-7.slice/user@7.service/{group}"),
        };
        for group in [
            "init.scope",
            "app.slice/dbus.service",
            "user.slice/podman-pause-8f.scope",
        ] {
            assert!(is_manager(&process(group)), "{group}");
        }
        for group in ["app.slice/web.service", "user.slice/libpod-1.scope", ""] {
            assert!(!is_manager(&process(group)), "{group}");
        }
    }

    #[test]
    fn containers_are_read_from_every_driver_and_by_id_without_a_name() {
        let store = tempfile::tempdir().unwrap();
        let store = store.path();
        assert_eq!(containers(store).unwrap(), [""; 0]);
        fs::create_dir_all(store.join("overlay-containers")).unwrap();
        fs::create_dir_all(store.join("vfs-containers")).unwrap();
        let named = r#"[{"id": "ab", "names": ["web"], "image": "c"}]"#;
        fs::write(store.join("overlay-containers/containers.json"), named).unwrap();
        let nameless = r#"[{"id": "cd"}]"#;
        fs::write(
            store.join("vfs-containers/volatile-containers.json"),
            nameless,
        )
        .unwrap();
        assert_eq!(containers(store).unwrap(), ["web", "cd"]);
        fs::write(store.join("vfs-containers/containers.json"), "{").unwrap();
        assert!(containers(store).is_err());
    }
}
