//! Which kind of snapshot a VM gets, and why. Pure.

use crate::{
    args::{Args, Maybe, Wanted},
    observed::{Agent, Observed},
};
use host::libvirt::{
    Version,
    domain::{Disk, State},
};
use serde::{Deserialize, Serialize};

/// From here on libvirt takes internal snapshots of VMs with UEFI, if their variables are in qcow2.
pub const INTERNAL_WITH_UEFI: Version = (10, 9, 0);

/// Less than this left on a file system, and an overlay would stop the VM within minutes.
const LEAST_FREE: u64 = 64 << 20;

/// What is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub kind: Kind,
    /// The RAM belongs to it.
    pub memory: bool,
    pub quiesce: Quiesce,
    /// One sentence for each choice.
    pub reasons: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Internal,
    External,
}

impl Kind {
    /// As the options call it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Internal => "internal",
            Kind::External => "external",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quiesce {
    No,
    /// Without, where the guest refuses.
    Try,
    Must,
}

/// Decides; or tells everything that stands in the way.
///
/// # Errors
/// One sentence for each obstacle.
pub fn decide(args: &Args, observed: &Observed) -> Result<Decision, Vec<String>> {
    let mut obstacles = standing_in_the_way(observed);
    let mut reasons = vec![];
    let kind = kind(args.kind, observed, &mut reasons, &mut obstacles);
    let memory = memory(args.memory, kind, observed, &mut reasons, &mut obstacles);
    let quiesce = quiesce(
        args.quiesce,
        kind,
        memory,
        observed,
        &mut reasons,
        &mut obstacles,
    );
    obstacles.extend(no_room(kind, memory, observed));
    match obstacles.is_empty() {
        true => Ok(Decision {
            kind,
            memory,
            quiesce,
            reasons,
        }),
        false => Err(obstacles),
    }
}

/// What forbids any change of a VM's disks.
#[must_use]
pub fn busy(observed: &Observed) -> Vec<String> {
    let domain = &observed.domain;
    let mut obstacles = vec![];
    if domain.lasting.is_none() {
        obstacles.push(
            "it is transient: libvirt forgets it, and its snapshots, when it stops; define it"
                .to_owned(),
        );
    }
    if let Some(job) = &observed.job {
        obstacles.push(format!(
            "a job is at work on it ({job}); wait for its end, or end it with `virsh domjobabort` where it was begun"
        ));
    }
    let busy = domain.disks.iter().filter(|disk| disk.busy);
    obstacles.extend(busy.map(|disk| {
        let target = &disk.target;
        format!(
            "a block job is at work on disk {target}; see `virsh blockjob`, and wait for its end"
        )
    }));
    if domain.managed_save {
        let why = "its memory is saved (managedsave), and would go on with disks that do not belong to it";
        obstacles.push(format!(
            "{why}; start it, or run `virsh managedsave-remove`"
        ));
    }
    obstacles
}

fn standing_in_the_way(observed: &Observed) -> Vec<String> {
    let domain = &observed.domain;
    let mut obstacles = busy(observed);
    match domain.state {
        State::Running | State::ShutOff => {}
        State::Paused => obstacles.push(format!(
            "it is paused ({}), so nobody can say whether its disks are at rest; resume it, or shut it off",
            domain.reason
        )),
        State::Other => obstacles.push(format!("it is {}; wait, or shut it off", domain.reason)),
    }
    if observed.disks().next().is_none() {
        obstacles.push("it has no disk that it could write to".to_owned());
    }
    obstacles.extend(observed.disks().filter_map(not_a_disk_of_its_own));
    obstacles.extend(observed.broken(None));
    if let (true, Some(nvram), false) = (domain.state.is_on(), &domain.nvram, observed.nvram_there)
    {
        obstacles.push(format!(
            "{}, which holds its UEFI variables, is missing, though the VM runs; they would be lost",
            nvram.file
        ));
    }
    obstacles
}

fn not_a_disk_of_its_own(disk: &Disk) -> Option<String> {
    let reason = match disk {
        Disk { device, .. } if device == "lun" => "is handed through to the guest (device='lun')",
        Disk {
            shareable: true, ..
        } => "is shared with other VMs",
        Disk {
            transient: true, ..
        } => "is transient",
        Disk { source: None, .. } => "is no file or block device of this host",
        _ => return None,
    };
    Some(format!(
        "disk {} {reason}: it cannot be part of a snapshot",
        disk.target
    ))
}

fn kind(
    wanted: Wanted,
    observed: &Observed,
    reasons: &mut Vec<String>,
    obstacles: &mut Vec<String>,
) -> Kind {
    let (internal, external) = (no_internal(observed), no_external(observed));
    let has_internal = observed
        .snapshots
        .iter()
        .any(|snapshot| !snapshot.is_external());
    match wanted {
        Wanted::Internal => {
            obstacles.extend(internal);
            reasons.push("internal, as asked".to_owned());
            Kind::Internal
        }
        Wanted::External => {
            obstacles.extend(external);
            reasons.push("external, as asked".to_owned());
            Kind::External
        }
        Wanted::Auto if has_internal && internal.is_none() => {
            reasons.push(
                "internal, since the VM has internal snapshots and the kinds are not to be mixed"
                    .to_owned(),
            );
            Kind::Internal
        }
        Wanted::Auto => match (external, internal) {
            (None, _) => {
                let why = "it takes any format and firmware and no pause, and a revert keeps what was written since";
                reasons.push(format!("external, since {why}"));
                Kind::External
            }
            (Some(no_external), None) => {
                reasons.push(format!("internal, since {no_external}"));
                Kind::Internal
            }
            (Some(no_external), Some(no_internal)) => {
                obstacles.extend([no_external, no_internal]);
                Kind::External
            }
        },
    }
}

/// Why an internal snapshot is impossible.
#[must_use]
pub fn no_internal(observed: &Observed) -> Option<String> {
    let foreign = observed.disks().find(|disk| disk.format != "qcow2");
    if let Some(disk) = foreign {
        return Some(format!(
            "disk {} is {}, and only qcow2 holds internal snapshots",
            disk.target, disk.format
        ));
    }
    if let Some(snapshot) = observed
        .snapshots
        .iter()
        .find(|snapshot| snapshot.is_external())
    {
        return Some(format!(
            "there is the external snapshot \"{}\", and the kinds are not to be mixed",
            snapshot.name
        ));
    }
    if !observed.domain.uefi {
        return None;
    }
    if observed.libvirt < INTERNAL_WITH_UEFI {
        let (major, minor, micro) = observed.libvirt;
        return Some(format!(
            "it boots by UEFI, of which libvirt takes internal snapshots from 10.9 on, and here is {major}.{minor}.{micro}"
        ));
    }
    let format = observed
        .domain
        .nvram
        .as_ref()
        .map(|nvram| nvram.format.as_str());
    (format != Some("qcow2")).then(|| "its UEFI variables are not in qcow2".to_owned())
}

/// Why an external snapshot is impossible.
#[must_use]
pub fn no_external(observed: &Observed) -> Option<String> {
    let elsewhere = observed.disks().find(|disk| disk.kind != "file");
    elsewhere.map(|disk| {
        format!(
            "disk {} is no file, and an overlay needs a directory to be in",
            disk.target
        )
    })
}

fn memory(
    wanted: Maybe,
    kind: Kind,
    observed: &Observed,
    reasons: &mut Vec<String>,
    obstacles: &mut Vec<String>,
) -> bool {
    let running = observed.domain.state.is_on();
    match (wanted, running, kind) {
        (Maybe::True, false, _) => {
            obstacles.push("memory=true, but it is off and has no memory to save".to_owned());
            true
        }
        (Maybe::False, true, Kind::Internal) => {
            obstacles.push(
                "memory=false, but an internal snapshot of a running VM always has its memory; shut it off, or use \
                 kind=external"
                    .to_owned(),
            );
            false
        }
        (Maybe::True, true, _) => {
            reasons.push("with memory, as asked".to_owned());
            true
        }
        (Maybe::Auto, true, Kind::Internal) => {
            reasons.push("with memory, as every internal snapshot of a running VM".to_owned());
            true
        }
        (Maybe::Auto, true, Kind::External) => {
            reasons
                .push("without memory, so that it takes neither a pause nor the space".to_owned());
            false
        }
        (_, false, _) => {
            reasons.push("without memory, since it is off".to_owned());
            false
        }
        (Maybe::False, true, Kind::External) => {
            reasons.push("without memory, as asked".to_owned());
            false
        }
    }
}

fn quiesce(
    wanted: Maybe,
    kind: Kind,
    memory: bool,
    observed: &Observed,
    reasons: &mut Vec<String>,
    obstacles: &mut Vec<String>,
) -> Quiesce {
    let running = observed.domain.state.is_on();
    let cannot = match (running, kind, memory, observed.agent) {
        (false, ..) => Some("it is off, and its disks are at rest"),
        (true, Kind::Internal, ..) | (true, _, true, _) => {
            Some("the memory holds what the disks do not have yet")
        }
        (.., Agent::None) => {
            Some("it has no guest agent: after a revert it is as after a power cut")
        }
        (.., Agent::Silent) => {
            Some("its guest agent does not answer: after a revert it is as after a power cut")
        }
        (.., Agent::Answers) => None,
    };
    match (wanted, cannot) {
        (Maybe::True, Some(cannot)) => {
            obstacles.push(format!("quiesce=true, but {cannot}"));
            Quiesce::Must
        }
        (Maybe::True, None) => {
            reasons.push("quiesced, as asked".to_owned());
            Quiesce::Must
        }
        (Maybe::Auto, None) => {
            reasons.push("quiesced, since the guest agent answers".to_owned());
            Quiesce::Try
        }
        (Maybe::Auto, Some(cannot)) => {
            reasons.push(format!("not quiesced, since {cannot}"));
            Quiesce::No
        }
        (Maybe::False, _) => {
            reasons.push("not quiesced, as asked".to_owned());
            Quiesce::No
        }
    }
}

fn no_room(kind: Kind, memory: bool, observed: &Observed) -> Vec<String> {
    let first = observed.disks().next().map(|disk| &disk.target);
    let lacking = |disk: &Disk| {
        let source = disk.source.as_ref()?;
        let free = *observed.free.get(source)?;
        // The RAM goes to, or beside, the first disk's file.
        let ram = match memory && first == Some(&disk.target) {
            true => observed.domain.memory,
            false => 0,
        };
        (free < LEAST_FREE + ram).then(|| {
            format!(
                "the file system of {source} has {} MiB left, and an {} snapshot needs {} MiB",
                free >> 20,
                kind.word(),
                (LEAST_FREE + ram) >> 20
            )
        })
    };
    observed.disks().filter_map(lacking).collect()
}

#[cfg(test)]
mod tests;
