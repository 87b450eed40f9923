//! The journal: two lines of JSON, written whole before the first change, and a short line for every pass that
//! is done or taken back. The first line and those notes say how it stands, and are read without the second,
//! which is as long as the tree has entries that need one.

use crate::{
    Error, IdMaps, Policy, Survey,
    fixed::Fixed,
    fragile::{self, Fragile},
    known::Known,
    place::Place,
    root::Root,
    stray::Stray,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// What is noted after the first line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// The next pass is done.
    Done,
    /// From here on the only way is back.
    Undo,
    /// The last pass that was begun is taken back.
    Undone,
}

impl Note {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Undo => "undo",
            Self::Undone => "undone",
        }
    }
}

/// What a journal is of, and how far it is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) maps: IdMaps,
    /// What leads there: disjoint maps, one after the other.
    pub(crate) passes: Vec<IdMaps>,
    /// By which the survey refused nothing.
    pub(crate) policy: Policy,
    places: Vec<Place>,
    /// How many passes are done.
    #[serde(skip)]
    pub(crate) done: usize,
    /// How many are yet to be taken back, once that was begun.
    #[serde(skip)]
    pub(crate) left: Option<usize>,
}

/// The entries that need more than a map.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lists {
    pub(crate) fragile: Vec<Fragile>,
    pub(crate) strays: Vec<Stray>,
    pub(crate) fixed: Vec<Fixed>,
    /// Only of an undo: those whose capabilities have lost their roots in the shift.
    #[serde(default)]
    pub(crate) rootless: Vec<Fragile>,
}

#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) head: Head,
    pub(crate) lists: Lists,
}

impl Head {
    /// Whether all of it is done and none of it taken back.
    pub(crate) fn is_complete(&self) -> bool {
        self.done == self.passes.len() && self.left.is_none()
    }

    /// What the first `count` passes do together.
    pub(crate) fn after(&self, count: usize) -> IdMaps {
        let passes = self.passes.iter().take(count).cloned();
        passes
            .reduce(|before, pass| pass.compose(&before))
            .unwrap_or_else(IdMaps::identity)
    }

    pub(crate) fn roots(&self) -> Vec<Root> {
        crate::roots::number(self.places.iter().map(|place| place.path.clone()).collect())
    }

    pub(crate) fn is_of(&self, maps: &IdMaps, roots: &[Root]) -> bool {
        let places = self.places.iter().map(|place| &*place.path);
        self.maps == *maps && places.eq(roots.iter().map(|root| &*root.path))
    }

    /// Whether all roots are the directories they were, with the owners they were given.
    pub(crate) fn are_still(&self) -> Result<bool, Error> {
        for place in &self.places {
            if !place.is_still()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the first line and the last ones.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, Error> {
        let read = || -> io::Result<_> {
            let mut file = BufReader::new(File::open(path)?);
            let mut first = Vec::new();
            let length = file.read_until(b'\n', &mut first)? as u64;
            let end = file.seek(SeekFrom::End(0))?;
            // All notes together are shorter by far; what is cut of a line at the start is none of them.
            file.seek(SeekFrom::Start(end.saturating_sub(4096).max(length)))?;
            let mut last = Vec::new();
            file.read_to_end(&mut last)?;
            Ok((first, last))
        };
        let (first, last) = match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            lines => lines.map_err(Error::at("read", path))?,
        };
        let mut head: Self = serde_json::from_slice(&first)
            .map_err(|error| Error::BadJournal(path.to_owned(), error))?;
        head.follow_all(&last);
        Ok(Some(head))
    }

    /// A line cut short by a crash counts as not written.
    fn follow_all(&mut self, lines: &[u8]) {
        let whole = lines.split_inclusive(|&byte| byte == b'\n');
        for line in whole.filter(|line| line.ends_with(b"\n")) {
            self.follow(line.trim_ascii_end());
        }
    }

    fn follow(&mut self, line: &[u8]) {
        let notes = [Note::Done, Note::Undo, Note::Undone];
        match notes
            .into_iter()
            .find(|note| note.word().as_bytes() == line)
        {
            Some(Note::Done) => self.done += 1,
            // The pass that was under way may have left its mark, too.
            Some(Note::Undo) => self.left = Some((self.done + 1).min(self.passes.len())),
            Some(Note::Undone) => self.left = self.left.map(|left| left.saturating_sub(1)),
            None => {}
        }
    }

    /// Notes how far it is, on the disk too. What a crash has left of a line is ended first, and so that it never
    /// counts, not even where it lacks nothing but its end.
    pub(crate) fn note(&mut self, path: &Path, note: Note) -> Result<(), Error> {
        let write = || {
            let mut file = OpenOptions::new().read(true).append(true).open(path)?;
            let mut last = [b'\n'];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            let start = if last == *b"\n" { "" } else { "?\n" };
            file.write_all(format!("{start}{}\n", note.word()).as_bytes())?;
            file.sync_all()
        };
        write().map_err(Error::at("write", path))?;
        self.follow(note.word().as_bytes());
        Ok(())
    }
}

impl Journal {
    /// # Errors
    /// [`Error::NoDetour`] where no ids are free to go by.
    pub(crate) fn new(maps: &IdMaps, roots: &[Root], survey: Survey) -> Result<Self, Error> {
        let outside: Vec<_> = survey.outside.iter().copied().collect();
        let places = roots.iter().map(|root| Place::new(root, maps));
        Ok(Self {
            head: Head {
                maps: maps.clone(),
                passes: maps.passes(&outside).ok_or(Error::NoDetour)?,
                policy: survey.policy,
                places: places.collect::<Result<_, _>>()?,
                done: 0,
                left: None,
            },
            lists: Lists {
                fragile: survey.fragile,
                strays: survey.strays,
                fixed: survey.fixed,
                rootless: Vec::new(),
            },
        })
    }

    /// Takes over the strays of the shift whose undo this is; a root that is gone took its own along.
    /// Takes over what an undo has to know of the shift, as far as it is in the undo's roots.
    pub(crate) fn take_over(&mut self, shift: Self) {
        let path = |place: &Place| place.path.clone();
        let places: Vec<_> = self.head.places.iter().map(path).collect();
        let here = |known: &mut Known| {
            let place = shift.head.places.get(known.root).map(path);
            let root = places.iter().position(|root| Some(root) == place.as_ref());
            known.root = root.unwrap_or_default();
            root.is_some()
        };
        let Lists {
            mut strays,
            fragile,
            ..
        } = shift.lists;
        strays.retain_mut(|stray| here(&mut stray.known));
        let mut rootless = fragile::without_root(fragile, &shift.head.maps);
        rootless.retain_mut(|fragile| here(&mut fragile.known));
        self.lists.strays.extend(strays);
        self.lists.rootless = rootless;
    }

    pub(crate) fn load(path: &Path) -> Result<Option<Self>, Error> {
        let Some(head) = Head::load(path)? else {
            return Ok(None);
        };
        let read = || {
            let mut file = BufReader::new(File::open(path)?);
            file.skip_until(b'\n')?;
            let mut second = Vec::new();
            file.read_until(b'\n', &mut second).map(|_| second)
        };
        let second = read().map_err(Error::at("read", path))?;
        let lists = serde_json::from_slice(&second)
            .map_err(|error| Error::BadJournal(path.to_owned(), error))?;
        Ok(Some(Self { head, lists }))
    }

    /// Puts the journal in place whole, and on the disk.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let temporary = with_suffix(path, ".new");
        let bad = |error| Error::BadJournal(path.to_owned(), error);
        let lines = [
            serde_json::to_vec(&self.head),
            serde_json::to_vec(&self.lists),
        ];
        let mut text = Vec::new();
        for line in lines {
            text.append(&mut line.map_err(bad)?);
            text.push(b'\n');
        }
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            sync_parent(path)
        };
        write().map_err(Error::at("write", path))
    }

    /// Removes the journal, if there, for good.
    pub(crate) fn remove(path: &Path) -> Result<(), Error> {
        let remove = || match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.and_then(|()| sync_parent(path)),
        };
        remove().map_err(Error::at("remove", path))
    }
}

/// The path with more at the end of its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Paths as JSON strings: bytes that are not printable ASCII are written `%XX`, and so is `%`.
pub(crate) mod path {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::{
        ffi::OsString,
        os::unix::ffi::{OsStrExt, OsStringExt},
        path::{Path, PathBuf},
    };

    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(path.as_os_str().as_bytes()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PathBuf, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = unescape(&text).ok_or_else(|| D::Error::custom("bad % sequence in a path"))?;
        Ok(OsString::from_vec(bytes).into())
    }

    fn escape(bytes: &[u8]) -> String {
        let escape = |&byte: &u8| match byte {
            b'%' | ..=0x1f | 0x7f.. => format!("%{byte:02X}"),
            plain => char::from(plain).to_string(),
        };
        bytes.iter().map(escape).collect()
    }

    fn unescape(text: &str) -> Option<Vec<u8>> {
        let mut parts = text.split('%');
        let mut bytes = parts.next()?.as_bytes().to_owned();
        for part in parts {
            let (code, rest) = part.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(code, 16).ok()?);
            bytes.extend_from_slice(rest.as_bytes());
        }
        Some(bytes)
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn any_path_survives(bytes: Vec<u8>) {
                prop_assert_eq!(unescape(&escape(&bytes)), Some(bytes));
            }
        }
    }
}
