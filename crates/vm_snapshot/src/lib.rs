//! Takes, reverts and removes verified snapshots of libvirt's VMs. Two executables: one that does it, one
//! that only tells.

#![allow(dead_code)]

mod args;
mod decide;
mod info;
mod observe;
mod observed;
mod present;
mod record;

pub use info::main as info;
