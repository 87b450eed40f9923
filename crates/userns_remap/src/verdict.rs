//! What a user namespace means for each container: what it needs, what it would lose, and what to do. Pure.

use crate::workload::{Joins, Mount, MountKind, Workload};
use idmap::IdMap;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// What was found of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub verdict: Verdict,
    /// Why, in words.
    pub reason: String,
    /// What to do.
    pub remedy: String,
    /// The path on the host that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// How to prepare the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does not run remapped.
    NeedsHostMode,
    /// It could not read or write what it mounts.
    NeedsBindMountPrepared,
    /// A secret or config of compose's that it could not read.
    SecretUnreadable,
    /// Whether the kernel lets it set that is to be tried.
    SysctlToProbe,
    /// Its volume would have owners that are wrong for somebody.
    SharesVolumeWithHostMode,
    /// Allowed, and without effect.
    LosesMeaning,
    /// Stopping deletes it.
    RemovedWhenStopped,
    /// What a stop throws away although nobody asks for it.
    TmpfsLost,
    /// It could not be brought back to what it is doing.
    NotRunning,
    /// Stopping ends them.
    ExecRunning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Change the owners on the disk.
    Shift,
    /// Change what is seen of them.
    Idmap,
    /// Neither: it is the system's.
    Leave,
}

/// The file or directory behind a bind mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    pub uid: u32,
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// It lies in a work tree of git, whose updates make files anew as whoever runs them.
    pub in_git: bool,
    /// Programs of the host, outside of any container, that use it.
    pub users: Vec<String>,
}

/// What is known of the host beside the workloads.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// By path; what is missing there does not exist, and the engine makes it as the container needs it.
    pub sources: BTreeMap<PathBuf, Source>,
    /// What is in a container's tmpfs right now, by container id.
    pub tmpfs: BTreeMap<String, Vec<String>>,
}

/// Capabilities that the kernel asks for in the first user namespace only, and what they are for.
const LOST: [(&str, &str); 15] = [
    ("AUDIT_CONTROL", "configuring the audit subsystem"),
    ("BLOCK_SUSPEND", "keeping the machine awake"),
    ("BPF", "loading BPF programs"),
    ("IPC_LOCK", "locking more memory than its limit"),
    (
        "LINUX_IMMUTABLE",
        "changing immutable and append-only flags",
    ),
    ("MKNOD", "making device nodes"),
    ("PERFMON", "watching the kernel's performance"),
    ("SYSLOG", "reading the kernel's log"),
    ("SYS_BOOT", "rebooting the machine"),
    ("SYS_MODULE", "loading kernel modules"),
    ("SYS_NICE", "raising its priority"),
    ("SYS_RAWIO", "raw access to ports and disks"),
    ("SYS_RESOURCE", "raising its limits"),
    ("SYS_TIME", "setting the clock"),
    ("WAKE_ALARM", "waking the machine"),
];

/// The system's own, which nobody's ids may be changed in.
const SYSTEM: [&str; 11] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr",
];

/// What is to be said of each workload, in their order, if containers get `uids`.
pub fn findings<'w>(
    workloads: &'w [Workload],
    facts: &Facts,
    uids: &IdMap,
) -> Vec<(&'w Workload, Vec<Finding>)> {
    let bound = host_bound(workloads);
    let of = |workload: &'w Workload| {
        let mut found = vec![];
        let reason = bound.get(&workload.name).filter(|_| !workload.host_mode);
        found.extend(reason.map(|reason| needs_host_mode(reason)));
        // What needs the host's namespace keeps its owners and all else that it has.
        if !bound.contains_key(&workload.name) {
            found.extend(
                workload
                    .mounts
                    .iter()
                    .filter_map(|mount| prepare(workload, mount, workloads, &bound, facts, uids)),
            );
            found.extend(sysctls(workload));
            found.extend(lost(workload, facts, uids));
        }
        found.extend(shared_volumes(workload, workloads, &bound));
        found.extend(at_stop(workload, facts));
        (workload, found)
    };
    workloads.iter().map(of).collect()
}

/// What stays, or has to stay, in the host's user namespace, by name, and why.
fn host_bound(workloads: &[Workload]) -> BTreeMap<String, String> {
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

fn needs_host_mode(reason: &str) -> Finding {
    finding(
        Verdict::NeedsHostMode,
        format!("{reason}, which does not work in a user namespace"),
        "name it in host_mode, or make it anew with userns_mode: \"host\" (docker run --userns=host)",
    )
}

/// A mount whose owners on the host would be nobody inside.
fn prepare(
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
    let shared = source.in_git || !source.users.is_empty() || !host_side.is_empty();
    let strategy = if path == Path::new("/") || SYSTEM.iter().any(|system| path.starts_with(system))
    {
        Strategy::Leave
    } else if shared || is_secret {
        Strategy::Idmap
    } else {
        Strategy::Shift
    };
    let remedy = match strategy {
        Strategy::Leave => "it is the system's: mount something else, or userns_mode: \"host\"",
        Strategy::Idmap => {
            "volume_rechown with strategy=idmap: the owners on the disk stay as they are"
        }
        Strategy::Shift => "volume_rechown, while the container is stopped",
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

impl Verdict {
    /// Whether nothing can be changed before it is seen to.
    pub fn stands_in_the_way(self) -> bool {
        use Verdict::{NeedsHostMode, NotRunning, RemovedWhenStopped, SharesVolumeWithHostMode};
        matches!(
            self,
            NeedsHostMode | NotRunning | RemovedWhenStopped | SharesVolumeWithHostMode
        )
    }
}

impl Finding {
    /// In one sentence.
    pub fn of(&self, workload: &Workload) -> String {
        format!(
            "container {} {}; {}",
            workload.name, self.reason, self.remedy
        )
    }
}

impl Source {
    /// Whether a remapped container gets on with it as it is: it has an id of the container's, or allows
    /// everybody what is wanted.
    fn suits(&self, uids: &IdMap, writable: bool) -> bool {
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

fn sysctls(workload: &Workload) -> Option<Finding> {
    (!workload.sysctls.is_empty()).then(|| {
        finding(
            Verdict::SysctlToProbe,
            format!("sets {}", workload.sysctls.join(", ")),
            "start a throwaway container with it once remapped; where the kernel refuses, sysctls: !reset []",
        )
    })
}

fn lost(workload: &Workload, facts: &Facts, uids: &IdMap) -> Vec<Finding> {
    let has = |name: &str| {
        workload
            .capabilities
            .iter()
            .any(|own| own == name || own == "ALL")
    };
    let capabilities = LOST
        .iter()
        .filter(|(name, _)| has(name))
        .map(|(name, purpose)| {
            let reason = format!("{name} is for {purpose}, which only the host's root may do");
            finding(
                Verdict::LosesMeaning,
                reason,
                "leave it out, or userns_mode: \"host\"",
            )
        });
    let closed = workload.devices.iter().filter(|path| {
        let source = facts.sources.get(*path);
        source.is_some_and(|source| !source.suits(uids, true))
    });
    let devices = closed.map(|path| Finding {
        path: Some(path.clone()),
        ..finding(
            Verdict::LosesMeaning,
            format!(
                "{} is open to its owner and group only, and those are nobody inside",
                path.display()
            ),
            "a udev rule that gives the range the device, or userns_mode: \"host\"",
        )
    });
    capabilities.chain(devices).collect()
}

fn shared_volumes(
    workload: &Workload,
    workloads: &[Workload],
    bound: &BTreeMap<String, String>,
) -> Vec<Finding> {
    let volumes = |workload: &Workload| -> BTreeSet<String> {
        let mounts = workload.mounts.iter();
        let named =
            mounts.filter(|mount| mount.kind == MountKind::Volume && !mount.source.is_empty());
        named.map(|mount| mount.source.clone()).collect()
    };
    if bound.contains_key(&workload.name) {
        return vec![];
    }
    let own = volumes(workload);
    let others = workloads
        .iter()
        .filter(|other| bound.contains_key(&other.name));
    let shared = others.flat_map(|other| {
        let both: Vec<_> = volumes(other).intersection(&own).cloned().collect();
        both.into_iter().map(|volume| (volume, other.name.clone()))
    });
    shared
        .map(|(volume, other)| {
            finding(
                Verdict::SharesVolumeWithHostMode,
                format!("shares the volume {volume} with {other}, which stays in the host's user namespace"),
                "give each a volume of its own, or both the same user namespace",
            )
        })
        .collect()
}

/// What a stop and a start would lose.
pub fn at_stop(workload: &Workload, facts: &Facts) -> Vec<Finding> {
    let Some(status) = &workload.status else {
        return vec![];
    };
    let mut found = vec![];
    if workload.auto_remove && status != "exited" {
        found.push(finding(
            Verdict::RemovedWhenStopped,
            "was started with --rm: a stop deletes it and its anonymous volumes".to_owned(),
            "stop it yourself",
        ));
    }
    if !matches!(status.as_str(), "running" | "exited" | "created") {
        found.push(finding(
            Verdict::NotRunning,
            format!("is {status}"),
            "bring it to run, or stop it",
        ));
    }
    if workload.execs > 0 {
        let reason = format!(
            "docker exec runs {} command(s) in it, which a stop ends",
            workload.execs
        );
        found.push(finding(
            Verdict::ExecRunning,
            reason,
            "wait for them to end",
        ));
    }
    let tmpfs = workload.id.as_ref().and_then(|id| facts.tmpfs.get(id));
    found.extend(tmpfs.into_iter().flatten().map(|target| {
        let reason = format!("has files in {target}, which is in memory: a stop loses them");
        finding(Verdict::TmpfsLost, reason, "copy out what is needed")
    }));
    found
}

fn finding(verdict: Verdict, reason: String, remedy: &str) -> Finding {
    Finding {
        verdict,
        reason,
        remedy: remedy.to_owned(),
        path: None,
        strategy: None,
    }
}

#[cfg(test)]
mod tests;
