//! Turns Docker's user namespaces on or off on a live host: every image, container, network and volume
//! is carried over in place, and back with what was written meanwhile. Two executables: one that does it,
//! one that only tells.

mod apply;
mod args;
mod bind_mounts;
mod change;
mod compat;
mod conditions;
mod config;
mod copying;
mod data_root;
mod device;
mod facts;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod info;
mod kept;
mod layout;
mod loss;
mod masked;
mod observe;
mod observed;
mod order;
mod overlay;
mod overrides;
mod paths;
mod plan;
mod present;
mod projects;
mod range;
mod record;
mod references;
mod refuse;
mod remap;
#[cfg(test)]
mod samples;
mod step;
mod users;
mod validate;
mod verdict;
mod workload;

pub use info::main as info;
pub use remap::main as remap;
