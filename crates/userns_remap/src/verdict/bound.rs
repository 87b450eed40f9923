//! Which containers stay, or have to stay, in the host's user namespace. Pure.

use crate::workload::{Joins, Mount, MountKind, Workload};
use std::collections::BTreeMap;

/// What stays, or has to stay, in the host's user namespace, by name, and why.
pub fn of(workloads: &[Workload]) -> BTreeMap<String, String> {
    let mut bound: BTreeMap<_, _> = workloads
        .iter()
        .filter_map(|workload| Some((workload.name.clone(), host_only(workload)?)))
        .collect();
    // Joining is transitive.
    loop {
        let joining = workloads
            .iter()
            .filter(|workload| !bound.contains_key(&workload.name));
        let more: Vec<_> = joining
            .filter_map(|workload| {
                let joined = |joins: &Joins| {
                    let mut others = workloads
                        .iter()
                        .filter(|other| bound.contains_key(&other.name));
                    others
                        .find(|other| other.is(joins, workload))
                        .map(|other| other.name.clone())
                };
                let (what, name) = joined(&workload.network)
                    .map(|name| ("network", name))
                    .or_else(|| joined(&workload.pid).map(|name| ("process ids", name)))?;
                let reason =
                    format!("joins the {what} of {name}, which stays in the host's user namespace");
                Some((workload.name.clone(), reason))
            })
            .collect();
        if more.is_empty() {
            return bound;
        }
        bound.extend(more);
    }
}

/// As moby's daemon/daemon_unix.go refuses them, and the engine's socket, which container root could not open.
fn host_only(workload: &Workload) -> Option<String> {
    if workload.host_mode {
        Some("stays in the host's user namespace".to_owned())
    } else if workload.privileged {
        Some("is privileged".to_owned())
    } else if workload.network == Joins::Host {
        Some("uses the host's network".to_owned())
    } else if workload.pid == Joins::Host {
        Some("uses the host's process ids".to_owned())
    } else {
        let socket = workload.mounts.iter().find(|mount| is_socket(mount))?;
        Some(format!("mounts the engine's socket {}", socket.source))
    }
}

fn is_socket(mount: &Mount) -> bool {
    mount.kind == MountKind::Bind && mount.source.ends_with("docker.sock")
}
