use crate::{
    Error, IdMaps, OutsideLinks, Report, Unmapped,
    entry::Entry,
    examine::examine,
    fixed::Liftable,
    ids::Sides,
    links::{Links, Note},
    root::Root,
    stray::{Left, identity},
    walk::{Visitor, walk},
    xattr,
};
use std::path::PathBuf;

/// Changes what is on the source side of the maps and leaves the rest alone, and all of `left`, so that it can be
/// repeated.
pub(crate) fn run(
    roots: &[Root],
    maps: &IdMaps,
    outside_links: OutsideLinks,
    liftable: &Liftable,
    left: &Left,
) -> Result<Report, Error> {
    let (sides, links) = (Sides::new(maps), Links::default());
    let shifters = walk(roots, || Shifter {
        sides: &sides,
        links: &links,
        outside_links,
        liftable,
        left,
        buffer: vec![0; xattr::MAX],
        report: Report::default(),
    })?;
    let mut report = Report::default();
    for Shifter { report: part, .. } in shifters {
        report.counts.merge(&part.counts);
        report.sample.merge(part.sample);
        report.already += part.already;
        report.unmapped.merge(part.unmapped);
        report.boundaries.merge(part.boundaries);
    }
    let outside = links.outside();
    if outside_links == OutsideLinks::Keep {
        report.counts.keep(outside.count);
    }
    report.outside_links = outside.changing;
    report.changed = report.counts.changed() > 0;
    Ok(report)
}

struct Shifter<'a> {
    sides: &'a Sides,
    links: &'a Links,
    outside_links: OutsideLinks,
    liftable: &'a Liftable,
    left: &'a Left,
    buffer: Vec<u8>,
    report: Report,
}

impl Visitor for Shifter<'_> {
    const HOLDS: bool = true;

    fn visit(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let report = &mut self.report;
        report.counts.entries += 1;
        if self.left.contains(&identity(entry.stat)) {
            report.counts.skipped += 1;
            return Ok(());
        }
        let name = self.links.claim(entry);
        let decides = name.decides(self.outside_links);
        if !name.first && !decides {
            report.counts.hard_links += 1;
            return Ok(());
        }
        let mut verdict = examine(entry, self.sides, &mut self.buffer)?;
        if name.first && !name.last {
            let changes = verdict.changes();
            self.links.note(
                entry,
                Note {
                    changes,
                    stray: None,
                },
            );
        }
        if !decides {
            report.counts.hard_links += 1;
            return Ok(());
        }
        for &(kind, id) in &verdict.ids.unmapped {
            let path = || entry.path();
            report.unmapped.add(|| Unmapped {
                path: path(),
                kind,
                id,
            });
        }
        report.already += u64::from(verdict.ids.target);
        if !verdict.changes() {
            report.counts.skipped += 1;
            return Ok(());
        }
        verdict.apply(entry, self.liftable)?;
        report.sample.add(|| verdict.change(entry));
        verdict.count(entry, &mut report.counts);
        Ok(())
    }

    fn boundary(&mut self, path: PathBuf) {
        self.report.boundaries.add(|| path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    /// A file that came after the survey stands in no journal.
    #[test]
    fn what_the_kernel_takes_comes_back_without_a_journal() {
        let tree = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = tree.path().join("file");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o6755)).unwrap();
        let capability = [&[1, 0, 0, 2, 0, 32][..], &[0; 14]].concat();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&path, xattr::CAPABILITY, &capability, flags).unwrap();
        let maps = IdMaps::parse(&["0:100000:65536"]).unwrap();
        let roots = crate::roots::resolve(&[tree.path()]).unwrap();
        let liftable = Liftable::new(&[]);
        run(&roots, &maps, OutsideLinks::Shift, &liftable, &Left::new()).unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (100_000, 0o6755));
        let file = fs::File::open(&path).unwrap();
        let now = xattr::get(&file, xattr::CAPABILITY, &mut [0; 64]).unwrap();
        assert_eq!(now, capability);
    }
}
