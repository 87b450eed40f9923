//! Directory trees of the host that containers use, outside an engine's own care: which of them may be touched,
//! where stands what was done to them, and how one is shown with other owners than it has on disk.

pub mod guard;
pub mod idmapped;
pub mod records;
