use serde::{Deserialize, Serialize};

/// What becomes of entries that a map alone does not decide. By default all are refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Ids on neither side of the maps.
    pub unmapped: Unknown,
    /// Ids of the target side in trees that also hold ids of the source side.
    pub strays: Strays,
    /// Immutable and append-only entries, chattr(1).
    pub immutable: Immutable,
    /// Files with names outside the roots, where a new owner shows too.
    pub outside_links: OutsideLinks,
}

impl Policy {
    /// What [`undo`](crate::undo) looks at trees with after a shift by this one. Only immutable entries stand in
    /// its way; strays it leaves alone, and without a record, since nobody takes an undo back.
    #[must_use]
    pub fn of_undo(self) -> Self {
        Self {
            unmapped: Unknown::Keep,
            strays: Strays::Refuse,
            immutable: self.immutable,
            outside_links: OutsideLinks::Shift,
        }
    }
}

/// See [`Policy::unmapped`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// Nothing is changed.
    #[default]
    Refuse,
    /// The id stays, what else the entry holds is shifted. Its way back needs no record: neither the maps nor
    /// their inverse touch the id.
    Keep,
}

/// See [`Policy::strays`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strays {
    /// Nothing is changed.
    #[default]
    Refuse,
    /// The id stays, and so it does on the way back: the journal holds every such entry as it was.
    Leave,
}

/// See [`Policy::immutable`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Immutable {
    /// Nothing is changed.
    #[default]
    Refuse,
    /// The flag is lifted for the moment of the change, there and back. The journal holds it before.
    Lift,
}

/// See [`Policy::outside_links`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutsideLinks {
    /// Nothing is changed.
    #[default]
    Refuse,
    /// The file keeps its owner, under all its names.
    Keep,
    /// The file is shifted, under all its names.
    Shift,
}
