//! What is to be done. Pure: decides on what observe gathered, and touches nothing.

mod absent;
mod ids;
mod present;
mod refuse;

pub use absent::{absent, private_group};
pub use present::present;
pub use refuse::names;

use crate::{observed::Shape, step::Step};

/// The steps of one change; none where all is as wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// What comes of it; `None` where the account goes.
    pub after: Option<Shape>,
    pub warnings: Vec<String>,
}

/// What stands in the way, one sentence each.
pub type Refusals = Vec<String>;

#[cfg(test)]
mod tests;
