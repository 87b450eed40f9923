#![doc = include_str!("../README.md")]

mod call;
mod censor;
mod coerce;
mod console;
mod expand;
mod help;
mod invocation;
mod kept;
mod literal;
mod module;
mod outcome;
mod python;
mod report;
mod spec;
mod validate;

pub use invocation::Invocation;
pub use module::Module;
pub use outcome::{Diff, Failure, Outcome};
pub use spec::{Kind, Opt, Spec};
