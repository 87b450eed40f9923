use crate::{
    Change, Counts, Error, IdMaps, Immutable, OutsideLinks, Policy, Sample, Strays, Unknown,
    Unmapped,
    entry::Entry,
    examine::{Verdict, examine},
    fixed::{self, Fixed, is_fixed},
    fragile::Fragile,
    ids::Sides,
    links::{Links, Name, Note},
    meter,
    root::Root,
    roots,
    stray::{Left, Stray, identity},
    walk::{Visitor, walk},
    xattr,
};
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
    /// What decides on a refusal.
    pub policy: Policy,
    /// What a shift would change.
    pub counts: Counts,
    /// Some of the changes.
    pub sample: Sample<Change>,
    /// Entries that hold an id of the source side, and so are to be shifted.
    pub source: Sample<PathBuf>,
    /// Entries that hold an id of the target side, and so look shifted.
    pub target: Sample<PathBuf>,
    /// Ids on neither side, also inside ACLs and file capabilities.
    pub unmapped: Sample<Unmapped>,
    /// Mounts inside the roots, which a shift leaves alone.
    pub boundaries: Sample<PathBuf>,
    /// Immutable or append-only entries that a shift, or its undo, would have to change and may not.
    pub immutable: Sample<PathBuf>,
    /// Entries of the source side in read-only subvolumes of btrfs.
    pub read_only: Sample<PathBuf>,
    /// Entries of the source side that also have names outside the roots.
    pub outside_links: Sample<PathBuf>,
    /// Entries from which the change of owner takes set-id bits or capabilities.
    #[serde(skip)]
    pub(crate) fragile: Vec<Fragile>,
    /// The ids on neither side.
    #[serde(skip)]
    pub(crate) outside: BTreeSet<u32>,
    /// Those whose flags are to be lifted.
    #[serde(skip)]
    pub(crate) fixed: Vec<Fixed>,
    /// Entries that are left alone and that the inverse maps would change.
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
        let policy = self.policy;
        let mixed = !self.source.is_empty() && !self.target.is_empty();
        if policy.unmapped == Unknown::Refuse && !self.unmapped.is_empty() {
            Some(Error::Unmapped(self.unmapped.clone()))
        } else if policy.strays == Strays::Refuse && mixed {
            Some(Error::Mixed {
                source: self.source.clone(),
                target: self.target.clone(),
            })
        } else if policy.outside_links == OutsideLinks::Refuse && !self.outside_links.is_empty() {
            Some(Error::OutsideLinks(self.outside_links.clone()))
        } else if let Some(path) = self.read_only.examples.first() {
            Some(Error::ReadOnly(path.clone()))
        } else {
            self.immutable_refusal()
        }
    }

    /// Why an undo would refuse these trees, if it would.
    #[must_use]
    pub fn immutable_refusal(&self) -> Option<Error> {
        (!self.immutable.is_empty()).then(|| Error::Immutable(self.immutable.clone()))
    }

    fn merge(&mut self, other: Self) {
        self.counts.merge(&other.counts);
        self.sample.merge(other.sample);
        self.source.merge(other.source);
        self.target.merge(other.target);
        self.unmapped.merge(other.unmapped);
        self.boundaries.merge(other.boundaries);
        self.immutable.merge(other.immutable);
        self.read_only.merge(other.read_only);
        self.fragile.extend(other.fragile);
        self.outside.extend(other.outside);
        self.fixed.extend(other.fixed);
        self.strays.extend(other.strays);
    }
}

/// Looks at all roots at once and changes nothing, not even access times.
///
/// # Errors
/// [`Error::NestedRoots`], [`Error::NoOwners`], [`Error::ReadOnly`] where something is to be shifted, or what
/// the kernel said.
pub fn survey<P: AsRef<Path>>(roots: &[P], maps: &IdMaps, policy: Policy) -> Result<Survey, Error> {
    let roots = roots::resolve(roots)?;
    let survey = run(&roots, maps, policy, &Left::new())?;
    if !survey.source.is_empty() {
        roots::check_writable(&roots)?;
    }
    Ok(survey)
}

/// What is `left` alone is counted, and no more is said of it.
pub(crate) fn run(
    roots: &[Root],
    maps: &IdMaps,
    policy: Policy,
    left: &Left,
) -> Result<Survey, Error> {
    let start = Instant::now();
    roots::check_owners(roots)?;
    meter::begin(false, 0);
    let (sides, links) = (Sides::new(maps), Links::default());
    let surveyors = walk(roots, || Surveyor {
        sides: &sides,
        disjoint: maps.is_disjoint(),
        links: &links,
        policy,
        left,
        buffer: vec![0; xattr::MAX],
        survey: Survey::default(),
        device: None,
    })?;
    let mut survey = Survey {
        policy,
        ..Survey::default()
    };
    for surveyor in surveyors {
        survey.merge(surveyor.survey);
    }
    let outside = links.outside();
    if policy.outside_links == OutsideLinks::Keep {
        survey.counts.keep(outside.count);
        survey.strays.extend(outside.strays);
    }
    survey.outside_links = outside.changing;
    survey.seconds = start.elapsed().as_secs_f64();
    Ok(survey)
}

struct Surveyor<'a> {
    sides: &'a Sides,
    disjoint: bool,
    links: &'a Links,
    policy: Policy,
    left: &'a Left,
    buffer: Vec<u8>,
    survey: Survey,
    /// The device last met, and whether it is read-only: each subvolume has one of its own.
    device: Option<((u32, u32), bool)>,
}

impl Visitor for Surveyor<'_> {
    const HOLDS: bool = false;

    fn visit(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        self.survey.counts.entries += 1;
        if self.left.contains(&identity(entry.stat)) {
            self.survey.counts.skipped += 1;
            return Ok(());
        }
        let name = self.links.claim(entry);
        let decides = name.decides(self.policy.outside_links);
        if !name.first && !decides {
            self.survey.counts.hard_links += 1;
            return Ok(());
        }
        let sides = self.sides;
        let mut verdict = examine(entry, sides, &mut self.buffer)?;
        self.note(entry, &mut verdict, name)?;
        if decides {
            self.decide(entry, &mut verdict)
        } else {
            self.survey.counts.hard_links += 1;
            Ok(())
        }
    }

    fn boundary(&mut self, path: PathBuf) {
        self.survey.boundaries.add(|| path);
    }
}

impl Surveyor<'_> {
    fn note(
        &mut self,
        entry: &Entry<'_>,
        verdict: &mut Verdict<'_>,
        name: Name,
    ) -> Result<(), Error> {
        let ids = verdict.ids.unmapped.iter().map(|&(_, id)| id);
        self.survey.outside.extend(ids);
        if !name.first || name.last {
            return Ok(());
        }
        let changes = verdict.changes();
        // The inverse of maps that overlap themselves would take a kept id for a new one.
        let mistaken = verdict.ids.target || (changes && !self.disjoint);
        let kept = self.policy.outside_links == OutsideLinks::Keep;
        let stray = (kept && mistaken)
            .then(|| verdict.stray(entry).map(Box::new))
            .transpose()?;
        self.links.note(entry, Note { changes, stray });
        Ok(())
    }

    fn decide(&mut self, entry: &Entry<'_>, verdict: &mut Verdict<'_>) -> Result<(), Error> {
        let survey = &mut self.survey;
        for &(kind, id) in &verdict.ids.unmapped {
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
        let stray = verdict.ids.target && self.policy.strays == Strays::Leave;
        if stray {
            survey.strays.push(verdict.stray(entry)?);
        }
        if is_fixed(entry.stat) && (stray || verdict.changes()) {
            if self.policy.immutable == Immutable::Lift && fixed::is_liftable(entry) {
                survey.fixed.push(verdict.fixed(entry)?);
            } else {
                survey.immutable.add(|| entry.path());
            }
        }
        if !verdict.changes() {
            survey.counts.skipped += 1;
            return Ok(());
        }
        survey.source.add(|| entry.path());
        if is_on_read_only(&mut self.device, entry)? {
            survey.read_only.add(|| entry.path());
        }
        survey.sample.add(|| verdict.change(entry));
        verdict.count(entry, &mut survey.counts);
        survey.fragile.extend(verdict.fragile(entry)?);
        Ok(())
    }
}

/// Asks once for each device in a row.
fn is_on_read_only(
    last: &mut Option<((u32, u32), bool)>,
    entry: &Entry<'_>,
) -> Result<bool, Error> {
    let device = (entry.stat.stx_dev_major, entry.stat.stx_dev_minor);
    match *last {
        Some((known, read_only)) if known == device => Ok(read_only),
        _ => {
            let read_only =
                roots::is_read_only(entry.at).map_err(Error::io("look at", || entry.path()))?;
            *last = Some((device, read_only));
            Ok(read_only)
        }
    }
}
