//! A snapshot, as libvirt keeps it. Source: libvirt's "Snapshot XML format".

use super::{
    domain::{self, Disk, Source},
    xml,
};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use xmltree::Element;

/// A snapshot of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Its name, one of a kind for the machine.
    pub name: String,
    /// What an operator wrote about it.
    pub description: Option<String>,
    /// The snapshot that was current when it was taken.
    pub parent: Option<String>,
    /// `running`, `shutoff`, or `disk-snapshot` (of the disks of a running machine alone).
    pub state: String,
    /// In seconds since 1970.
    pub created: i64,
    /// It is the one that the machine's present state descends from.
    pub current: bool,
    /// Where the RAM is.
    pub memory: Memory,
    /// By target: what becomes of each disk from the snapshot on.
    pub overlays: BTreeMap<String, Overlay>,
    /// The disks of the machine as it was, whose files hold what was written before.
    pub disks: Vec<Disk>,
}

/// Where a snapshot has the RAM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// Nowhere.
    #[default]
    No,
    /// In the first disk's file.
    Internal,
    /// In a file of its own.
    External(String),
}

/// What a disk's data is written to from the snapshot on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlay {
    /// The snapshot does not hold the disk.
    No,
    /// To the same file.
    Internal,
    /// To this file.
    External(String),
}

impl Snapshot {
    /// Reads what `virsh snapshot-dumpxml` writes.
    ///
    /// # Errors
    /// When libvirt could not have written it.
    pub fn parse(text: &str) -> Result<Snapshot> {
        let root = xml::parse(text)?;
        let name = xml::text_at(&root, &["name"]).context("a snapshot without a name")?;
        let created = xml::text_at(&root, &["creationTime"]).and_then(|time| time.parse().ok());
        // The lasting definition is there too where it differs, and leads a revert; files are those in use.
        let machine = root
            .get_child("domain")
            .or_else(|| root.get_child("inactiveDomain"));
        Ok(Snapshot {
            created: created.with_context(|| format!("snapshot \"{name}\" has no time"))?,
            description: xml::text_at(&root, &["description"]),
            parent: xml::text_at(&root, &["parent", "name"]),
            state: xml::text_at(&root, &["state"]).unwrap_or_default(),
            memory: memory(&root),
            overlays: overlays(&root),
            disks: machine.map(domain::disks).unwrap_or_default(),
            current: false,
            name,
        })
    }

    /// Whether any disk goes on in another file.
    #[must_use]
    pub fn is_external(&self) -> bool {
        let external = |overlay: &Overlay| matches!(overlay, Overlay::External(_));
        self.overlays.values().any(external) || matches!(self.memory, Memory::External(_))
    }

    /// By target, the files that hold what was written before an external snapshot.
    #[must_use]
    pub fn frozen(&self) -> BTreeMap<String, Source> {
        let held =
            |disk: &&Disk| matches!(self.overlays.get(&disk.target), Some(Overlay::External(_)));
        let source = |disk: &Disk| {
            let source = Source {
                file: disk.source.clone()?,
                format: disk.format.clone(),
            };
            Some((disk.target.clone(), source))
        };
        self.disks.iter().filter(held).filter_map(source).collect()
    }
}

fn memory(root: &Element) -> Memory {
    let Some(memory) = root.get_child("memory") else {
        return Memory::No;
    };
    match xml::attribute(memory, "snapshot").as_deref() {
        Some("internal") => Memory::Internal,
        Some("external") => xml::attribute(memory, "file").map_or(Memory::No, Memory::External),
        _ => Memory::No,
    }
}

fn overlays(root: &Element) -> BTreeMap<String, Overlay> {
    let Some(disks) = root.get_child("disks") else {
        return BTreeMap::new();
    };
    let one = |disk: &Element| {
        let source = disk.get_child("source");
        let file = source.and_then(|source| xml::attribute(source, "file"));
        let overlay = match (xml::attribute(disk, "snapshot").as_deref(), file) {
            (Some("external"), Some(file)) => Overlay::External(file),
            (Some("internal"), _) => Overlay::Internal,
            _ => Overlay::No,
        };
        Some((xml::attribute(disk, "name")?, overlay))
    };
    xml::children(disks, "disk").filter_map(one).collect()
}

/// What to ask libvirt for with `virsh snapshot-create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish<'w> {
    /// The snapshot's name.
    pub name: &'w str,
    /// What an operator wrote about it.
    pub description: Option<&'w str>,
    /// Where the RAM goes.
    pub memory: &'w Memory,
    /// By target, where each disk goes on.
    pub overlays: &'w BTreeMap<String, Overlay>,
}

impl Wish<'_> {
    /// The definition of the snapshot to be.
    ///
    /// # Errors
    /// When a name holds what XML cannot.
    pub fn xml(&self) -> Result<String> {
        let mut children = vec![xml::with_text("name", self.name)];
        children.extend(
            self.description
                .map(|text| xml::with_text("description", text)),
        );
        children.push(match self.memory {
            Memory::No => xml::element("memory", &[("snapshot", "no")], vec![]),
            Memory::Internal => xml::element("memory", &[("snapshot", "internal")], vec![]),
            Memory::External(file) => xml::element(
                "memory",
                &[("snapshot", "external"), ("file", file)],
                vec![],
            ),
        });
        let disks = self.overlays.iter().map(|(target, overlay)| {
            let (kind, file) = match overlay {
                Overlay::No => ("no", None),
                Overlay::Internal => ("internal", None),
                Overlay::External(file) => ("external", Some(file)),
            };
            let source = file.map(|file| xml::element("source", &[("file", file)], vec![]));
            let format = file.map(|_| xml::element("driver", &[("type", "qcow2")], vec![]));
            let within = format.into_iter().chain(source).collect();
            xml::element("disk", &[("name", target), ("snapshot", kind)], within)
        });
        children.push(xml::element("disks", &[], disks.collect()));
        xml::write(&xml::element("domainsnapshot", &[], children))
    }
}

/// A snapshot's definition with other files for some of the disks it froze.
///
/// # Errors
/// When it cannot be read, or lacks one of the disks.
pub fn with_frozen(text: &str, sources: &BTreeMap<String, Source>) -> Result<String> {
    let mut root = xml::parse(text)?;
    for part in ["domain", "inactiveDomain"] {
        if let Some(machine) = root.get_mut_child(part) {
            domain::change_sources(machine, sources)?;
        }
    }
    xml::write(&root)
}

/// The definition with which the machine starts after a revert to a snapshot.
///
/// # Errors
/// When the snapshot holds none.
pub fn lasting(text: &str) -> Result<String> {
    let mut root = xml::parse(text)?;
    let found = root
        .take_child("inactiveDomain")
        .or_else(|| root.take_child("domain"));
    let mut machine = found.context("the snapshot holds no definition of the VM")?;
    machine.name = "domain".to_owned();
    xml::write(&machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK_ONLY: &str = r"
<domainsnapshot>
  <name>s2 ü</name><description>a &lt; b</description><state>disk-snapshot</state>
  <parent><name>s1</name></parent><creationTime>1795330491</creationTime><memory snapshot='no'/>
  <disks><disk name='vda' snapshot='external' type='file'><driver type='qcow2'/><source file='/i/a.s2'/></disk>
    <disk name='sda' snapshot='no'/></disks>
  <domain type='qemu'><name>m</name><devices><disk type='file' device='disk'><driver type='qcow2'/>
    <source file='/i/a.s1'/><backingStore type='file'><source file='/i/a'/></backingStore><target dev='vda'/></disk>
    </devices></domain>
  <inactiveDomain type='qemu'><name>m</name><title>next</title><devices><disk type='file' device='disk'>
    <driver type='qcow2'/><source file='/i/a.s1'/><target dev='vda'/></disk></devices></inactiveDomain>
</domainsnapshot>";

    #[test]
    fn a_snapshot_is_read() {
        let snapshot = Snapshot::parse(DISK_ONLY).unwrap();
        assert_eq!(snapshot.name, "s2 ü");
        assert_eq!(snapshot.description.as_deref(), Some("a < b"));
        assert_eq!(
            (snapshot.parent.as_deref(), snapshot.created),
            (Some("s1"), 1_795_330_491)
        );
        assert!(snapshot.is_external());
        assert_eq!(
            snapshot.overlays["vda"],
            Overlay::External("/i/a.s2".to_owned())
        );
        assert_eq!(snapshot.overlays["sda"], Overlay::No);
        assert_eq!(snapshot.frozen()["vda"].file, "/i/a.s1");
    }

    #[test]
    fn what_is_wished_for_reads_as_such() {
        let overlays = [(
            "vda".to_owned(),
            Overlay::External("/i/a.\"x\" & y".to_owned()),
        )];
        let wish = Wish {
            name: "\"x\" & y",
            description: Some("before <b>"),
            memory: &Memory::External("/i/m".to_owned()),
            overlays: &overlays.clone().into(),
        };
        let root = xml::parse(&wish.xml().unwrap()).unwrap();
        assert_eq!(xml::text_at(&root, &["name"]).unwrap(), "\"x\" & y");
        assert_eq!(super::overlays(&root), overlays.into());
        assert_eq!(memory(&root), Memory::External("/i/m".to_owned()));
    }

    #[test]
    fn frozen_files_are_renamed_in_both_definitions() {
        let source = Source {
            file: "/i/a".to_owned(),
            format: "raw".to_owned(),
        };
        let changed = with_frozen(DISK_ONLY, &[("vda".to_owned(), source)].into()).unwrap();
        assert!(!changed.contains("/i/a.s1") && !changed.contains("backingStore"));
        assert!(changed.contains("/i/a.s2"));
        assert_eq!(changed.matches("\"/i/a\"").count(), 2);
    }

    #[test]
    fn the_lasting_definition_is_the_one_for_the_next_start() {
        let lasting = lasting(DISK_ONLY).unwrap();
        assert!(lasting.contains("<title>next</title>") && !lasting.contains("inactiveDomain"));
    }
}
