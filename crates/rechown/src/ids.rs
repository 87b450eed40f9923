use idmap::{IdMap, IdMaps};
use serde::Serialize;
use std::{fmt, path::PathBuf};

/// User or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdKind {
    /// A user id.
    Uid,
    /// A group id.
    Gid,
}

/// An id outside the map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unmapped {
    /// Where it was met: as owner, in an ACL or in a file capability.
    #[serde(serialize_with = "crate::report::lossy")]
    pub path: PathBuf,
    /// Which kind.
    pub kind: IdKind,
    /// The id.
    pub id: u32,
}

impl fmt::Display for Unmapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            IdKind::Uid => "uid",
            IdKind::Gid => "gid",
        };
        write!(f, "{} ({kind} {})", self.path.display(), self.id)
    }
}

/// Maps, both ways.
pub(crate) struct Sides {
    uid: Side,
    gid: Side,
}

struct Side {
    forward: IdMap,
    back: IdMap,
}

impl Sides {
    pub(crate) fn new(maps: &IdMaps) -> Self {
        let side = |map: &IdMap| Side {
            forward: map.clone(),
            back: map.invert(),
        };
        Self {
            uid: side(&maps.uid),
            gid: side(&maps.gid),
        }
    }
}

/// Translates the ids of one entry and remembers what they were.
pub(crate) struct Translator<'a> {
    sides: &'a Sides,
    /// Some id changes.
    pub(crate) source: bool,
    /// Some id has been changed before.
    pub(crate) target: bool,
    /// The ids that are neither, nor stay by the map.
    pub(crate) unmapped: Vec<(IdKind, u32)>,
}

impl<'a> Translator<'a> {
    pub(crate) fn new(sides: &'a Sides) -> Self {
        Self {
            sides,
            source: false,
            target: false,
            unmapped: Vec::new(),
        }
    }

    /// The id in its place, if another.
    pub(crate) fn translate(&mut self, kind: IdKind, id: u32) -> Option<u32> {
        let side = match kind {
            IdKind::Uid => &self.sides.uid,
            IdKind::Gid => &self.sides.gid,
        };
        match side.forward.to_host(id) {
            Some(same) if same == id => None,
            Some(new) => {
                self.source = true;
                Some(new)
            }
            None => {
                if side.back.to_host(id).is_some() {
                    self.target = true;
                } else {
                    self.unmapped.push((kind, id));
                }
                None
            }
        }
    }
}
