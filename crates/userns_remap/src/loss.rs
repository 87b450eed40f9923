//! What a stop deletes because the operator allows it. Pure.

use crate::{layout, observed::Observed};
use host::docker::Container;
use serde::Serialize;

/// A container run with `--rm`, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    #[serde(skip)]
    pub id: String,
    pub name: String,
    /// Its anonymous volumes.
    pub volumes: Vec<String>,
}

/// The containers named in `allow_loss` that a stop deletes. A name that nobody has is none of them: an
/// earlier run has deleted it.
pub fn allowed(observed: &Observed, allow_loss: &[String]) -> Vec<Lost> {
    let (lost, staying): (Vec<_>, Vec<_>) = observed.containers.iter().partition(|container| {
        container.removed_when_stopped() && allow_loss.iter().any(|name| name == container.name())
    });
    let stays = |volume: &String| {
        let mut used = staying.iter().flat_map(|container| volumes(container));
        used.any(|other| other == volume)
    };
    let of = |container: &Container| Lost {
        id: container.id.clone(),
        name: container.name().to_owned(),
        volumes: (volumes(container))
            .filter(|volume| layout::is_id(volume) && !stays(volume))
            .cloned()
            .collect(),
    };
    lost.into_iter().map(of).collect()
}

/// Of what runs now and of what is carried over, which is the same unless masked data is adopted.
pub fn all([now, carried]: [Vec<Lost>; 2]) -> Vec<Lost> {
    let mut all = now;
    for lost in carried {
        if !all.contains(&lost) {
            all.push(lost);
        }
    }
    all
}

fn volumes(container: &Container) -> impl Iterator<Item = &String> {
    let mounts = container.mounts.iter();
    mounts.filter_map(|mount| mount.name.as_ref())
}

impl Observed {
    /// As it is once these are deleted.
    pub fn without(&self, lost: &[Lost]) -> Self {
        let mut observed = self.clone();
        observed
            .containers
            .retain(|container| lost.iter().all(|lost| lost.id != container.id));
        observed
            .volumes
            .retain(|volume| lost.iter().all(|lost| !lost.volumes.contains(&volume.name)));
        observed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{container, plain, volume};
    use serde_json::{Value, json};

    #[test]
    fn what_goes_with_a_container_are_its_anonymous_volumes_that_nobody_else_has() {
        let (own, shared) = ("a".repeat(64), "b".repeat(64));
        let mounts = |names: &[&str]| -> Value {
            let mount = |name: &&str| json!({"Type": "volume", "Name": name, "Source": "/v"});
            names.iter().map(mount).collect()
        };
        let mut observed = plain();
        observed.volumes = ["named", &own, &shared]
            .map(|name| volume(name, Value::Null))
            .into();
        observed.containers = vec![
            container("brief", |c| {
                c["HostConfig"]["AutoRemove"] = json!(true);
                c["Mounts"] = mounts(&["named", &own, &shared]);
            }),
            container("other", |c| c["Mounts"] = mounts(&[&shared])),
            container("unnamed", |c| c["HostConfig"]["AutoRemove"] = json!(true)),
        ];
        let allow = ["brief", "other", "gone"].map(str::to_owned);
        let lost = allowed(&observed, &allow);
        let expected = Lost {
            id: "brief-id".to_owned(),
            name: "brief".to_owned(),
            volumes: vec![own],
        };
        assert_eq!(lost, [expected]);
        let after = observed.without(&lost);
        let names: Vec<_> = after.containers.iter().map(Container::name).collect();
        assert_eq!(names, ["other", "unnamed"]);
        let volumes: Vec<_> = after
            .volumes
            .iter()
            .map(|volume| volume.name.as_str())
            .collect();
        assert_eq!(volumes, ["named", &shared]);
    }
}
