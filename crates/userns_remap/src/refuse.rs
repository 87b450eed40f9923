//! What cannot be done, found before anything stops: each refusal names what stands in the way and the
//! way out. Pure.

use crate::{
    layout::{KNOWN, Keep},
    observe::{Entry, Observed},
};
use host::docker::Container;
use std::{collections::BTreeSet, path::Path};

/// What holds for every change of the user namespace setting that touches the engine.
pub fn engine(observed: &Observed) -> Vec<String> {
    let info = &observed.info;
    let mut found = vec![];
    if info.has_security_option("rootless") {
        found.push(
            "this engine is rootless: it already runs in a user namespace of its own".to_owned(),
        );
    }
    if info.docker_root_dir.starts_with("/var/snap") {
        found.push("this engine comes from a snap, which confines its data root; install it from a package".to_owned());
    }
    if !observed
        .active_units
        .iter()
        .any(|unit| unit == "docker.service")
    {
        found.push(
            "the engine is not run by docker.service, so it cannot be stopped and started safely"
                .to_owned(),
        );
    }
    let flag = |name: &str| observed.flags.iter().find(|flag| flag.starts_with(name));
    if let Some(flag) = flag("--userns-remap") {
        found.push(format!(
            "dockerd is started with {flag}, which collides with the same key in the configuration file; \
             take it out of the unit's drop-in"
        ));
    }
    found.extend(observed.containers.iter().flat_map(unfit_to_stop));
    found
}

/// What stands in the way of carrying everything over in place.
pub fn carry_over(observed: &Observed) -> Vec<String> {
    let info = &observed.info;
    let mut found = vec![];
    if info.driver != "overlay2" {
        found.push(format!(
            "the storage driver is {}; only overlay2 can be carried over in place",
            info.driver
        ));
    }
    if !matches!(info.swarm.local_node_state.as_str(), "" | "inactive") {
        found.push("this engine is a member of a swarm, whose state is bound to its data root; leave the swarm first".to_owned());
    }
    found.extend(observed.plugins.iter().map(|plugin| {
        format!("the engine plugin {plugin} is installed, whose files cannot be carried over; remove it first")
    }));
    found.extend(observed.irregular.iter().map(|(path, what)| {
        format!(
            "{} is {what}: a rename cannot carry it along",
            path.display()
        )
    }));
    found.extend(observed.volumes.iter().filter_map(|volume| {
        let device = volume.options.iter().flatten().find(|(key, _)| *key == "device");
        match device {
            _ if volume.driver != "local" => {
                Some(format!("volume {} belongs to the driver {}, which keeps its data elsewhere", volume.name, volume.driver))
            }
            Some((_, device)) => {
                Some(format!("volume {} keeps its data in {device}, outside the data root; its owners would not be translated", volume.name))
            }
            None => None,
        }
    }));
    found.extend(
        observed
            .containers
            .iter()
            .flat_map(|container| mounts_inside(container, &observed.data_root)),
    );
    found
}

/// Entries of the data root that this version does not know, and so would not know how to carry.
pub fn unknown(root: &[Entry], path: &Path) -> Vec<String> {
    let strangers = root.iter().filter(|entry| {
        !KNOWN.contains(&entry.name.as_str()) && crate::layout::remapped_root(&entry.name).is_none()
    });
    strangers
        .map(|entry| {
            format!(
                "{} is nothing that the engine is known to keep; move it away first",
                path.join(&entry.name).display()
            )
        })
        .collect()
}

/// A root that should be free but holds the engine's data: a former attempt, most likely.
pub fn occupied<'e>(entries: impl Iterator<Item = &'e Entry>, path: &Path) -> Option<String> {
    let names: Vec<_> = entries
        .filter(|entry| !entry.empty)
        .map(|entry| entry.name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} already holds an engine's data (a former attempt?): {}; move it away, or it would be mixed \
             with what is carried over",
            path.display(),
            names.join(", ")
        )
    })
}

/// Directories above the data root that remapped containers could not pass.
pub fn closed(observed: &Observed) -> Vec<String> {
    let closed = observed.closed.iter();
    closed.map(|path| format!("{} cannot be entered by others (mode o+x), so remapped containers could not reach their files below it", path.display())).collect()
}

/// What a container is doing, or would lose, that keeps it from being stopped.
fn unfit_to_stop(container: &Container) -> Vec<String> {
    let (name, status) = (container.name(), container.state.status.as_str());
    let mut found = vec![];
    if container.host_config.auto_remove && status != "exited" {
        found.push(format!("container {name} was started with --rm: stopping it would delete it and its anonymous volumes; stop it yourself"));
    }
    if !matches!(status, "running" | "exited" | "created") {
        found.push(format!(
            "container {name} is {status}; bring it to run, or stop it"
        ));
    }
    found
}

/// Bind mounts of the data root's own paths, which move.
fn mounts_inside(container: &Container, data_root: &Path) -> Vec<String> {
    let inside = container
        .mounts
        .iter()
        .filter(|mount| mount.kind == "bind" && mount.source.starts_with(data_root));
    inside
        .map(|mount| {
            format!("container {} bind-mounts {}, a path of the data root, which moves; remove the container or the mount", container.name(), mount.source.display())
        })
        .collect()
}

/// Containers that the engine refuses to run remapped, or that would not work.
pub fn not_remappable(containers: &[Container]) -> Vec<String> {
    let host_mode = |container: &Container| container.host_config.userns_mode == "host";
    let remapped = containers.iter().filter(|container| !host_mode(container));
    remapped.filter_map(|container| {
        let config = &container.host_config;
        let reason = if config.privileged {
            "is privileged".to_owned()
        } else if config.network_mode == "host" {
            "uses the host's network".to_owned()
        } else if config.pid_mode == "host" {
            "uses the host's process ids".to_owned()
        } else if let Some(socket) = container.mounts.iter().find(|mount| mount.source.ends_with("docker.sock")) {
            format!("mounts the engine's socket {}", socket.source.display())
        } else {
            let joined = config.network_mode.strip_prefix("container:")?;
            let joined = containers.iter().find(|other| host_mode(other) && (other.id == joined || other.name() == joined))?;
            format!("joins the network of {}, which stays in the host's user namespace", joined.name())
        };
        Some(format!(
            "container {} {reason}, which does not work in a user namespace; it needs userns_mode: \"host\" \
             (docker run --userns=host, or in its compose file)",
            container.name()
        ))
    }).collect()
}

/// Volumes that a container in the host's namespace shares with remapped ones: their owners cannot be
/// right for both.
pub fn shared_volumes(containers: &[Container]) -> Vec<String> {
    let (host, remapped) = volumes_by_mode(containers);
    host.intersection(&remapped)
        .map(|volume| format!("volume {volume} is shared between containers with userns_mode \"host\" and remapped ones; its owners cannot be right for both"))
        .collect()
}

/// What keeps its owners: layers and volumes of containers that stay in the host's namespace.
pub fn kept(observed: &Observed) -> Keep {
    let (host, _) = volumes_by_mode(&observed.containers);
    let layers = observed
        .containers
        .iter()
        .filter(|container| container.host_config.userns_mode == "host");
    Keep {
        layers: layers
            .filter_map(|container| observed.layers.get(&container.id))
            .cloned()
            .collect(),
        volumes: host.into_iter().map(str::to_owned).collect(),
    }
}

/// The volumes of host-mode and of remapped containers.
fn volumes_by_mode(containers: &[Container]) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let of = |host_mode: bool| {
        let of_mode = containers
            .iter()
            .filter(move |container| (container.host_config.userns_mode == "host") == host_mode);
        of_mode
            .flat_map(|container| &container.mounts)
            .filter_map(|mount| mount.name.as_deref())
            .collect()
    };
    (of(true), of(false))
}
