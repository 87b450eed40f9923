//! Accounts of their own for services that run in rootless Podman. Two executables: one that makes and removes
//! them, one that only tells what they use.

mod apply;
mod args;
mod disk;
mod info;
mod module;
mod name;
mod nixos;
mod observe;
mod observed;
mod plan;
mod present;
mod remains;
#[cfg(test)]
mod samples;
mod search;
mod step;

pub use info::main as info;
pub use module::main as dedicated_user;
