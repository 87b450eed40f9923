//! Files of the host that containers mount: whether they can be used remapped, and how to prepare them. Pure.

use super::{Finding, Source, Strategy, Verdict, finding};
use crate::{
    verdict::Facts,
    workload::{Mount, MountKind, Workload},
};
use idmap::IdMap;
use std::{collections::BTreeMap, path::Path};

/// The system's own, which nobody's ids may be changed in.
const SYSTEM: [&str; 11] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr",
];

/// A mount whose owners on the host would be nobody inside.
pub fn prepare(
    workload: &Workload,
    mount: &Mount,
    workloads: &[Workload],
    bound: &BTreeMap<String, String>,
    facts: &Facts,
    uids: &IdMap,
) -> Option<Finding> {
    let path = Path::new(&mount.source);
    let source = facts.sources.get(path)?;
    let is_secret = mount.kind == MountKind::Secret;
    if !is_secret && mount.kind != MountKind::Bind || source.suits(uids, mount.writable) {
        return None;
    }
    let owners = format!("{}:{} mode {:04o}", source.uid, source.gid, source.mode);
    let others = sharers(workload, path, workloads);
    let host_side: Vec<_> = others
        .iter()
        .filter(|name| bound.contains_key(**name))
        .copied()
        .collect();
    let mut reason = format!(
        "{} {} ({owners}), whose owners show as nobody inside",
        if mount.writable { "writes to" } else { "reads" },
        path.display()
    );
    if !others.is_empty() {
        reason += &format!("; shared with {}", others.join(", "));
    }
    if source.in_git {
        reason +=
            "; it lies in a work tree of git, whose updates make files anew with the host's owners";
    }
    if !source.users.is_empty() {
        reason += &format!("; used on the host by {}", source.users.join(", "));
    }
    let strategy = match recommended(path, source) {
        Strategy::Shift if is_secret || !host_side.is_empty() => Strategy::Idmap,
        strategy => strategy,
    };
    let remedy = match strategy {
        Strategy::Leave => "it is the system's: mount something else, or userns_mode: \"host\"",
        // In such a mount the host's root can make no file.
        Strategy::Idmap if is_shared(source) || !host_side.is_empty() => {
            "volume_rechown with strategy=idmap and a mount_at for the container: the host goes on with the path"
        }
        Strategy::Idmap => {
            "name it in bind_mounts as idmap: the owners on the disk stay as they are"
        }
        Strategy::Shift => "name it in bind_mounts as shift",
    };
    let verdict = if is_secret {
        Verdict::SecretUnreadable
    } else {
        Verdict::NeedsBindMountPrepared
    };
    Some(Finding {
        path: Some(path.to_owned()),
        strategy: Some(strategy),
        ..finding(verdict, reason, remedy)
    })
}

/// How a path is best prepared, where containers alone decide.
pub fn recommended(path: &Path, source: &Source) -> Strategy {
    if path == Path::new("/") || SYSTEM.iter().any(|system| path.starts_with(system)) {
        Strategy::Leave
    } else if is_shared(source) || source.is_file {
        Strategy::Idmap
    } else {
        Strategy::Shift
    }
}

/// The host uses it too.
fn is_shared(source: &Source) -> bool {
    source.in_git || !source.users.is_empty()
}

impl Source {
    /// Whether a remapped container gets on with it as it is: it has an id of the container's, or allows
    /// everybody what is wanted.
    pub fn suits(&self, uids: &IdMap, writable: bool) -> bool {
        let wanted = if writable { 0o002 } else { 0o004 };
        uids.to_container(self.uid).is_some() || self.mode & wanted != 0
    }
}

/// Other containers that mount the path, or something in or above it.
fn sharers<'w>(workload: &Workload, path: &Path, workloads: &'w [Workload]) -> Vec<&'w str> {
    let overlaps = |mount: &Mount| {
        let other = Path::new(&mount.source);
        mount.kind == MountKind::Bind && (other.starts_with(path) || path.starts_with(other))
    };
    let others = workloads.iter().filter(|other| other.name != workload.name);
    others
        .filter(|other| other.mounts.iter().any(overlaps))
        .map(|other| other.name.as_str())
        .collect()
}
