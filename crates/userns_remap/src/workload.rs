//! A container, or a compose service that is to become one, reduced to what a user namespace bears on. Pure.

use host::{
    compose::{Resolved, Service},
    docker::Container,
};
use std::path::PathBuf;

/// One container, there or to come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload {
    /// The container's name, or the service's where there is no container yet.
    pub name: String,
    /// Of the container.
    pub id: Option<String>,
    /// The compose project and service it belongs to.
    pub service: Option<(String, String)>,
    /// Stays in the host's user namespace.
    pub host_mode: bool,
    pub privileged: bool,
    pub network: Joins,
    pub pid: Joins,
    /// Beyond the usual, without `CAP_`.
    pub capabilities: Vec<String>,
    /// Devices, on the host.
    pub devices: Vec<PathBuf>,
    pub sysctls: Vec<String>,
    pub mounts: Vec<Mount>,
    /// Deleted when it stops.
    pub auto_remove: bool,
    /// A step of a build.
    pub building: bool,
    /// As the engine says it; none for what is not there yet.
    pub status: Option<String>,
    /// How many commands `docker exec` runs in it.
    pub execs: usize,
}

/// Whose namespace it uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Joins {
    #[default]
    Nobody,
    Host,
    /// A container, by name or id.
    Container(String),
    /// A service of the same project.
    Service(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub kind: MountKind,
    /// A path of the host, or a volume's name; empty for what has none.
    pub source: String,
    /// In the container.
    pub target: String,
    pub writable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountKind {
    Bind,
    Volume,
    Tmpfs,
    /// A file of the host that compose hands in as a secret or a config.
    Secret,
    Other,
}

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";

impl Workload {
    pub fn of_container(container: &Container) -> Self {
        let config = &container.host_config;
        let label = |key| container.label(key).map(str::to_owned);
        let tmpfs = config
            .tmpfs
            .iter()
            .flatten()
            .map(|(target, _)| tmpfs(target));
        let mounts = container.mounts.iter().map(|mount| Mount {
            kind: kind(&mount.kind),
            source: match &mount.name {
                Some(name) if mount.kind == "volume" => name.clone(),
                _ => mount.source.to_string_lossy().into_owned(),
            },
            target: mount.destination.to_string_lossy().into_owned(),
            writable: mount.writable,
        });
        Self {
            name: container.name().to_owned(),
            id: Some(container.id.clone()),
            service: label(PROJECT).zip(label(SERVICE)),
            host_mode: config.userns_mode == "host",
            privileged: config.privileged,
            network: joins(&config.network_mode),
            pid: joins(&config.pid_mode),
            capabilities: config
                .cap_add
                .iter()
                .flatten()
                .map(|name| capability(name))
                .collect(),
            devices: (config.devices.iter().flatten())
                .map(|device| device.path_on_host.clone())
                .collect(),
            sysctls: config
                .sysctls
                .iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .collect(),
            mounts: mounts.chain(tmpfs).collect(),
            auto_remove: config.auto_remove,
            building: container.is_of_build(),
            status: Some(container.state.status.clone()),
            execs: container.exec_ids.as_ref().map_or(0, Vec::len),
        }
    }

    /// The services of a project, as its client resolves it.
    pub fn of_project(resolved: &Resolved) -> impl Iterator<Item = Self> + '_ {
        let services = resolved.services.iter();
        services.map(|(name, service)| Self::of_service(name, service, resolved))
    }

    fn of_service(name: &str, service: &Service, resolved: &Resolved) -> Self {
        let mounts = service.volumes.iter().map(|volume| {
            let mount = volume.mount();
            Mount {
                kind: kind(&mount.kind),
                source: mount.source.unwrap_or_default(),
                target: mount.target,
                writable: !mount.read_only,
            }
        });
        let secrets = service
            .secrets
            .iter()
            .filter_map(|used| resolved.secrets.get(used.name()));
        let configs = service
            .configs
            .iter()
            .filter_map(|used| resolved.configs.get(used.name()));
        let files = secrets
            .chain(configs)
            .filter_map(|source| source.file.as_ref());
        let files = files.map(|file| Mount {
            kind: MountKind::Secret,
            source: file.to_string_lossy().into_owned(),
            target: String::new(),
            writable: false,
        });
        let optional = |text: &Option<String>| text.as_deref().map_or(Joins::Nobody, joins);
        Self {
            name: service.container_name.as_deref().unwrap_or(name).to_owned(),
            id: None,
            service: Some((resolved.name.clone(), name.to_owned())),
            host_mode: service.userns_mode.as_deref() == Some("host"),
            privileged: service.privileged,
            network: optional(&service.network_mode),
            pid: optional(&service.pid),
            capabilities: service
                .cap_add
                .iter()
                .map(|name| capability(name))
                .collect(),
            devices: service
                .devices
                .iter()
                .map(|device| device.host_path().to_owned())
                .collect(),
            sysctls: service.sysctls.clone(),
            mounts: mounts
                .chain(service.tmpfs.iter().map(|target| tmpfs(target)))
                .chain(files)
                .collect(),
            ..Self::default()
        }
    }

    /// Whether `joins` means this one.
    pub fn is(&self, joins: &Joins, of: &Workload) -> bool {
        match joins {
            Joins::Nobody | Joins::Host => false,
            Joins::Container(wanted) => self.name == *wanted || self.id.as_ref() == Some(wanted),
            Joins::Service(wanted) => match (&self.service, &of.service) {
                (Some((project, name)), Some((other, _))) => project == other && name == wanted,
                _ => false,
            },
        }
    }
}

fn kind(text: &str) -> MountKind {
    match text {
        "bind" => MountKind::Bind,
        "volume" => MountKind::Volume,
        "tmpfs" => MountKind::Tmpfs,
        _ => MountKind::Other,
    }
}

fn tmpfs(target: &str) -> Mount {
    Mount {
        kind: MountKind::Tmpfs,
        source: String::new(),
        target: target.split(':').next().unwrap_or(target).to_owned(),
        writable: true,
    }
}

fn joins(mode: &str) -> Joins {
    match mode.split_once(':') {
        _ if mode == "host" => Joins::Host,
        Some(("container", name)) => Joins::Container(name.to_owned()),
        Some(("service", name)) => Joins::Service(name.to_owned()),
        _ => Joins::Nobody,
    }
}

fn capability(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    name.strip_prefix("CAP_").unwrap_or(&name).to_owned()
}
