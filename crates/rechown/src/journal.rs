//! The journal: one line of JSON, written whole before the first change, and a second line when all is done.

use crate::{Error, IdMaps, Survey, fragile::Fragile, roots::Root, stray::Stray};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

const COMPLETE: &[u8] = b"complete\n";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    pub(crate) maps: IdMaps,
    roots: Vec<Place>,
    pub(crate) fragile: Vec<Fragile>,
    pub(crate) strays: Vec<Stray>,
    #[serde(skip)]
    pub(crate) complete: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place(#[serde(with = "path")] PathBuf);

impl Journal {
    pub(crate) fn new(maps: &IdMaps, roots: &[Root], survey: Survey) -> Self {
        Self {
            maps: maps.clone(),
            roots: roots
                .iter()
                .map(|root| Place(root.path.to_path_buf()))
                .collect(),
            fragile: survey.fragile,
            strays: survey.strays,
            complete: false,
        }
    }

    pub(crate) fn roots(&self) -> Vec<Root> {
        crate::roots::number(self.roots.iter().map(|place| place.0.clone()).collect())
    }

    pub(crate) fn is_of(&self, maps: &IdMaps, roots: &[Root]) -> bool {
        let places = self.roots.iter().map(|place| &*place.0);
        self.maps == *maps && places.eq(roots.iter().map(|root| &*root.path))
    }

    /// Takes over the strays of the shift whose undo this is; a root that is gone took its own along.
    pub(crate) fn take_strays(&mut self, shift: Self) {
        for mut stray in shift.strays {
            let place = shift.roots.get(stray.known.root);
            if let Some(root) = self.roots.iter().position(|root| Some(root) == place) {
                stray.known.root = root;
                self.strays.push(stray);
            }
        }
    }

    pub(crate) fn load(path: &Path) -> Result<Option<Self>, Error> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(Error::at("read", path))?,
        };
        let end = bytes
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(bytes.len());
        let (line, rest) = bytes.split_at(end);
        let mut journal: Self = serde_json::from_slice(line)
            .map_err(|error| Error::BadJournal(path.to_owned(), error))?;
        journal.complete = rest.strip_prefix(b"\n") == Some(COMPLETE);
        Ok(Some(journal))
    }

    /// Puts the journal in place whole, and on the disk.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let temporary = with_suffix(path, ".new");
        let mut line =
            serde_json::to_vec(self).map_err(|error| Error::BadJournal(path.to_owned(), error))?;
        line.push(b'\n');
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&line)?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            sync_parent(path)
        };
        write().map_err(Error::at("write", path))
    }

    /// Notes that all is done. A line cut short by a crash counts as not written.
    pub(crate) fn complete(path: &Path) -> Result<(), Error> {
        let write = || {
            let mut file = OpenOptions::new().append(true).open(path)?;
            file.write_all(COMPLETE)?;
            file.sync_all()
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
