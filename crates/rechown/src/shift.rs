use crate::{
    Error, IdMaps, Report, Unmapped,
    examine::examine,
    ids::Sides,
    links::Links,
    roots::Root,
    walk::{Entry, Visitor, walk},
    xattr,
};
use std::path::PathBuf;

/// Changes what is on the source side of the maps and leaves the rest alone, so that it can be repeated.
pub(crate) fn run(roots: &[Root], maps: &IdMaps) -> Result<Report, Error> {
    let (sides, links) = (Sides::new(maps), Links::default());
    let shifters = walk(roots, || Shifter {
        sides: &sides,
        links: &links,
        buffer: vec![0; xattr::MAX],
        report: Report::default(),
    })?;
    let mut report = Report::default();
    for Shifter { report: part, .. } in shifters {
        report.counts.merge(&part.counts);
        report.already += part.already;
        report.unmapped.merge(part.unmapped);
        report.boundaries.merge(part.boundaries);
    }
    report.outside_links = links.outside();
    report.changed = report.counts.changed() > 0;
    Ok(report)
}

struct Shifter<'a> {
    sides: &'a Sides,
    links: &'a Links,
    buffer: Vec<u8>,
    report: Report,
}

impl Visitor for Shifter<'_> {
    fn visit(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let report = &mut self.report;
        report.counts.entries += 1;
        if !self.links.claim(entry) {
            report.counts.hard_links += 1;
            return Ok(());
        }
        let mut verdict = examine(entry, self.sides, &mut self.buffer)?;
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
        verdict.apply(entry)?;
        verdict.count(entry, &mut report.counts);
        Ok(())
    }

    fn boundary(&mut self, path: PathBuf) {
        self.report.boundaries.add(|| path);
    }
}
