use crate::{Extent, SubRange};
use std::fmt;

/// Why a map or a range cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The extent holds no id.
    EmptyExtent(Extent),
    /// The extent goes past 4294967294, the last id there is (4294967295 is `(uid_t)-1`).
    Overflow(Extent),
    /// Two extents hold the same container id.
    ContainerOverlap(Extent, Extent),
    /// Two extents hold the same host id.
    HostOverlap(Extent, Extent),
    /// There is no subordinate range to make a map of.
    NoRange,
    /// Text that is not `[u:|g:|b:]container:host:size`.
    Syntax(String),
    /// The range holds ids that another entry of a subordinate id file already hands out.
    Taken {
        /// The range asked for.
        range: SubRange,
        /// Whom the other entry serves.
        owner: String,
        /// The other entry's range.
        other: SubRange,
    },
    /// No gap of this many ids is free.
    NoRoom(u32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyExtent(extent) => write!(f, "extent {extent} holds no id"),
            Self::Overflow(extent) => write!(f, "extent {extent} goes past the last id"),
            Self::ContainerOverlap(a, b) => {
                write!(f, "extents {a} and {b} overlap in container ids")
            }
            Self::HostOverlap(a, b) => write!(f, "extents {a} and {b} overlap in host ids"),
            Self::NoRange => write!(f, "no subordinate id range"),
            Self::Syntax(text) => {
                write!(
                    f,
                    "'{text}' is not of the form [u:|g:|b:]container:host:size"
                )
            }
            Self::Taken {
                range,
                owner,
                other,
            } => write!(f, "range {range} overlaps {other} of {owner}"),
            Self::NoRoom(count) => write!(f, "no free range of {count} subordinate ids is left"),
        }
    }
}

impl std::error::Error for Error {}
