//! What the user gets to see of a VM and its snapshots. Pure.

use crate::{
    decide::{Decision, Kind, Quiesce},
    observed::Observed,
    record::{Place, Record},
};
use ansible_module::Diff;
use host::{
    clock::iso,
    libvirt::{
        Version,
        domain::Disk,
        snapshot::{Memory, Overlay, Snapshot},
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path};

/// `9.0.0`.
#[must_use]
pub fn version((major, minor, micro): Version) -> String {
    format!("{major}.{minor}.{micro}")
}

/// One snapshot.
#[must_use]
pub fn snapshot(observed: &Observed, snapshot: &Snapshot) -> Value {
    let record = observed.records.get(&snapshot.name);
    let nvram = record.filter(|record| record.nvram).map(|record| {
        let place = Place::of(&observed.domain.uuid);
        place.nvram(&record.name)
    });
    json!({
        "name": snapshot.name,
        "kind": kind(snapshot).word(),
        "memory": snapshot.memory != Memory::No,
        // libvirt does not remember it.
        "quiesced": record.map(|record| record.quiesced),
        "created": iso(snapshot.created),
        "description": snapshot.description,
        "parent": snapshot.parent,
        "current": snapshot.current,
        "state": snapshot.state,
        "managed": record.is_some(),
        "disks": disks(observed, snapshot),
        "nvram": nvram,
        "size": size(observed, snapshot),
    })
}

/// The disks that a snapshot holds.
fn disks(observed: &Observed, snapshot: &Snapshot) -> Value {
    let one = |(target, overlay): (&String, &Overlay)| {
        let disk = snapshot.disks.iter().find(|disk| disk.target == *target);
        let file = disk.and_then(|disk| disk.source.as_ref());
        let overlay = match overlay {
            Overlay::No => return None,
            Overlay::Internal => None,
            Overlay::External(overlay) => Some(overlay),
        };
        Some(json!({
            "target": target,
            "format": disk.map(|disk| &disk.format),
            "file": file,
            "overlay": overlay,
            "size": file.and_then(|file| observed.sizes.get(file)),
        }))
    };
    snapshot.overlays.iter().filter_map(one).collect()
}

/// The bytes on disk that a snapshot takes beside the data that it holds: what has been written since, which
/// is in the overlays on its files, and the RAM. `None` where one of them is not to be seen.
fn size(observed: &Observed, snapshot: &Snapshot) -> Option<u64> {
    let memory = match &snapshot.memory {
        Memory::No => Some(0),
        Memory::External(file) => observed.sizes.get(file).copied(),
        Memory::Internal => internal_memory(observed, &snapshot.name),
    };
    if !snapshot.is_external() {
        // What an internal one takes of its disks' files is known to nobody.
        return memory.filter(|_| snapshot.memory != Memory::No);
    }
    if observed.broken(Some(&snapshot.name)).next().is_some() {
        return None;
    }
    let frozen: BTreeSet<_> = snapshot
        .frozen()
        .into_values()
        .map(|source| source.file)
        .collect();
    let overlays = observed
        .overlays()
        .filter(|(_, below)| frozen.contains(*below));
    let overlays: BTreeSet<_> = overlays.map(|(file, _)| file).collect();
    let abandoned = |file: &str| {
        observed
            .left
            .abandoned
            .iter()
            .any(|left| left == Path::new(file))
    };
    let written = overlays.into_iter().filter(|file| !abandoned(file));
    let written = written.map(|file| observed.sizes.get(file).copied());
    written.chain([memory]).sum()
}

/// The RAM within the disks' files.
fn internal_memory(observed: &Observed, name: &str) -> Option<u64> {
    let images = observed.chains.values().flatten().flatten();
    let within = images.flat_map(|image| &image.snapshots);
    let ram = within.filter(|within| within.name == name);
    ram.map(|within| within.vm_state_size).max()
}

/// How a snapshot was verified, and the files that each disk now consists of, the one in use first.
#[must_use]
pub fn verified(observed: &Observed, record: &Record) -> Value {
    json!({"at": iso(record.verified), "by": record.checks, "chain": chains(observed)})
}

/// How a revert was verified just now, and the files that each disk now consists of.
#[must_use]
pub fn reverted(observed: &Observed, checks: &[String]) -> Value {
    json!({"at": iso(observed.now), "by": checks, "chain": chains(observed)})
}

fn chains(observed: &Observed) -> Value {
    let one = |disk: &Disk| (disk.target.clone(), json!(files(observed, &disk.target)));
    Value::Object(observed.disks().map(one).collect())
}

/// The files of a disk, the one in use first.
pub fn files<'o>(observed: &'o Observed, target: &str) -> Vec<&'o str> {
    let chain = observed.chain(target).iter();
    chain.map(|image| image.filename.as_str()).collect()
}

/// What reverts left behind.
#[must_use]
pub fn abandoned(observed: &Observed) -> Value {
    json!(observed.left.abandoned)
}

/// Why a snapshot is of the kind it is.
#[must_use]
pub fn decision(decision: &Decision) -> Value {
    json!({
        "kind": decision.kind.word(),
        "memory": decision.memory,
        "quiesce": decision.quiesce != Quiesce::No,
        "reasons": decision.reasons,
    })
}

/// The list of snapshots before and after.
#[must_use]
pub fn difference(
    before: &Observed,
    taken: Option<(&str, &Decision)>,
    removed: &[String],
    reverted: Option<&str>,
) -> Diff {
    let line = |name: &str, kind: Kind, current: bool| {
        let mark = if current { "*" } else { " " };
        format!("{mark} {name} ({})\n", kind.word())
    };
    let old = before.snapshots.iter();
    let old = old.map(|snapshot| line(&snapshot.name, kind(snapshot), snapshot.current));
    let stays = before
        .snapshots
        .iter()
        .filter(|snapshot| !removed.contains(&snapshot.name));
    let current = |snapshot: &Snapshot| match (reverted, taken) {
        (Some(name), _) => snapshot.name == name,
        (None, Some(_)) => false,
        (None, None) => snapshot.current,
    };
    let stays = stays.map(|snapshot| line(&snapshot.name, kind(snapshot), current(snapshot)));
    let new = taken.map(|(name, decision)| line(name, decision.kind, true));
    let header = format!("snapshots of {}", before.domain.name);
    Diff::texts(
        header,
        old.collect::<String>(),
        stays.chain(new).collect::<String>(),
    )
}

fn kind(snapshot: &Snapshot) -> Kind {
    match snapshot.is_external() {
        true => Kind::External,
        false => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::disk;
    use host::qemu_img::{Image, Internal};

    /// `vda` on `/i/a` and `vdb` on `/i/b`.
    fn taken(overlay: fn(&str) -> Overlay, memory: Memory) -> Snapshot {
        let overlays = ["a", "b"].map(|name| (format!("vd{name}"), overlay(name)));
        Snapshot {
            name: "s".to_owned(),
            created: 1_795_331_700,
            memory,
            overlays: overlays.into(),
            disks: vec![disk("vda", "/i/a"), disk("vdb", "/i/b")],
            ..Snapshot::default()
        }
    }

    fn external(name: &str) -> Overlay {
        Overlay::External(format!("/i/{name}.s"))
    }

    fn sizes(sizes: &[(&str, u64)]) -> Observed {
        let sizes = sizes
            .iter()
            .map(|(file, bytes)| ((*file).to_owned(), *bytes));
        Observed {
            sizes: sizes.collect(),
            ..Observed::default()
        }
    }

    #[test]
    fn an_external_snapshot_takes_what_was_written_since_and_its_memory() {
        let with_memory = taken(external, Memory::External("/i/m".to_owned()));
        let mut observed = sizes(&[
            ("/i/a", 5000),
            ("/i/a.s", 200),
            ("/i/a.since", 1),
            ("/i/b.s", 30),
            ("/i/m", 4),
        ]);
        for (file, below) in [("a.s", "a"), ("a.since", "a"), ("b.s", "b"), ("c.s", "c")] {
            let below = Some(format!("/i/{below}"));
            observed.below.insert(format!("/i/{file}"), below);
        }
        let told = snapshot(&observed, &with_memory);
        assert_eq!(told["size"], 235);
        assert_eq!(
            told["disks"][0],
            json!({"target": "vda", "format": "qcow2", "file": "/i/a", "overlay": "/i/a.s", "size": 5000})
        );
        assert_eq!(told["disks"][1]["size"], Value::Null);
        assert_eq!(
            (&told["kind"], &told["memory"]),
            (&json!("external"), &json!(true))
        );
        observed.left.abandoned = vec!["/i/a.s".into()];
        assert_eq!(snapshot(&observed, &with_memory)["size"], 35);
        observed.sizes.remove("/i/b.s");
        assert_eq!(snapshot(&observed, &with_memory)["size"], Value::Null);
    }

    #[test]
    fn what_was_written_to_files_that_are_not_whole_has_no_size() {
        let mut observed = sizes(&[]);
        assert_eq!(snapshot(&observed, &taken(external, Memory::No))["size"], 0);
        let broken = Err("no /i/a.s".to_owned());
        observed.chains.insert("vda".to_owned(), broken);
        assert_eq!(
            snapshot(&observed, &taken(external, Memory::No))["size"],
            Value::Null
        );
    }

    #[test]
    fn of_an_internal_snapshot_only_the_memory_has_a_size() {
        let within = |name: &str, vm_state_size| Internal {
            name: name.to_owned(),
            vm_state_size,
        };
        let image = Image {
            snapshots: vec![within("other", 7), within("s", 5)],
            ..Image::default()
        };
        let observed = Observed {
            chains: [("vda".to_owned(), Ok(vec![image]))].into(),
            ..Observed::default()
        };
        let internal = |_: &str| Overlay::Internal;
        let told = snapshot(&observed, &taken(internal, Memory::Internal));
        assert_eq!(
            (&told["kind"], &told["size"]),
            (&json!("internal"), &json!(5))
        );
        let told = snapshot(&observed, &taken(internal, Memory::No));
        assert_eq!(told["size"], Value::Null);
    }

    #[test]
    fn what_only_this_module_knows_is_told_of_its_own_snapshots_alone() {
        let foreign = taken(external, Memory::No);
        let mut observed = sizes(&[]);
        observed.domain.uuid = "u".to_owned();
        let told = snapshot(&observed, &foreign);
        assert_eq!(told["managed"], false);
        assert_eq!(
            (&told["quiesced"], &told["nvram"]),
            (&Value::Null, &Value::Null)
        );
        let record = Record {
            name: "s".to_owned(),
            quiesced: true,
            nvram: true,
            ..Record::default()
        };
        observed.records.insert("s".to_owned(), record);
        let told = snapshot(&observed, &foreign);
        assert_eq!(
            (&told["managed"], &told["quiesced"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(
            told["nvram"],
            "/var/lib/bulkhead/vm_snapshot/u/snapshots/s/nvram"
        );
    }
}
