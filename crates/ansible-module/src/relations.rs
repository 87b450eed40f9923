//! Which options go together: each function tells the first violation in ansible-core's words.
//!
//! An option is given when its key is there, be it with `null`.

use serde_json::{Map, Value};

use crate::Spec;
use crate::python;

/// More than one of a group is given.
pub(crate) fn mutually_exclusive(spec: &Spec, params: &Map<String, Value>) -> Option<String> {
    let groups: Vec<_> = spec
        .mutually_exclusive
        .iter()
        .filter(|group| {
            group
                .iter()
                .filter(|name| params.contains_key(**name))
                .count()
                > 1
        })
        .map(|group| group.join("|"))
        .collect();
    (!groups.is_empty())
        .then(|| format!("parameters are mutually exclusive: {}", groups.join(", ")))
}

/// A required option is missing.
pub(crate) fn required(spec: &Spec, params: &Map<String, Value>) -> Option<String> {
    let mut missing: Vec<_> = spec
        .options
        .iter()
        .filter(|o| o.required && !params.contains_key(o.name))
        .map(|o| o.name)
        .collect();
    missing.sort_unstable();
    (!missing.is_empty()).then(|| format!("missing required arguments: {}", missing.join(", ")))
}

/// Some of a group are given and some are not.
pub(crate) fn required_together(spec: &Spec, params: &Map<String, Value>) -> Option<String> {
    let present = |name: &&str| params.contains_key(*name);
    let group = spec
        .required_together
        .iter()
        .find(|g| g.iter().any(present) && !g.iter().all(present))?;
    Some(format!(
        "parameters are required together: {}",
        group.join(", ")
    ))
}

/// None of a group is given.
pub(crate) fn required_one_of(spec: &Spec, params: &Map<String, Value>) -> Option<String> {
    let group = spec
        .required_one_of
        .iter()
        .find(|g| !g.iter().any(|name| params.contains_key(*name)))?;
    Some(format!(
        "one of the following is required: {}",
        group.join(", ")
    ))
}

/// What an option's value demands is missing.
pub(crate) fn required_if(spec: &Spec, params: &Map<String, Value>) -> Option<String> {
    spec.required_if.iter().find_map(|rule| {
        params
            .get(rule.key)
            .filter(|value| python::equal(value, &rule.value))?;
        let missing: Vec<_> = rule
            .needed
            .iter()
            .copied()
            .filter(|name| !params.contains_key(*name))
            .collect();
        let enough = if rule.any {
            missing.len() < rule.needed.len()
        } else {
            missing.is_empty()
        };
        (!enough && !missing.is_empty()).then(|| {
            format!(
                "{} is {} but {} of the following are missing: {}",
                rule.key,
                python::str(&rule.value),
                if rule.any { "any" } else { "all" },
                missing.join(", ")
            )
        })
    })
}

/// What an option demands is missing; `null` counts as missing here.
pub(crate) fn required_by(spec: &Spec, params: &Map<String, Value>) -> Option<String> {
    let given = |name: &str| params.get(name).is_some_and(|value| !value.is_null());
    spec.required_by
        .iter()
        .filter(|(key, _)| given(key))
        .find_map(|(key, needed)| {
            let missing: Vec<_> = needed.iter().copied().filter(|name| !given(name)).collect();
            (!missing.is_empty()).then(|| {
                format!(
                    "missing parameter(s) required by '{key}': {}",
                    missing.join(", ")
                )
            })
        })
}
