//! The shift engine: re-owns whole trees by an [`IdMaps`], and takes it back.
//!
//! The container side of the maps is the *source*, the host side the *target*: an entry owned by a source
//! id gets the id the map gives it, ids inside POSIX ACLs and file capabilities with it. Ids on neither
//! side are refused before the first change, never guessed; what else may stand in the way, and when it need
//! not, is the [`Policy`].
//!
//! Where source and target ids are disjoint, every id says by itself whether it is done, and an interrupted
//! shift can go on, or back, from any point. Where they overlap, the shift goes in two such passes by way of
//! ids that nobody has ([`idmap::IdMap::detour`]), and a journal says which pass is done; nothing is written
//! down for a single file but what a change of owner destroys on the way (set-user-id and set-group-id bits,
//! file capabilities), and that before the first change.
//!
//! Every entry is held by a descriptor from the look at it to the change of its owner, without following links
//! or crossing mounts: whoever swaps names meanwhile leads nothing out of the tree. Only extended attributes are
//! listed by name, for no system call lists those of a file that is held and not open: a file that is swapped
//! away and back in that instant can lose a capability of its own, or keep an ACL as it was. So stop what writes
//! to a tree first.
//!
//! ```no_run
//! use idmap::{IdMaps, SubRange, docker};
//! use rechown::Policy;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let maps = IdMaps::both(docker(&[SubRange { start: 100_000, count: 65_536 }])?);
//! let journal = "/var/lib/bulkhead/example.journal".as_ref();
//! let report = rechown::shift(&["/srv/data"], &maps, Policy::default(), journal)?;
//! println!("{} entries in {:.1} s", report.counts.entries, report.seconds);
//! rechown::undo(journal)?;
//! # Ok(())
//! # }
//! ```

mod acl;
mod batch;
mod capability;
mod dir;
mod engine;
mod entry;
mod error;
mod examine;
mod fault;
mod fixed;
mod fragile;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod idmapped;
mod ids;
mod journal;
mod known;
mod links;
mod meter;
mod pinned;
mod place;
mod policy;
mod report;
mod root;
mod roots;
mod shift;
mod stray;
mod survey;
mod sys;
mod walk;
mod xattr;

pub use engine::{Progress, Record, is_done, recorded, shift, undo, undo_at};
pub use error::Error;
pub use idmap::IdMaps;
pub use ids::{IdKind, Unmapped};
pub use meter::{Meter, meter};
pub use policy::{Immutable, OutsideLinks, Policy, Strays, Unknown};
pub use report::{Change, Counts, Owner, Report, Sample};
pub use survey::{Survey, survey};
