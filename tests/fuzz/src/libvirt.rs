//! What libvirt says of machines and snapshots.

use host::libvirt::{
    domain::{self, Disk, Domain, Source},
    snapshot::{self, Memory, Overlay, Snapshot, Wish},
    xml,
};
use std::collections::BTreeMap;

/// Definitions of machines and snapshots: a disk that is given another file has it, and all others stay.
pub fn libvirt(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(domain) = Domain::parse(&text, None) {
        disks(&text, &domain.disks);
    }
    if let Ok(read) = Snapshot::parse(&text) {
        let _ = snapshot::with_frozen(&text, &read.frozen());
        let _ = snapshot::lasting(&text);
    }
    names(&text);
}

fn disks(text: &str, disks: &[Disk]) {
    let Some(first) = disks.first() else { return };
    let source = Source {
        file: "/a \"b\" <c>&'d'".to_owned(),
        format: "qcow2".to_owned(),
    };
    let sources = [(first.target.clone(), source.clone())];
    let changed = domain::with_sources(text, &sources.into()).expect("it has that disk");
    let root = xml::parse(&changed).expect("it is as we write it");
    let after = domain::disks(&root);
    let same_target = |disk: &&Disk| disk.target == first.target;
    let files: Vec<_> = after
        .iter()
        .filter(same_target)
        .map(|disk| disk.source.as_deref())
        .collect();
    assert!(files.contains(&Some(source.file.as_str())));
    let others = |disks: &[Disk]| -> Vec<Disk> {
        let others = disks.iter().filter(|disk| disk.target != first.target);
        others.cloned().collect()
    };
    assert_eq!(others(&after), others(disks));
}

/// Any name that libvirt would take reads as it was written.
fn names(text: &str) {
    let name: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    if name.trim() != name || name.is_empty() || name.contains(['\u{fffe}', '\u{ffff}']) {
        return;
    }
    let overlays: BTreeMap<_, _> = [(name.clone(), Overlay::External(name.clone()))].into();
    let wish = Wish {
        name: &name,
        description: Some(&name),
        memory: &Memory::External(name.clone()),
        overlays: &overlays,
    };
    let written = wish.xml().expect("it has no control characters");
    let read =
        Snapshot::parse(&written.replace("</name>", "</name><creationTime>1</creationTime>"));
    let read = read.expect("it is as we write it");
    assert_eq!(read.name, name);
    assert_eq!(read.description.as_deref(), Some(name.as_str()));
    assert_eq!(
        (read.memory, read.overlays),
        (Memory::External(name), overlays)
    );
}
