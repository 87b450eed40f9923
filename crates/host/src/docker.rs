//! The Docker engine of this machine, through the `docker` client and its JSON.

use crate::command::{Run, run};
use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// The units that run the engine, the socket first: it must be stopped first, or it starts the service
/// again.
pub const UNITS: [&str; 2] = ["docker.socket", "docker.service"];

/// A `docker` command against the system's engine, whatever context root's own client prefers.
pub fn docker<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Run {
    run(["docker", "--host", "unix:///run/docker.sock"]
        .into_iter()
        .chain(arguments))
}

/// What the engine says of itself (`docker info`).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// Such as `20.10.24+dfsg1`.
    pub server_version: String,
    /// The data root in use; under remap the `<uid>.<gid>` directory inside the configured one.
    pub docker_root_dir: PathBuf,
    /// The storage driver.
    pub driver: String,
    /// Such as `name=userns`, `name=seccomp,profile=default`.
    #[serde(default)]
    pub security_options: Option<Vec<String>>,
    /// What the storage driver says of itself, as pairs of name and value.
    #[serde(default)]
    pub driver_status: Option<Vec<(String, String)>>,
    /// Whether containers outlive the engine's stop.
    #[serde(default)]
    pub live_restore_enabled: bool,
    /// Swarm membership.
    #[serde(default)]
    pub swarm: Swarm,
    /// What the client could not learn.
    #[serde(default)]
    pub server_errors: Option<Vec<String>>,
}

/// Swarm membership.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Swarm {
    /// `inactive`, `active`, `pending`, …
    #[serde(default)]
    pub local_node_state: String,
}

impl Info {
    /// Whether images lie in containerd's store rather than the engine's own (the default of fresh
    /// engines from 29 on).
    #[must_use]
    pub fn has_containerd_store(&self) -> bool {
        let mut status = self.driver_status.iter().flatten();
        status.any(|(name, value)| {
            name == "driver-type" && value.starts_with("io.containerd.snapshotter")
        })
    }

    /// Whether a security option of this name is on, such as `userns` or `rootless`.
    #[must_use]
    pub fn has_security_option(&self, name: &str) -> bool {
        let wanted = format!("name={name}");
        self.security_options
            .iter()
            .flatten()
            .any(|option| option.split(',').any(|part| part == wanted))
    }
}

/// What the engine says of a container (`docker container inspect`).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// The full id.
    pub id: String,
    name: String,
    /// The id of the image it was made from.
    pub image: String,
    /// What it is doing.
    pub state: State,
    /// What the operator asked for.
    pub host_config: HostConfig,
    /// Volumes and bind mounts.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// The image's and the operator's settings.
    pub config: Config,
    /// What `docker exec` runs in it right now.
    #[serde(rename = "ExecIDs", default)]
    pub exec_ids: Option<Vec<String>>,
}

/// A container's state.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
    pub status: String,
    /// Its first process on the host, 0 when it does not run.
    pub pid: u32,
    #[serde(default)]
    health: Option<Health>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    status: String,
    #[serde(default)]
    log: Option<Vec<Probe>>,
}

/// One run of a health check.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Probe {
    output: String,
}

impl State {
    /// `starting`, `healthy` or `unhealthy`, for a container with a health check.
    #[must_use]
    pub fn health(&self) -> Option<&str> {
        self.health.as_ref().map(|health| health.status.as_str())
    }

    /// What the last health check printed.
    #[must_use]
    pub fn health_output(&self) -> &str {
        let log = self.health.iter().flat_map(|health| &health.log).flatten();
        log.last().map_or("", |probe| probe.output.trim())
    }
}

/// The part of a container's host configuration that bears on user namespaces and on stopping.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    /// `host`, `bridge`, `container:<id>`, a network's name.
    #[serde(default)]
    pub network_mode: String,
    /// `--privileged`
    #[serde(default)]
    pub privileged: bool,
    /// `host`, `container:<id>` or empty.
    #[serde(default)]
    pub pid_mode: String,
    /// `host` or empty.
    #[serde(default)]
    pub userns_mode: String,
    /// `--rm`
    #[serde(default)]
    pub auto_remove: bool,
    /// Capabilities beyond the usual, with or without `CAP_`.
    #[serde(default)]
    pub cap_add: Option<Vec<String>>,
    /// Devices of the host.
    #[serde(default)]
    pub devices: Option<Vec<Device>>,
    /// Kernel parameters of its name spaces.
    #[serde(default)]
    pub sysctls: Option<BTreeMap<String, String>>,
    /// `--tmpfs`, by path in the container.
    #[serde(default)]
    pub tmpfs: Option<BTreeMap<String, String>>,
    /// Options of the storage driver, such as `size`.
    #[serde(default)]
    pub storage_opt: Option<BTreeMap<String, String>>,
    /// Where its output goes.
    #[serde(default)]
    pub log_config: LogConfig,
    /// `name[:mode]` of the containers whose volumes it mounts.
    #[serde(default)]
    pub volumes_from: Option<Vec<String>>,
    /// `/name:/this/alias`
    #[serde(default)]
    pub links: Option<Vec<String>>,
}

/// Where a container's output goes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfig {
    /// The driver: `json-file`, `journald`, `none`, …
    #[serde(rename = "Type", default)]
    pub driver: String,
}

/// A device of the host that a container sees.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Device {
    /// Its node on the host.
    pub path_on_host: PathBuf,
}

/// A container's settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// The image as it was asked for: its name, or its id.
    #[serde(default)]
    pub image: String,
    /// Labels.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// Seconds it may take to stop: 10 where it says nothing, without end where negative.
    #[serde(default)]
    pub stop_timeout: Option<i64>,
}

/// One mount of a container.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`, …
    #[serde(rename = "Type")]
    pub kind: String,
    /// A volume's name.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it comes from on the host.
    #[serde(default)]
    pub source: PathBuf,
    /// Where it is in the container.
    #[serde(default)]
    pub destination: PathBuf,
    /// Whether the container may write.
    #[serde(rename = "RW", default)]
    pub writable: bool,
}

impl Container {
    /// The name, without Docker's leading slash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    /// Whether stopping it, or starting the engine anew, deletes it.
    #[must_use]
    pub fn removed_when_stopped(&self) -> bool {
        self.host_config.auto_remove && self.state.status != "exited"
    }

    /// Whether it is a step of a build without BuildKit, which alone makes containers of an image's id that log
    /// nowhere (moby, builder/dockerfile/internals.go).
    #[must_use]
    pub fn is_of_build(&self) -> bool {
        self.host_config.log_config.driver == "none" && self.config.image.starts_with("sha256:")
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(key).map(String::as_str)
    }
}

/// A network.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// The full id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name.
    pub name: String,
}

impl Network {
    /// The interface that the driver `bridge` gives a network whose options name none (moby,
    /// libnetwork/drivers/bridge); other drivers' networks have none of this name.
    #[must_use]
    pub fn bridge(&self) -> Option<String> {
        self.id.get(..12).map(|id| format!("br-{id}"))
    }
}

/// A volume.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// `local`, or a plugin's name.
    pub driver: String,
    /// Driver options such as `device`.
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
}

/// What the engine says of itself.
///
/// # Errors
/// When no engine answers, with the client's words.
pub fn info() -> Result<Info> {
    let answer = docker(["info", "--format", "{{json .}}"])
        .timeout(Duration::from_secs(20))
        .finish()?;
    let info = serde_json::from_str::<Info>(&answer.stdout);
    match info {
        Ok(info) if info.server_errors.iter().flatten().next().is_none() => Ok(info),
        Ok(Info {
            server_errors: Some(said),
            ..
        }) => anyhow::bail!("{}", said.join("; ")),
        _ => anyhow::bail!("{}", answer.stderr.trim()),
    }
}

/// Every container, running or not.
///
/// # Errors
/// With the client's words.
pub fn containers() -> Result<Vec<Container>> {
    inspect(
        "container",
        &docker(["container", "ls", "--all", "--quiet", "--no-trunc"]).stdout()?,
    )
}

/// The ids of the containers that run or are about to.
///
/// # Errors
/// With the client's words.
pub fn running() -> Result<Vec<String>> {
    let ids = docker(["container", "ls", "--quiet", "--no-trunc"]).stdout()?;
    Ok(ids.lines().map(str::to_owned).collect())
}

/// The ids of every image, those without a name included.
///
/// # Errors
/// With the client's words.
pub fn images() -> Result<Vec<String>> {
    let ids = docker(["image", "ls", "--all", "--quiet", "--no-trunc"]).stdout()?;
    let mut ids: Vec<_> = ids.lines().map(str::to_owned).collect();
    ids.sort();
    ids.dedup();
    Ok(ids)
}

/// Every network.
///
/// # Errors
/// With the client's words.
pub fn networks() -> Result<Vec<Network>> {
    lines(&docker(["network", "ls", "--no-trunc", "--format", "{{json .}}"]).stdout()?)
}

/// Every volume.
///
/// # Errors
/// With the client's words.
pub fn volumes() -> Result<Vec<Volume>> {
    inspect("volume", &docker(["volume", "ls", "--quiet"]).stdout()?)
}

/// The names of the installed engine plugins.
///
/// # Errors
/// With the client's words.
pub fn plugins() -> Result<Vec<String>> {
    let names = docker(["plugin", "ls", "--format", "{{.Name}}"]).stdout()?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// Whether there is a container of this id.
///
/// # Errors
/// With the client's words.
pub fn exists(id: &str) -> Result<bool> {
    let filter = format!("id={id}");
    let found = docker(["container", "ls", "--all", "--quiet", "--filter", &filter]).stdout()?;
    Ok(!found.trim().is_empty())
}

/// Starts a container that exists.
///
/// # Errors
/// With the client's words.
pub fn start(id: &str, timeout: Duration) -> Result<()> {
    docker(["container", "start", id])
        .timeout(timeout)
        .stdout()
        .map(drop)
}

/// Stops containers, side by side. The engine ends each by force after `grace` seconds: older clients send 10 where
/// they are told nothing, so the containers' own time-out has to be said.
///
/// # Errors
/// With the client's words.
pub fn stop(ids: &[&str], grace: u64) -> Result<()> {
    let (seconds, timeout) = (
        grace.to_string(),
        Duration::from_secs(grace.saturating_add(60)),
    );
    // Its long name is --time until 27, and --timeout from 28 on.
    docker([&["container", "stop", "-t", &seconds], ids].concat())
        .timeout(timeout)
        .stdout()
        .map(drop)
}

fn inspect<T: DeserializeOwned>(kind: &str, ids: &str) -> Result<Vec<T>> {
    if ids.trim().is_empty() {
        return Ok(vec![]);
    }
    let answer = docker([kind, "inspect"].into_iter().chain(ids.lines())).stdout()?;
    serde_json::from_str(&answer).with_context(|| format!("docker {kind} inspect"))
}

fn lines<T: DeserializeOwned>(text: &str) -> Result<Vec<T>> {
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_security_option_is_matched_whole() {
        let info = r#"{"ServerVersion":"26.1.5","DockerRootDir":"/r","Driver":"overlay2",
            "SecurityOptions":["name=seccomp,profile=builtin","name=userns"],"Unknown":1}"#;
        let info: Info = serde_json::from_str(info).unwrap();
        assert!(info.has_security_option("userns") && info.has_security_option("seccomp"));
        assert!(!info.has_security_option("user") && !info.has_security_option("rootless"));
    }

    /// As dockerd 29.7.2, built from the tag docker-v29.7.2 of moby/moby, said it on a fresh data root through the
    /// client 28.5.2, without what is not read.
    const FRESH_29: &str = r#"{"ServerVersion":"29.7.2","Driver":"overlayfs",
        "DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]],"DockerRootDir":"/var/lib/docker",
        "SecurityOptions":["name=seccomp,profile=builtin","name=cgroupns"],
        "Swarm":{"NodeID":"","NodeAddr":"","LocalNodeState":"inactive","ControlAvailable":false,"Error":"",
        "RemoteManagers":null},"LiveRestoreEnabled":false,"ServerErrors":null}"#;

    #[test]
    fn a_fresh_engine_of_29_keeps_images_in_containerd() {
        let info: Info = serde_json::from_str(FRESH_29).unwrap();
        assert!(info.has_containerd_store());
        let own = FRESH_29.replace(
            r#""driver-type","io.containerd.snapshotter.v1""#,
            r#""Backing Filesystem","extfs""#,
        );
        let info: Info = serde_json::from_str(&own).unwrap();
        assert!(!info.has_containerd_store());
    }
}
