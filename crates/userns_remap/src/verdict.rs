//! What a user namespace means for each container: what it needs, what it would lose, and what to do. Pure.

mod bound;
mod mounts;

use crate::workload::{MountKind, Workload};
use idmap::IdMap;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
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
    /// The kernel does not let it set that.
    SysctlRefused,
    /// Whether the kernel lets it set that could not be tried.
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
    /// A step of a build, which a stop fails and the builder then deletes.
    Building,
    /// Stopping ends them.
    ExecRunning,
    /// Memory images that hold ids.
    Checkpoint,
    /// Files whose owner cannot be changed.
    ImmutableFiles,
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
    /// It is no directory.
    pub is_file: bool,
    /// It lies in a work tree of git, whose updates make files anew as whoever runs them.
    pub in_git: bool,
    /// Programs of the host, outside of any container, that use it.
    pub users: Vec<String>,
}

/// Where a container's own files lie.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The writable layer of a container, by id.
    Layer(String),
    /// A volume, by name.
    Volume(String),
}

/// What is known of the host beside the workloads.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// By path; what is missing there does not exist, and the engine makes it as the container needs it.
    pub sources: BTreeMap<PathBuf, Source>,
    /// The paths at which a container has files in memory right now, by container id.
    pub tmpfs: BTreeMap<String, Vec<String>>,
    /// The names of its checkpoints, by container id.
    pub checkpoints: BTreeMap<String, Vec<String>>,
    /// Immutable and append-only files, as far as they were looked for.
    pub immutable: BTreeMap<Place, Vec<PathBuf>>,
    /// Why a user namespace may not set a parameter, `None` where it may; those that could be tried, by name.
    pub sysctls: BTreeMap<String, Option<String>>,
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

/// The names of those that stay, or have to stay, in the host's user namespace.
pub fn bound(workloads: &[Workload]) -> Vec<String> {
    bound::of(workloads).into_keys().collect()
}

pub use mounts::recommended;

/// What is to be said of each workload, in their order, if containers get `uids`.
pub fn findings<'w>(
    workloads: &'w [Workload],
    facts: &Facts,
    uids: &IdMap,
) -> Vec<(&'w Workload, Vec<Finding>)> {
    let bound = bound::of(workloads);
    let of = |workload: &'w Workload| {
        let mut found = vec![];
        let reason = bound.get(&workload.name).filter(|_| !workload.host_mode);
        found.extend(reason.map(|reason| needs_host_mode(reason)));
        // What needs the host's namespace keeps its owners and all else that it has.
        if !bound.contains_key(&workload.name) {
            found.extend(workload.mounts.iter().filter_map(|mount| {
                mounts::prepare(workload, mount, workloads, &bound, facts, uids)
            }));
            found.extend(sysctls(workload, facts));
            found.extend(lost(workload, facts, uids));
            found.extend(unshiftable(workload, facts));
        }
        found.extend(shared_volumes(workload, workloads, &bound));
        found.extend(at_stop(workload, facts));
        (workload, found)
    };
    workloads.iter().map(of).collect()
}

fn needs_host_mode(reason: &str) -> Finding {
    finding(
        Verdict::NeedsHostMode,
        format!("{reason}, which does not work in a user namespace"),
        "name it in host_mode, or make it anew with userns_mode: \"host\" (docker run --userns=host)",
    )
}

impl Verdict {
    /// Whether nothing can be changed before it is seen to.
    pub fn stands_in_the_way(self) -> bool {
        use Verdict::{
            Building, Checkpoint, ImmutableFiles, NeedsHostMode, NotRunning, RemovedWhenStopped,
            SharesVolumeWithHostMode, SysctlRefused,
        };
        matches!(
            self,
            Building
                | Checkpoint
                | ImmutableFiles
                | NeedsHostMode
                | NotRunning
                | RemovedWhenStopped
                | SharesVolumeWithHostMode
                | SysctlRefused
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

fn sysctls(workload: &Workload, facts: &Facts) -> Vec<Finding> {
    let of = |name: &String| match facts.sysctls.get(name) {
        Some(None) => None,
        Some(Some(said)) => Some(finding(
            Verdict::SysctlRefused,
            format!("sets {name}, which the kernel refuses in a user namespace ({said})"),
            "make it anew without, name its project in compose_projects, or userns_mode: \"host\"",
        )),
        None => Some(finding(
            Verdict::SysctlToProbe,
            format!(
                "sets {name}, and whether the kernel allows that in a user namespace could not be tried"
            ),
            "start a throwaway container with it once remapped",
        )),
    };
    workload.sysctls.iter().filter_map(of).collect()
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

/// What of its own cannot be given new owners.
fn unshiftable(workload: &Workload, facts: &Facts) -> Vec<Finding> {
    let Some(id) = &workload.id else {
        return vec![];
    };
    let volumes = workload
        .mounts
        .iter()
        .filter(|mount| mount.kind == MountKind::Volume);
    let volumes = volumes.map(|mount| Place::Volume(mount.source.clone()));
    let places = volumes.chain([Place::Layer(id.clone())]);
    let files = places
        .filter_map(|place| facts.immutable.get(&place))
        .flatten();
    let immutable = files.map(|path| Finding {
        path: Some(path.clone()),
        ..finding(
            Verdict::ImmutableFiles,
            format!("has {}, which is immutable or append-only", path.display()),
            "chattr -i -a",
        )
    });
    immutable.collect()
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
pub fn at_stop<'f>(workload: &Workload, facts: &'f Facts) -> Vec<Finding> {
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
    if workload.building && status == "running" {
        found.push(finding(
            Verdict::Building,
            "is a step of docker build, which a stop makes fail".to_owned(),
            "wait for the build to end, or end it yourself",
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
    let of = |map: &'f BTreeMap<String, Vec<String>>| {
        workload
            .id
            .as_ref()
            .and_then(|id| map.get(id))
            .into_iter()
            .flatten()
    };
    found.extend(of(&facts.checkpoints).map(|name| {
        let reason =
            format!("has the checkpoint {name}, a memory image that holds ids of the host");
        finding(Verdict::Checkpoint, reason, "docker checkpoint rm")
    }));
    found.extend(of(&facts.tmpfs).map(|target| {
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
