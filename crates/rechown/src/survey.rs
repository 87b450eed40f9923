use crate::{
    Counts, Error, IdMaps, Sample, Unmapped,
    examine::examine,
    fragile::Fragile,
    ids::Sides,
    links::Links,
    roots::{self, Root},
    stray::{Stray, Strays},
    walk::{Entry, Visitor, walk},
    xattr,
};
use rustix::fs::StatxAttributes;
use serde::Serialize;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Instant,
};

/// What trees hold, seen with a map's eyes. Entries are counted under all that fits: one can hold both a
/// source and a target id.
#[derive(Debug, Default, Serialize)]
pub struct Survey {
    /// What a shift would change.
    pub counts: Counts,
    /// Entries that hold an id of the source side, and so are to be shifted.
    pub source: Sample<PathBuf>,
    /// Entries that hold an id of the target side, and so look shifted.
    pub target: Sample<PathBuf>,
    /// Ids on neither side, also inside ACLs and file capabilities.
    pub unmapped: Sample<Unmapped>,
    /// Mounts inside the roots, which a shift leaves alone.
    pub boundaries: Sample<PathBuf>,
    /// Immutable or append-only entries that are to be shifted.
    pub immutable: Sample<PathBuf>,
    /// Files that also have names outside the roots, where their owner would change too.
    pub outside_links: Sample<PathBuf>,
    /// Entries from which the change of owner takes set-id bits or capabilities.
    #[serde(skip)]
    pub(crate) fragile: Vec<Fragile>,
    /// The ids on neither side.
    #[serde(skip)]
    pub(crate) outside: BTreeSet<u32>,
    /// Entries with an id of the target side, if they were asked for.
    #[serde(skip)]
    pub(crate) strays: Vec<Stray>,
    /// Wall clock.
    pub seconds: f64,
}

impl Survey {
    /// The entries from which the change of owner takes set-id bits or capabilities, as index into the
    /// sorted roots and path below it. A shift gives both back.
    pub fn fragile(&self) -> impl Iterator<Item = (usize, &Path)> {
        self.fragile
            .iter()
            .map(|fragile| (fragile.known.root, &*fragile.known.path))
    }

    /// Why a shift would refuse these trees, if it would.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        if !self.unmapped.is_empty() {
            Some(Error::Unmapped(self.unmapped.clone()))
        } else if !self.source.is_empty() && !self.target.is_empty() {
            Some(Error::Mixed {
                source: self.source.clone(),
                target: self.target.clone(),
            })
        } else {
            self.immutable_refusal()
        }
    }

    pub(crate) fn immutable_refusal(&self) -> Option<Error> {
        (!self.immutable.is_empty()).then(|| Error::Immutable(self.immutable.clone()))
    }

    fn merge(&mut self, other: Self) {
        self.counts.merge(&other.counts);
        self.source.merge(other.source);
        self.target.merge(other.target);
        self.unmapped.merge(other.unmapped);
        self.boundaries.merge(other.boundaries);
        self.immutable.merge(other.immutable);
        self.fragile.extend(other.fragile);
        self.outside.extend(other.outside);
        self.strays.extend(other.strays);
    }
}

/// Looks at all roots at once and changes nothing, not even access times.
///
/// # Errors
/// [`Error::NestedRoots`], or what the kernel said.
pub fn survey<P: AsRef<Path>>(roots: &[P], maps: &IdMaps) -> Result<Survey, Error> {
    run(&roots::resolve(roots)?, maps, Strays::Refuse)
}

pub(crate) fn run(roots: &[Root], maps: &IdMaps, strays: Strays) -> Result<Survey, Error> {
    let start = Instant::now();
    let (sides, links) = (Sides::new(maps), Links::default());
    let surveyors = walk(roots, || Surveyor {
        sides: &sides,
        links: &links,
        strays,
        buffer: vec![0; xattr::MAX],
        survey: Survey::default(),
    })?;
    let mut survey = Survey::default();
    for surveyor in surveyors {
        survey.merge(surveyor.survey);
    }
    survey.outside_links = links.outside();
    survey.seconds = start.elapsed().as_secs_f64();
    Ok(survey)
}

struct Surveyor<'a> {
    sides: &'a Sides,
    links: &'a Links,
    strays: Strays,
    buffer: Vec<u8>,
    survey: Survey,
}

impl Visitor for Surveyor<'_> {
    fn visit(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let survey = &mut self.survey;
        survey.counts.entries += 1;
        if !self.links.claim(entry) {
            survey.counts.hard_links += 1;
            return Ok(());
        }
        let mut verdict = examine(entry, self.sides, &mut self.buffer)?;
        for &(kind, id) in &verdict.ids.unmapped {
            survey.outside.insert(id);
            let path = || entry.path();
            survey.unmapped.add(|| Unmapped {
                path: path(),
                kind,
                id,
            });
        }
        if verdict.ids.target {
            survey.target.add(|| entry.path());
        }
        if self.strays == Strays::Leave {
            survey.strays.extend(verdict.stray(entry)?);
        }
        if !verdict.changes() {
            survey.counts.skipped += 1;
            return Ok(());
        }
        survey.source.add(|| entry.path());
        verdict.count(entry, &mut survey.counts);
        let fixed = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
        if entry.stat.stx_attributes.intersects(fixed) {
            survey.immutable.add(|| entry.path());
        }
        survey.fragile.extend(verdict.fragile(entry)?);
        Ok(())
    }

    fn boundary(&mut self, path: PathBuf) {
        self.survey.boundaries.add(|| path);
    }
}
