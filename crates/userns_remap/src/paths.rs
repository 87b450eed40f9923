//! Where we keep what we know of a host.

/// Everything we keep on a host.
pub const STATE: &str = "/var/lib/bulkhead";
/// There exactly while a change is open.
pub const IN_PROGRESS: &str = "/var/lib/bulkhead/in-progress";
/// There exactly while the engine must not start.
pub const HOLD: &str = "/var/lib/bulkhead/in-progress/hold";
