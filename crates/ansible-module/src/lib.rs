#![doc = include_str!("../README.md")]

mod call;
mod censor;
mod coerce;
mod console;
mod expand;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod help;
mod invocation;
mod kept;
mod literal;
mod log;
mod module;
mod option;
mod outcome;
mod python;
mod relations;
mod report;
mod spec;
mod validate;

pub use invocation::Invocation;
pub use module::Module;
pub use option::{Kind, Opt};
pub use outcome::{Diff, Failure, Outcome, refusal};
pub use spec::Spec;
