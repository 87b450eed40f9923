//! One function for every parser: it takes any bytes, does not panic on them, and asserts what holds for every
//! result.

mod arguments;
mod ids;
mod journals;
mod libvirt;
mod system;
mod units;

/// Panics where a parser breaks its word.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 16] = [
    ("accounts", system::accounts),
    ("acl", ids::acl),
    ("arguments", arguments::arguments),
    ("capability", ids::capability),
    ("compose", system::compose),
    ("compose_override", system::compose_override),
    ("daemon_json", system::daemon_json),
    ("docker", system::docker),
    ("libvirt", libvirt::libvirt),
    ("literal", arguments::literal),
    ("map", ids::map),
    ("mounts", system::mounts),
    ("shift_journal", journals::shift),
    ("subid", ids::subid),
    ("transaction_journal", journals::transaction),
    ("unit", units::unit),
];
