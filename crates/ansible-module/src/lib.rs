#![doc = include_str!("../README.md")]

mod invocation;
mod module;
mod outcome;
mod spec;

pub use invocation::Invocation;
pub use module::Module;
pub use outcome::{Diff, Failure, Outcome};
pub use spec::{Kind, Opt, Spec};
