//! The files by which a snapshot is held: whether they are whole, and what new ones are called.

use super::Refusals;
use crate::observed::Observed;
use host::libvirt::snapshot::Snapshot;
use std::path::Path;

/// What follows a snapshot's name in the names of the overlays that a revert to it makes.
pub const SINCE: &str = "-since-";

/// Why nobody can go back to an external snapshot.
pub fn damage(observed: &Observed, snapshot: &Snapshot) -> Refusals {
    let name = &snapshot.name;
    let mut damage: Vec<_> = observed.broken(Some(name)).collect();
    for (target, source) in snapshot.frozen() {
        let file = &source.file;
        if observed
            .in_use(&target)
            .is_some_and(|used| used.file == *file)
        {
            damage.push(format!(
                "disk {target} is written to {file}, which held the data of snapshot \"{name}\": it is lost"
            ));
        } else if observed.written.contains(file) {
            damage.push(format!(
                "{file} was written to after snapshot \"{name}\", whose data it held"
            ));
        } else if !observed.records.contains_key(name) && written_later(observed, snapshot, file) {
            damage.push(format!(
                "{file} was written to after snapshot \"{name}\" was taken, which cannot be shown to be whole"
            ));
        }
    }
    damage
}

/// A file is flushed for a snapshot, and closed for writing within the next seconds.
fn written_later(observed: &Observed, snapshot: &Snapshot, file: &str) -> bool {
    let modified = observed.modified.get(file);
    modified.is_some_and(|modified| *modified > snapshot.created + 5)
}

/// A name as part of a new file's: libvirt would double its commas where it has `qemu-img` make the file.
pub fn in_file(name: &str) -> String {
    name.replace(',', "_")
}

/// A disk's path without what names the image's format or the snapshot it stands on.
pub fn stem(file: &str, observed: &Observed) -> String {
    let path = Path::new(file);
    let own = in_file(&path.file_name().unwrap_or_default().to_string_lossy());
    let of_snapshot = observed.snapshots.iter().find_map(|snapshot| {
        let suffix = format!(".{}", in_file(&snapshot.name));
        let at = own.rfind(&suffix)?;
        let rest = &own[at + suffix.len()..];
        (rest.is_empty() || rest.starts_with(SINCE)).then(|| own[..at].to_owned())
    });
    let of_format = || {
        let formats = ["qcow2", "img", "raw"];
        let cut = formats
            .iter()
            .find_map(|format| own.strip_suffix(&format!(".{format}")));
        cut.unwrap_or(&own).to_owned()
    };
    let stem = of_snapshot
        .filter(|stem| !stem.is_empty())
        .unwrap_or_else(of_format);
    path.with_file_name(stem).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::vm;

    #[test]
    fn a_stem_is_what_the_operator_called_the_disk() {
        let observed = vm(&["/i/a.1", "/i/a.qcow2"]).with_external("1", &["/i/a.qcow2"], "/i/a.1");
        for (file, expected) in [
            ("/i/a.qcow2", "/i/a"),
            ("/i/a.1", "/i/a"),
            ("/i/a.1-since-20261122-071500", "/i/a"),
            ("/i/v1.2.img", "/i/v1.2"),
            ("/i/disk", "/i/disk"),
            ("/i/.1", "/i/.1"),
            ("/i,j/a,b.qcow2", "/i,j/a_b"),
        ] {
            assert_eq!(stem(file, &observed), expected, "{file}");
        }
    }
}
