use crate::{OutsideLinks, Sample, dir::Dir, entry::Entry, stray::Stray};
use std::{
    collections::HashMap,
    ffi::CStr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The files with several names met so far, by device and inode.
#[derive(Default)]
pub(crate) struct Links(Mutex<HashMap<File, Names>>);

type File = (u32, u32, u64);

/// As small as can be: a tree may hold millions.
struct Names {
    /// The first one, and where.
    dir: Arc<Dir>,
    first: Box<CStr>,
    /// How many there are in all, and how many were met.
    all: u32,
    met: u32,
    note: Note,
}

/// What there is to know of a file in case that it has names outside.
#[derive(Default)]
pub(crate) struct Note {
    /// It is on the source side.
    pub(crate) changes: bool,
    /// What the way back would mistake it for, if it is kept.
    pub(crate) stray: Option<Box<Stray>>,
}

/// Which of its file's names an entry is. Of several threads only one gets to hear of the first and the last.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub(crate) first: bool,
    pub(crate) last: bool,
}

impl Name {
    /// Whether this is the name under which the file is changed: the first, or, where files with names outside
    /// are kept, the last: those never come to it.
    pub(crate) fn decides(self, policy: OutsideLinks) -> bool {
        match policy {
            OutsideLinks::Keep => self.last,
            OutsideLinks::Refuse | OutsideLinks::Shift => self.first,
        }
    }
}

/// The files with names that were not met.
#[derive(Default)]
pub(crate) struct Outside {
    pub(crate) count: u64,
    /// Those on the source side.
    pub(crate) changing: Sample<PathBuf>,
    pub(crate) strays: Vec<Stray>,
}

impl Links {
    pub(crate) fn claim(&self, entry: &Entry<'_>) -> Name {
        let all = entry.stat.stx_nlink;
        if all < 2 || entry.is_directory() {
            return Name {
                first: true,
                last: true,
            };
        }
        let mut links = self.lock();
        let names = links.entry(file(entry)).or_insert_with(|| Names {
            dir: Arc::clone(entry.dir),
            first: entry.name.into(),
            all,
            met: 0,
            note: Note::default(),
        });
        names.met += 1;
        Name {
            first: names.met == 1,
            last: names.met == names.all,
        }
    }

    pub(crate) fn note(&self, entry: &Entry<'_>, note: Note) {
        if let Some(names) = self.lock().get_mut(&file(entry)) {
            names.note = note;
        }
    }

    pub(crate) fn outside(self) -> Outside {
        let links = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let unmet = links.into_values().filter(|names| names.met < names.all);
        let (mut outside, mut changing) = (Outside::default(), Vec::new());
        for names in unmet {
            outside.count += 1;
            if names.note.changes {
                changing.push(names.dir.path(&names.first));
            }
            outside.strays.extend(names.note.stray.map(|stray| *stray));
        }
        changing.sort_unstable();
        for path in changing {
            outside.changing.add(|| path);
        }
        outside
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<File, Names>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(entry: &Entry<'_>) -> File {
    let stat = entry.stat;
    (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
}
