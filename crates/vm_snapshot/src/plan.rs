//! What is to be done. Pure: decides on what observe gathered, and touches nothing.

mod files;
mod remove;
mod retention;
mod revert;
mod take;

pub use remove::{clean, remove};
pub use retention::expired;
pub use revert::revert;
pub use take::{take, there_already};

use crate::{
    decide::Decision,
    step::{Step, What},
};

/// The steps of one change; none where all is as wished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Of a snapshot that is taken.
    pub decision: Option<Decision>,
    pub warnings: Vec<String>,
}

/// What stands in the way, one sentence each.
pub type Refusals = Vec<String>;

impl Plan {
    fn of(uuid: &str, steps: impl IntoIterator<Item = What>) -> Plan {
        let step = |what| Step {
            uuid: uuid.to_owned(),
            what,
        };
        Plan {
            steps: steps.into_iter().map(step).collect(),
            ..Plan::default()
        }
    }
}

/// "there is no snapshot …", with those that there are.
fn unknown(name: &str, observed: &crate::observed::Observed) -> String {
    let names: Vec<_> = observed
        .snapshots
        .iter()
        .map(|snapshot| snapshot.name.as_str())
        .collect();
    match names.is_empty() {
        true => format!("there is no snapshot \"{name}\", nor any other"),
        false => format!(
            "there is no snapshot \"{name}\"; there are: {}",
            names.join(", ")
        ),
    }
}
