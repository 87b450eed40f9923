use crate::{
    Error, IdMaps, OutsideLinks, Policy, Report, Unknown,
    fixed::{self, Liftable},
    fragile,
    ids::Sides,
    journal::{Head, Journal, Note, with_suffix},
    meter,
    root::Root,
    roots, shift as pass,
    stray::{self, Left},
    survey::{self, Survey},
};
use std::{
    mem,
    path::{Path, PathBuf},
    time::Instant,
};

/// Shifts the trees at `roots` from the container side of `maps` to the host side, all in one parallel run.
///
/// Everything that can be refused is refused before the first change, as `policy` has it. The file `journal`
/// (its directory exists) is written before it too and stays, for [`undo`]; when a former run for the same
/// roots and maps was cut short, the next one takes it up, by the former's policy. A tree that is already
/// shifted gives an unchanged report and no journal. A complete journal is of the past: the next shift, once
/// nothing refuses it, writes its own over it. Only one process at a time may use a journal or a tree; that
/// lock is the caller's.
///
/// # Errors
/// See [`Error`]. After a failure in the middle the journal says so: run it again or [`undo`].
pub fn shift<P: AsRef<Path>>(
    roots: &[P],
    maps: &IdMaps,
    policy: Policy,
    journal: &Path,
) -> Result<Report, Error> {
    let start = Instant::now();
    let roots = roots::resolve(roots)?;
    let mut report = match pending(journal)? {
        None => fresh(&roots, maps, policy, journal)?,
        Some(former) if former.head.is_complete() => fresh(&roots, maps, policy, journal)?,
        Some(former) if former.head.left.is_some() => {
            return Err(Error::UndoPending(journal.to_owned()));
        }
        Some(mut former) if former.head.is_of(maps, &roots) => {
            take_up(&mut former, journal, Way::There)?
        }
        Some(_) => return Err(Error::OtherJournal(journal.to_owned())),
    };
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// What a journal tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// From what was to what is to be.
    pub maps: IdMaps,
    /// What it was allowed.
    pub policy: Policy,
    /// Absolute, without symbolic links, sorted.
    pub roots: Vec<PathBuf>,
    /// How far it came.
    pub progress: Progress,
}

/// How far a shift came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Cut short: [`shift`] finishes it, [`undo`] takes it back.
    Begun,
    /// All done; [`undo`] takes it back.
    Complete,
    /// Cut short on the way back: only [`undo`] leads on.
    UndoBegun,
}

/// Reads a journal: the last shift that was not undone, if there is one.
///
/// # Errors
/// When the journal is there and cannot be read.
pub fn recorded(journal: &Path) -> Result<Option<Record>, Error> {
    let undo = Head::load(&of_undo(journal))?;
    if undo.as_ref().is_some_and(Head::is_complete) {
        return Ok(None);
    }
    let record = |head: Head| Record {
        roots: (head.roots().iter())
            .map(|root| root.path.to_path_buf())
            .collect(),
        progress: match (undo.is_some() || head.left.is_some(), head.is_complete()) {
            (true, _) => Progress::UndoBegun,
            (false, true) => Progress::Complete,
            (false, false) => Progress::Begun,
        },
        policy: head.policy,
        maps: head.maps,
    };
    Ok(Head::load(journal)?.map(record))
}

/// Whether `journal` tells of a complete shift of these trees by these maps and this policy, and the roots are
/// the directories they were, by inode and time of birth, and have the owners they were given. What lies in
/// them is taken on trust, so that it takes no longer for a large tree. Where the file system keeps no times
/// of birth nothing is.
///
/// # Errors
/// When the journal or a root is there and cannot be read.
pub fn is_done<P: AsRef<Path>>(
    roots: &[P],
    maps: &IdMaps,
    policy: Policy,
    journal: &Path,
) -> Result<bool, Error> {
    let roots = roots::resolve(roots)?;
    if Head::load(&of_undo(journal))?.is_some() {
        return Ok(false);
    }
    match Head::load(journal)? {
        Some(head) if head.is_complete() && head.is_of(maps, &roots) && head.policy == policy => {
            head.are_still()
        }
        _ => Ok(false),
    }
}

/// The journal, once an undo that was over but for its clearing away is cleared away.
fn pending(journal: &Path) -> Result<Option<Journal>, Error> {
    match Head::load(&of_undo(journal))? {
        Some(undo) if undo.is_complete() => clear(journal)?,
        Some(_) => return Err(Error::UndoPending(journal.to_owned())),
        None => {}
    }
    Journal::load(journal)
}

fn fresh(roots: &[Root], maps: &IdMaps, policy: Policy, path: &Path) -> Result<Report, Error> {
    let survey = survey::run(roots, maps, policy, &Left::new())?;
    match survey.refusal() {
        Some(refusal) => Err(refusal),
        None => begin(roots, maps, survey, |_| (), path, Way::There),
    }
}

/// Writes a journal and follows it, if there is anything to change.
fn begin(
    roots: &[Root],
    maps: &IdMaps,
    mut survey: Survey,
    complete: impl FnOnce(&mut Journal),
    path: &Path,
    way: Way,
) -> Result<Report, Error> {
    if survey.source.is_empty() {
        return Ok(untouched(survey));
    }
    roots::check_writable(roots)?;
    roots::check_chown(roots)?;
    // The passes see ids on their way, and the last one none that were kept.
    let sample = mem::take(&mut survey.sample);
    let outside_links = mem::take(&mut survey.outside_links);
    let unmapped = mem::take(&mut survey.unmapped);
    let (counts, already) = (survey.counts.clone(), survey.target.count);
    let mut journal = Journal::new(maps, roots, survey)?;
    complete(&mut journal);
    journal.write(path)?;
    let passes = journal.head.passes.len();
    meter::begin(true, counts.entries * passes as u64);
    let report = Report {
        sample,
        outside_links,
        ..convert(&mut journal, path, way, Start::Fresh)?
    };
    Ok(match passes {
        1 => report,
        // The last of several has not changed all that was.
        _ => Report {
            counts,
            already,
            unmapped,
            ..report
        },
    })
}

fn untouched(survey: Survey) -> Report {
    Report {
        counts: survey.counts,
        already: survey.target.count,
        unmapped: survey.unmapped,
        boundaries: survey.boundaries,
        outside_links: survey.outside_links,
        ..Report::default()
    }
}

/// Follows a journal that an earlier run left.
fn take_up(journal: &mut Journal, path: &Path, way: Way) -> Result<Report, Error> {
    meter::begin(true, 0);
    Ok(Report {
        resumed: true,
        ..convert(journal, path, way, Start::TakenUp)?
    })
}

/// Which way a journal leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    /// The strays of the shift that is taken back are made what they were.
    Back,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Fresh,
    /// The former run may have died with a file changed and not yet given back what that took from it.
    TakenUp,
}

/// Runs the passes of a journal from wherever it is to the end.
fn convert(journal: &mut Journal, path: &Path, way: Way, start: Start) -> Result<Report, Error> {
    let roots = journal.head.roots();
    let (policy, liftable) = (journal.head.policy, Liftable::new(&journal.lists.fixed));
    let left = match way {
        Way::There => Left::new(),
        Way::Back => stray::untouched(&journal.lists.strays, &roots)?,
    };
    let mut report = Report::default();
    while let Some(maps) = journal.head.passes.get(journal.head.done) {
        let pass = pass::run(&roots, maps, policy.outside_links, &liftable, &left)?;
        report = Report {
            changed: report.changed || pass.changed,
            ..pass
        };
        let count = journal.head.done + 1;
        if start == Start::TakenUp {
            let sides = Sides::new(&journal.head.after(count));
            let fragile = &journal.lists.fragile;
            fragile::give_back(fragile, &roots, Some(&sides), &liftable, &mut report)?;
            fixed::give_back(&journal.lists.fixed, &roots, &mut report)?;
        }
        if way == Way::Back && count == journal.head.passes.len() {
            let rootless = &journal.lists.rootless;
            fragile::give_roots_back(rootless, &roots, &liftable, &mut report)?;
            stray::restore(&journal.lists.strays, &roots, &liftable, &mut report)?;
        }
        // Came after the survey. Left open, the journal still leads forward and back.
        if policy.unmapped == Unknown::Refuse && !report.unmapped.is_empty() {
            return Err(Error::Unmapped(report.unmapped));
        }
        roots::sync(&roots)?;
        journal.head.note(path, Note::Done)?;
    }
    Ok(report)
}

/// Takes back the shift that `journal` tells of, and removes the journal at the end.
///
/// An interrupted shift is taken back to what was before. A complete one is shifted by the inverse maps, what
/// was written since with it; ids on the source side already are left alone and counted, ids on neither side
/// are left alone and reported. Cut short, it is finished by calling it again. Without a journal there is
/// nothing to do.
///
/// # Errors
/// [`Error::Immutable`] before the first change, else what the kernel said.
pub fn undo(journal: &Path) -> Result<Report, Error> {
    take_back(journal, None)
}

/// As [`undo`], for trees of which some have come or gone since a complete shift: it is taken back at `roots`.
///
/// # Errors
/// As [`undo`].
pub fn undo_at<P: AsRef<Path>>(roots: &[P], journal: &Path) -> Result<Report, Error> {
    take_back(journal, Some(roots::resolve(roots)?))
}

fn take_back(journal: &Path, roots: Option<Vec<Root>>) -> Result<Report, Error> {
    let start = Instant::now();
    let undo = of_undo(journal);
    let mut report = match (Journal::load(&undo)?, Journal::load(journal)?) {
        (Some(begun), _) if begun.head.is_complete() => Report::default(),
        (Some(mut begun), _) => take_up(&mut begun, &undo, Way::Back)?,
        (None, None) => Report::default(),
        (None, Some(shift)) if shift.head.is_complete() => {
            let roots = roots.unwrap_or_else(|| shift.head.roots());
            carry_back(shift, &roots, &undo)?
        }
        (None, Some(mut shift)) => abandon(&mut shift, journal)?,
    };
    clear(journal)?;
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// Begins the undo of a complete shift under a journal of its own.
fn carry_back(shift: Journal, roots: &[Root], undo: &Path) -> Result<Report, Error> {
    let maps = shift.head.maps.invert();
    let left = stray::untouched(&shift.lists.strays, &shift.head.roots())?;
    let survey = survey::run(roots, &maps, shift.head.policy.of_undo(), &left)?;
    match survey.immutable_refusal() {
        Some(refusal) => Err(refusal),
        None => {
            let complete = |journal: &mut Journal| journal.take_over(shift);
            begin(roots, &maps, survey, complete, undo, Way::Back)
        }
    }
}

/// Takes back what an interrupted shift has done so far.
fn abandon(journal: &mut Journal, path: &Path) -> Result<Report, Error> {
    let roots = journal.head.roots();
    let liftable = Liftable::new(&journal.lists.fixed);
    if journal.head.left.is_none() {
        journal.head.note(path, Note::Undo)?;
    }
    meter::begin(true, 0);
    let mut report = Report::default();
    while let Some(last) = journal.head.left.and_then(|left| left.checked_sub(1)) {
        let maps = journal.head.passes[last].invert();
        let pass = pass::run(&roots, &maps, OutsideLinks::Shift, &liftable, &Left::new())?;
        report = Report {
            changed: report.changed || pass.changed,
            ..pass
        };
        roots::sync(&roots)?;
        journal.head.note(path, Note::Undone)?;
    }
    fragile::give_back(&journal.lists.fragile, &roots, None, &liftable, &mut report)?;
    stray::restore(&journal.lists.strays, &roots, &liftable, &mut report)?;
    fixed::give_back(&journal.lists.fixed, &roots, &mut report)?;
    roots::sync(&roots)?;
    report.resumed = true;
    Ok(report)
}

fn of_undo(journal: &Path) -> PathBuf {
    with_suffix(journal, ".undo")
}

/// The shift's journal goes first: a complete undo without it is nothing but litter.
fn clear(journal: &Path) -> Result<(), Error> {
    Journal::remove(journal)?;
    Journal::remove(&of_undo(journal))
}
