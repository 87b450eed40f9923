//! What the user gets to see. Pure.

use crate::{
    observed::{Observed, Party},
    plan::Plan,
    step::{Change, Step, What},
};
use ansible_module::Diff;
use serde_json::{Value, json};

/// An account.
pub fn party(party: &Party) -> Value {
    let ranges = |ranges: &[idmap::SubRange]| -> Vec<Value> {
        let one = |range: &idmap::SubRange| json!({"start": range.start, "count": range.count});
        ranges.iter().map(one).collect()
    };
    json!({
        "name": party.account.name,
        "uid": party.account.uid,
        "gid": party.account.gid,
        "subuid": ranges(&party.uids),
        "subgid": ranges(&party.gids),
    })
}

/// The names of the steps.
pub fn steps(steps: &[Step]) -> Vec<&'static str> {
    steps.iter().map(|step| step.what.name()).collect()
}

/// What the service is made of, by the steps of its move.
pub struct Parts {
    pub units: Vec<Value>,
    pub data: Vec<Value>,
    pub volumes: Vec<String>,
    pub images: Vec<String>,
    pub secrets: Vec<String>,
    pub networks: Vec<String>,
    pub kept: Vec<String>,
}

/// Reads them off the steps.
pub fn parts(steps: &[Step]) -> Parts {
    let mut parts = Parts {
        units: vec![],
        data: vec![],
        volumes: vec![],
        images: vec![],
        secrets: vec![],
        networks: vec![],
        kept: vec![],
    };
    for step in steps {
        match &step.what {
            What::Write { changes } => parts.units.extend(changes.iter().map(unit)),
            What::Hide { files } => {
                let hidden = files.iter().map(|file| crate::plan::hidden(file, &step.to));
                parts
                    .kept
                    .extend(hidden.map(|path| path.display().to_string()));
            }
            What::Move { trees, .. } => {
                parts.data.extend(
                    trees
                        .iter()
                        .map(|(from, to)| json!({"from": from, "path": to})),
                );
            }
            What::Shift { trees, .. } => {
                let stays = |tree: &&std::path::PathBuf| {
                    !parts.data.iter().any(|other| other["path"] == json!(tree))
                };
                let stay: Vec<_> = trees.iter().filter(stays).collect();
                let stay = stay
                    .into_iter()
                    .map(|tree| json!({"from": tree, "path": tree}));
                let stay: Vec<_> = stay.collect();
                parts.data.extend(stay);
            }
            What::Volume(volume) => parts.volumes.push(volume.name.clone()),
            What::Image { name, .. } => parts.images.push(name.clone()),
            What::Secret { name } => parts.secrets.push(name.clone()),
            What::Network(network) => parts.networks.push(network.name.clone()),
            What::Files { copies } => {
                let copies = copies.iter().map(|copy| copy.to.display().to_string());
                parts.secrets.extend(copies);
            }
            _ => {}
        }
    }
    parts
}

fn unit(change: &Change) -> Value {
    json!({"path": change.path, "place": change.place})
}

/// What changes, as text.
pub fn difference(observed: &Observed, plan: &Plan) -> Vec<Diff> {
    let mut found = vec![];
    for step in &plan.steps {
        match &step.what {
            What::Write { changes } => found.extend(changes.iter().map(|change| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                Diff::texts(
                    change.path.display().to_string(),
                    text(&change.before),
                    text(&change.after),
                )
            })),
            What::Shift { trees, maps, .. } => {
                let trees: Vec<_> = trees
                    .iter()
                    .map(|tree| tree.display().to_string())
                    .collect();
                found.push(Diff::prepared(format!(
                    "owners in {}: users {}, groups {}\n",
                    trees.join(", "),
                    maps.uid,
                    maps.gid
                )));
            }
            _ => {}
        }
    }
    if !plan.steps.is_empty() {
        let (from, to) = (&observed.from.account.name, &observed.to.account.name);
        let steps = steps(&plan.steps).join(", ");
        found.push(Diff::prepared(format!("{from} → {to}: {steps}\n")));
    }
    found
}
