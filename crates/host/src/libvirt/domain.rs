//! A machine, as its definition tells. Source: libvirt's "Domain XML format".

use super::xml;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use xmltree::Element;

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Domain {
    /// As in the definition.
    pub uuid: String,
    /// As in the definition.
    pub name: String,
    /// What it does now.
    pub state: State,
    /// Why, in libvirt's word: `booted`, `migrating`, `ioerror`…
    pub reason: String,
    /// The RAM, in bytes.
    pub memory: u64,
    /// Disks, CD-ROM and floppy drives, as they are in use now.
    pub disks: Vec<Disk>,
    /// Whether it boots by UEFI.
    pub uefi: bool,
    /// Where its UEFI variables are.
    pub nvram: Option<Nvram>,
    /// Whether it has a channel for the guest agent.
    pub agent: bool,
    /// Whether its memory was saved by `virsh managedsave`, to go on with at the next start.
    pub managed_save: bool,
    /// The definition it starts with the next time, passwords included; `None` where there is none.
    pub lasting: Option<String>,
}

/// What a machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It is on, and runs.
    Running,
    /// It is on, and stands still.
    Paused,
    /// It is off.
    #[default]
    ShutOff,
    /// Any other: crashed, about to shut down, asleep.
    Other,
}

impl State {
    /// Whether there is a QEMU process.
    #[must_use]
    pub fn is_on(self) -> bool {
        self != State::ShutOff
    }
}

/// UEFI's variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nvram {
    /// The file.
    pub file: String,
    /// `raw` or `qcow2`.
    pub format: String,
}

/// A drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The name by which libvirt knows it, such as `vda`.
    pub target: String,
    /// `disk`, `lun`, `cdrom` or `floppy`.
    pub device: String,
    /// `file`, `block`, `network`, `volume`…
    pub kind: String,
    /// The file or block device; `None` for anything else, and for an empty drive.
    pub source: Option<String>,
    /// `qcow2`, `raw`…
    pub format: String,
    /// It cannot be written.
    pub read_only: bool,
    /// Several machines may write to it.
    pub shareable: bool,
    /// What is written is thrown away when the machine stops.
    pub transient: bool,
    /// A block job is at work on it.
    pub busy: bool,
}

impl Disk {
    /// Whether a snapshot has to hold it: it has data of its own that the machine can change.
    #[must_use]
    pub fn holds_data(&self) -> bool {
        matches!(self.device.as_str(), "disk" | "lun") && !self.read_only
    }
}

impl Domain {
    /// Reads a definition as it is now, beside the lasting one.
    ///
    /// # Errors
    /// When it is not a definition that libvirt could have written.
    pub fn parse(now: &str, lasting: Option<String>) -> Result<Domain> {
        let root = xml::parse(now)?;
        let name = xml::text_at(&root, &["name"]).context("a VM without a name")?;
        Ok(Domain {
            uuid: xml::text_at(&root, &["uuid"]).context("a VM without a UUID")?,
            memory: memory(&root).with_context(|| format!("the memory of VM \"{name}\""))?,
            disks: disks(&root),
            uefi: uefi(&root),
            nvram: nvram(&root),
            agent: has_agent(&root),
            name,
            lasting,
            ..Domain::default()
        })
    }

    /// Takes over what `virsh domstate --reason` says, such as `paused (migrating)`.
    pub fn set_state(&mut self, said: &str) {
        let (state, reason) = said.split_once(" (").unwrap_or((said, ""));
        self.state = match state {
            "running" | "idle" | "blocked" => State::Running,
            "paused" => State::Paused,
            "shut off" => State::ShutOff,
            _ => State::Other,
        };
        self.reason = match (self.state, reason) {
            (State::Other, "") => state.to_owned(),
            _ => reason.trim_end_matches(')').to_owned(),
        };
    }
}

/// Reads the drives of a definition.
#[must_use]
pub fn disks(root: &Element) -> Vec<Disk> {
    let Some(devices) = root.get_child("devices") else {
        return vec![];
    };
    xml::children(devices, "disk").filter_map(disk).collect()
}

fn disk(disk: &Element) -> Option<Disk> {
    let attribute_of = |child, name| {
        disk.get_child(child)
            .and_then(|child| xml::attribute(child, name))
    };
    let has = |name| disk.get_child(name).is_some();
    let kind = xml::attribute(disk, "type").unwrap_or_default();
    let device = xml::attribute(disk, "device").unwrap_or_else(|| "disk".to_owned());
    Some(Disk {
        target: attribute_of("target", "dev")?,
        source: match kind.as_str() {
            "file" => attribute_of("source", "file"),
            "block" => attribute_of("source", "dev"),
            _ => None,
        },
        format: attribute_of("driver", "type").unwrap_or_else(|| "raw".to_owned()),
        read_only: has("readonly") || device == "cdrom",
        shareable: has("shareable"),
        transient: has("transient"),
        busy: has("mirror"),
        kind,
        device,
    })
}

fn memory(root: &Element) -> Result<u64> {
    let memory = root.get_child("memory").context("is not told")?;
    let unit = match xml::attribute(memory, "unit").as_deref() {
        Some("b" | "bytes") => 1,
        None | Some("k" | "KiB") => 1 << 10,
        Some("M" | "MiB") => 1 << 20,
        Some("G" | "GiB") => 1 << 30,
        Some(other) => anyhow::bail!("is in {other}, which is not known"),
    };
    let value: u64 = xml::text(memory).trim().parse().context("is no number")?;
    Ok(value.saturating_mul(unit))
}

fn uefi(root: &Element) -> bool {
    let loader = xml::at(root, &["os", "loader"]);
    let pflash = loader.and_then(|loader| xml::attribute(loader, "type"));
    let firmware = root
        .get_child("os")
        .and_then(|os| xml::attribute(os, "firmware"));
    pflash.as_deref() == Some("pflash") || firmware.as_deref() == Some("efi")
}

fn nvram(root: &Element) -> Option<Nvram> {
    let nvram = xml::at(root, &["os", "nvram"])?;
    let file = xml::text(nvram).trim().to_owned();
    // From libvirt 8.5 on it may be a source of its own, as a disk's.
    let file = match xml::at(nvram, &["source"]).and_then(|source| xml::attribute(source, "file")) {
        Some(source) => source,
        None if file.is_empty() => return None,
        None => file,
    };
    Some(Nvram {
        file,
        format: xml::attribute(nvram, "format").unwrap_or_else(|| "raw".to_owned()),
    })
}

fn has_agent(root: &Element) -> bool {
    let Some(devices) = root.get_child("devices") else {
        return false;
    };
    xml::children(devices, "channel").any(|channel| {
        let target = channel.get_child("target");
        let name = target.and_then(|target| xml::attribute(target, "name"));
        name.as_deref() == Some("org.qemu.guest_agent.0")
    })
}

/// The definition with other files for some disks (by target), which become qcow2 overlays. What libvirt
/// wrote about the files below is taken out, so that it reads them anew: with the old tree it would open
/// an overlay without what is below it.
///
/// # Errors
/// When the definition cannot be read, or lacks one of the disks.
pub fn with_sources(definition: &str, sources: &BTreeMap<String, Source>) -> Result<String> {
    let mut root = xml::parse(definition)?;
    change_sources(&mut root, sources)?;
    xml::write(&root)
}

/// The file of a disk, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Source {
    /// Its path.
    pub file: String,
    /// `qcow2`, `raw`…
    pub format: String,
}

/// [`with_sources`] of a tree.
///
/// # Errors
/// When it lacks one of the disks.
pub fn change_sources(root: &mut Element, sources: &BTreeMap<String, Source>) -> Result<()> {
    let devices = root.get_mut_child("devices").context("no devices")?;
    let nodes = devices.children.iter_mut();
    let mut disks: BTreeMap<String, &mut Element> = nodes
        .filter_map(xmltree::XMLNode::as_mut_element)
        .filter(|element| element.name == "disk")
        .filter_map(|disk| Some((xml::attribute(disk.get_child("target")?, "dev")?, disk)))
        .collect();
    for (target, source) in sources {
        let disk = disks
            .get_mut(target)
            .with_context(|| format!("the definition has no disk {target}"))?;
        change_source(disk, source);
    }
    Ok(())
}

fn change_source(disk: &mut Element, source: &Source) {
    disk.attributes.insert("type".to_owned(), "file".to_owned());
    xml::remove_children(disk, "backingStore");
    match disk.get_mut_child("driver") {
        Some(driver) => {
            driver
                .attributes
                .insert("type".to_owned(), source.format.clone());
        }
        None => {
            let driver = xml::element(
                "driver",
                &[("name", "qemu"), ("type", &source.format)],
                vec![],
            );
            disk.children.push(xmltree::XMLNode::Element(driver));
        }
    }
    match disk.get_mut_child("source") {
        Some(old) => {
            for stale in ["dev", "index", "startupPolicy"] {
                old.attributes.shift_remove(stale);
            }
            old.attributes
                .insert("file".to_owned(), source.file.clone());
        }
        None => {
            let made = xml::element("source", &[("file", &source.file)], vec![]);
            disk.children.push(xmltree::XMLNode::Element(made));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &str = r#"
<domain type='qemu' id='1'>
  <name>my vm "é"</name>
  <uuid>8b0ae4f1-6107-4410-830d-e84c5d1680df</uuid>
  <memory unit='KiB'>65536</memory>
  <os><loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/libvirt/qemu/nvram/my vm_VARS.fd</nvram></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/i/a.s1' index='3'/>
      <backingStore type='file' index='1'><format type='qcow2'/><source file='/i/a.qcow2'/><backingStore/></backingStore>
      <target dev='vda' bus='virtio'/></disk>
    <disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg/b' index='2'/>
      <target dev='vdb' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
    <disk type='network' device='disk'><source protocol='rbd' name='pool/c'/><target dev='vdc'/></disk>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
  </devices>
</domain>"#;

    #[test]
    fn a_definition_is_read() {
        let mut domain = Domain::parse(RUNNING, None).unwrap();
        domain.set_state("paused (migrating)");
        assert_eq!(domain.name, "my vm \"é\"");
        assert_eq!(
            (domain.state, domain.reason.as_str()),
            (State::Paused, "migrating")
        );
        assert_eq!(domain.memory, 64 << 20);
        assert!(domain.uefi && domain.agent);
        let nvram = domain.nvram.unwrap();
        assert_eq!(
            (nvram.file.as_str(), nvram.format.as_str()),
            ("/var/lib/libvirt/qemu/nvram/my vm_VARS.fd", "raw")
        );
        let sources: Vec<_> = domain
            .disks
            .iter()
            .map(|disk| disk.source.as_deref())
            .collect();
        assert_eq!(sources, [Some("/i/a.s1"), Some("/dev/vg/b"), None, None]);
        let held: Vec<_> = domain.disks.iter().map(Disk::holds_data).collect();
        assert_eq!(held, [true, true, false, true]);
    }

    #[test]
    fn states_are_told_apart() {
        let mut domain = Domain::default();
        for (said, state, reason) in [
            ("running (booted)", State::Running, "booted"),
            ("shut off (destroyed)", State::ShutOff, "destroyed"),
            ("crashed (panicked)", State::Other, "panicked"),
            ("in shutdown", State::Other, "in shutdown"),
        ] {
            domain.set_state(said);
            assert_eq!(
                (domain.state, domain.reason.as_str()),
                (state, reason),
                "{said}"
            );
        }
    }

    #[test]
    fn a_disk_gets_another_file_and_forgets_what_was_below() {
        let qcow2 = |file: &str| Source {
            file: file.to_owned(),
            format: "qcow2".to_owned(),
        };
        let sources = [
            ("vda".to_owned(), qcow2("/i/a <r1>")),
            ("vdb".to_owned(), qcow2("/i/b.r1")),
        ];
        let changed = with_sources(RUNNING, &sources.into()).unwrap();
        assert!(!changed.contains("backingStore"));
        let disks = disks(&xml::parse(&changed).unwrap());
        let seen: Vec<_> = disks[..2]
            .iter()
            .map(|disk| {
                (
                    disk.kind.as_str(),
                    disk.source.as_deref().unwrap(),
                    disk.format.as_str(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [("file", "/i/a <r1>", "qcow2"), ("file", "/i/b.r1", "qcow2")]
        );
        assert!(!changed.contains("index=") && !changed.contains("/dev/vg/b"));
        let missing = [("vdz".to_owned(), qcow2("/x"))];
        assert!(with_sources(RUNNING, &missing.into()).is_err());
    }
}
