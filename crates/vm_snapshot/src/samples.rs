//! VMs for the tests of the rooms that touch nothing.

use crate::{
    args::{self, Args},
    observed::Observed,
    record::Record,
};
use host::{
    libvirt::{
        domain::{Disk, Domain, State},
        snapshot::{Overlay, Snapshot},
    },
    qemu_img::Image,
};
use serde_json::{Value, json};

/// A disk in a qcow2 file.
pub fn disk(target: &str, file: &str) -> Disk {
    Disk {
        target: target.to_owned(),
        device: "disk".to_owned(),
        kind: "file".to_owned(),
        source: Some(file.to_owned()),
        format: "qcow2".to_owned(),
        read_only: false,
        shareable: false,
        transient: false,
        busy: false,
    }
}

/// A running VM whose one disk, `vda`, has these files, the one in use first.
pub fn vm(chain: &[&str]) -> Observed {
    let domain = Domain {
        uuid: "u".to_owned(),
        name: "m".to_owned(),
        state: State::Running,
        memory: 1 << 30,
        disks: vec![disk("vda", chain[0])],
        lasting: Some("<domain/>".to_owned()),
        ..Domain::default()
    };
    let free = chain.iter().map(|file| ((*file).to_owned(), 1 << 40));
    Observed {
        domain,
        free: free.collect(),
        chains: [("vda".to_owned(), Ok(images(chain)))].into(),
        libvirt: (9, 0, 0),
        now: 1_000_000,
        ..Observed::default()
    }
}

/// A chain of qcow2 files, the topmost first.
pub fn images(chain: &[&str]) -> Vec<Image> {
    let one = |(at, file): (usize, &&str)| Image {
        filename: (*file).to_owned(),
        format: "qcow2".to_owned(),
        full_backing_filename: chain.get(at + 1).map(|below| (*below).to_owned()),
        ..Image::default()
    };
    chain.iter().enumerate().map(one).collect()
}

impl Observed {
    /// With an external snapshot of this module's that froze the first of these files, and whose overlay is there.
    pub fn with_external(mut self, name: &str, frozen: &[&str], overlay: &str) -> Observed {
        let snapshot = Snapshot {
            name: name.to_owned(),
            overlays: [("vda".to_owned(), Overlay::External(overlay.to_owned()))].into(),
            disks: vec![disk("vda", frozen[0])],
            ..Snapshot::default()
        };
        self.frozen.insert(
            name.to_owned(),
            [("vda".to_owned(), Ok(images(frozen)))].into(),
        );
        self.below
            .insert(overlay.to_owned(), Some(frozen[0].to_owned()));
        self.with(snapshot)
    }

    /// With an internal snapshot of this module's.
    pub fn with_internal(self, name: &str) -> Observed {
        let snapshot = Snapshot {
            name: name.to_owned(),
            overlays: [("vda".to_owned(), Overlay::Internal)].into(),
            ..Snapshot::default()
        };
        self.with(snapshot)
    }

    /// Each snapshot is 1000 seconds younger than the one before; the last one is current.
    fn with(mut self, mut snapshot: Snapshot) -> Observed {
        snapshot.created = 1000 * i64::try_from(self.snapshots.len() + 1).unwrap();
        let record = Record {
            name: snapshot.name.clone(),
            created: snapshot.created,
            ..Record::default()
        };
        self.records.insert(snapshot.name.clone(), record);
        self.snapshots.push(snapshot);
        self
    }
}

/// The options with these set.
pub fn args(options: Value) -> Args {
    let mut all = json!({"vm": "m", "name": null, "state": "present", "description": null, "kind": "auto",
        "memory": "auto", "quiesce": "auto", "keep": null, "older_than": null, "abandoned": "keep",
        "uri": "", "timeout": 60});
    for (key, value) in options.as_object().unwrap() {
        all[key] = value.clone();
    }
    let args: args::Args = serde_json::from_value(all).unwrap();
    args
}
