//! Takes, reverts and removes verified snapshots of libvirt's VMs. Two executables: one that does it, one
//! that only tells.

mod apply;
mod args;
mod decide;
mod info;
mod observe;
mod observed;
mod plan;
mod present;
mod record;
#[cfg(test)]
mod samples;
mod snapshot;
mod step;

pub use info::main as info;
pub use snapshot::main as snapshot;
