//! The way back, from the record of the move.

use super::Plan;
use crate::{
    observed::Observed,
    record::Record,
    step::{Expected, Side, Step, What},
};
use idmap::IdMaps;

/// Takes a move back, with what was written since. Nothing to do where there is no record of one.
pub fn back(name: &str, observed: &Observed) -> Plan {
    let Some(Record { steps, .. }) = &observed.record else {
        return Plan::default();
    };
    let mut whats = vec![What::Guard];
    let mut made = vec![];
    let mut verify = None;
    let mut maps = None;
    for step in steps.iter().rev() {
        match (step.what.inverse(), &step.what) {
            (Some(inverse), _) => whats.push(inverse),
            (None, What::Verify { expected, .. }) => verify = Some(expected.clone()),
            (None, What::Guard | What::Record { .. } | What::Tidy { .. }) => {}
            (None, what) => made.push(what.clone()),
        }
        if let What::Shift { maps: shifted, .. } = &step.what {
            maps = Some(shifted.invert());
        }
    }
    let started = whats.iter().rev().find_map(|what| match what {
        What::Start {
            side: Side::Old,
            units,
            ..
        } => Some(units.clone()),
        _ => None,
    });
    if let Some(expected) = verify {
        let expected = Expected {
            units: started.unwrap_or_default(),
            ..translated(expected, maps.as_ref())
        };
        whats.push(What::Verify {
            side: Side::Old,
            expected,
        });
    }
    whats.push(What::Record {
        name: name.to_owned(),
        steps: None,
    });
    whats.push(What::Tidy { made });
    let step = |what| Step {
        from: observed.from.account.clone(),
        to: observed.to.account.clone(),
        what,
    };
    Plan {
        steps: whats.into_iter().map(step).collect(),
        ..Plan::default()
    }
}

fn translated(mut expected: Expected, maps: Option<&IdMaps>) -> Expected {
    match maps {
        Some(maps) => {
            for container in expected.containers.values_mut() {
                container.maps = maps.compose(&container.maps);
            }
        }
        // No data, and so no map on record: they are not compared.
        None => expected.containers.clear(),
    }
    expected
}
