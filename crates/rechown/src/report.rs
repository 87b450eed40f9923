use crate::Unmapped;
use serde::{Serialize, Serializer};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// How many examples a [`Sample`] keeps.
const EXAMPLES: usize = 20;

/// A count with a few examples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample<T> {
    /// How many there are.
    pub count: u64,
    /// Up to 20 of them, sorted.
    pub examples: Vec<T>,
}

impl<T> Default for Sample<T> {
    fn default() -> Self {
        Self {
            count: 0,
            examples: Vec::new(),
        }
    }
}

impl<T: Ord> Sample<T> {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Counts one; the example is only made while there is room for it.
    pub(crate) fn add(&mut self, example: impl FnOnce() -> T) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.examples.extend(other.examples);
        self.examples.sort_unstable();
        self.examples.truncate(EXAMPLES);
    }
}

impl fmt::Display for Sample<PathBuf> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self, |path| path.display().to_string())
    }
}

impl fmt::Display for Sample<Unmapped> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self, ToString::to_string)
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    sample: &Sample<T>,
    text: impl Fn(&T) -> String,
) -> fmt::Result {
    let examples: Vec<_> = sample.examples.iter().map(text).collect();
    write!(f, "{}", examples.join(", "))?;
    match sample.count - sample.examples.len() as u64 {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

/// Who owns an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// JSON has no place for names that are not UTF-8.
pub(crate) fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// An entry that was changed, or is to be. The owner is the same where only other ids of it changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// One of its names.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Who owned it.
    pub from: Owner,
    /// Who owns it.
    pub to: Owner,
}

/// Entries by kind: those a survey would change, or those a shift has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All names met, changed or not.
    pub entries: u64,
    /// Names that were left as they are.
    pub skipped: u64,
    /// Directories.
    pub directories: u64,
    /// Regular files.
    pub files: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices, whiteouts, FIFOs and sockets.
    pub specials: u64,
    /// Further names of files that were met before; neither changed again nor skipped.
    pub hard_links: u64,
    /// Access control lists in which an id changes; a directory can have two.
    pub acls: u64,
    /// File capabilities given back or given another root id.
    pub capabilities: u64,
    /// Files whose set-user-id or set-group-id bit was given back.
    pub set_ids: u64,
    /// Immutable or append-only entries, whose flag was lifted for the change.
    pub immutable: u64,
}

impl Counts {
    /// Entries changed.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.directories + self.files + self.symlinks + self.specials
    }

    /// Counts the first names of so many files that were left alone as what they are.
    pub(crate) fn keep(&mut self, files: u64) {
        self.hard_links -= files;
        self.skipped += files;
    }

    /// Adds those of another run.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            entries,
            skipped,
            directories,
            files,
            symlinks,
            specials,
            hard_links,
            acls,
            capabilities,
            set_ids,
            immutable,
        } = other;
        self.entries += entries;
        self.skipped += skipped;
        self.directories += directories;
        self.files += files;
        self.symlinks += symlinks;
        self.specials += specials;
        self.hard_links += hard_links;
        self.acls += acls;
        self.capabilities += capabilities;
        self.set_ids += set_ids;
        self.immutable += immutable;
    }
}

/// What a shift or an undo did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Whether anything changed.
    pub changed: bool,
    /// Whether an interrupted run was taken up.
    pub resumed: bool,
    /// What was changed.
    pub counts: Counts,
    /// Some of the changes. Of a run that was taken up, those of its last pass.
    pub sample: Sample<Change>,
    /// Entries that were on the target side already.
    pub already: u64,
    /// Ids on neither side, left as they are.
    pub unmapped: Sample<Unmapped>,
    /// Mounts inside the roots, left as they are.
    pub boundaries: Sample<PathBuf>,
    /// Files of the source side that also have names outside the roots; changed, unless they were to be kept.
    pub outside_links: Sample<PathBuf>,
    /// Files of the journal that are gone or replaced, whose set-id bits, capabilities or flags could not be
    /// given back.
    pub lost: Sample<PathBuf>,
    /// Wall clock.
    pub seconds: f64,
}
