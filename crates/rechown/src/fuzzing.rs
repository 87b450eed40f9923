//! The parsers as fuzz targets need them.
#![allow(missing_docs, clippy::missing_errors_doc)]

use crate::{
    Error, IdMaps, acl, capability,
    ids::{Sides, Translator},
    journal::{Head, Journal, Note},
};
use std::path::Path;

/// An attribute, and which sides of the maps its ids are on.
pub struct Translated {
    pub value: Vec<u8>,
    pub source: bool,
    pub target: bool,
}

fn translated(
    maps: &IdMaps,
    translate: impl FnOnce(&mut Translator<'_>) -> Option<Vec<u8>>,
) -> Option<Translated> {
    let sides = Sides::new(maps);
    let mut ids = Translator::new(&sides);
    Some(Translated {
        value: translate(&mut ids)?,
        source: ids.source,
        target: ids.target,
    })
}

#[must_use]
pub fn acl(list: &[u8], maps: &IdMaps) -> Option<Translated> {
    translated(maps, |ids| acl::translate(list, ids))
}

#[must_use]
pub fn capability(value: &[u8], maps: &IdMaps) -> Option<Translated> {
    translated(maps, |ids| capability::translate(value, ids))
}

/// How many passes are done, and how many are left of the way back.
pub type Progress = (usize, Option<usize>);

pub fn progress(journal: &Path) -> Result<Option<Progress>, Error> {
    Ok(Head::load(journal)?.map(|head| (head.done, head.left)))
}

/// Notes one more pass.
pub fn note_done(journal: &Path) -> Result<Option<Progress>, Error> {
    let Some(mut head) = Head::load(journal)? else {
        return Ok(None);
    };
    head.note(journal, Note::Done)?;
    Ok(Some((head.done, head.left)))
}

/// Reads a journal whole and writes what it was understood as.
pub fn rewrite_journal(path: &Path) -> Result<(), Error> {
    match Journal::load(path)? {
        Some(journal) => journal.write(path),
        None => Ok(()),
    }
}
