//! From what is asked and what is there to the steps, the refusals and the warnings. Pure.

mod disable;
mod draft;
mod enable;
mod reassign;

pub use draft::Plan;

use crate::{
    args::{Args, State},
    observed::Observed,
    range,
};
use anyhow::Result;

/// The date for backup names is the caller's: this room knows no clock.
pub fn plan(args: &Args, observed: &Observed, stamp: &str) -> Result<Plan> {
    let mut plan = match args.state {
        State::Enabled => enable(args, observed, stamp),
        State::Disabled => disable::plan(args, observed, stamp),
    }?;
    if args.discard_new_data && args.state == State::Enabled {
        let said = "discard_new_data is for the way back, with state=disabled";
        plan.refusals.push(said.to_owned());
    }
    Ok(plan)
}

fn enable(args: &Args, observed: &Observed, stamp: &str) -> Result<Plan> {
    let choice = range::choose(args, &observed.ids)?;
    let adopted = reassign::to_adopt(args, observed, &choice);
    if observed.remapped.is_some() && adopted.is_none() {
        return reassign::plan(args, observed, choice, stamp);
    }
    enable::plan(args, observed, &choice, adopted, stamp)
}

#[cfg(test)]
mod tests;
