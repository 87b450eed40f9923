//! The plain root that a copy keeps: what is known of it, and what `disabled` makes of it.

use crate::{
    layout::{self, ASIDE},
    observed::Observed,
    order::{idle, running},
    record::{Kept, Record},
    step::{Carry, Inventory, Running},
};
use anyhow::Result;
use std::path::Path;

impl Kept {
    /// The plain root that is there now.
    pub fn of(observed: &Observed) -> Kept {
        let entries = observed.root.iter().map(|entry| &entry.name);
        let running = running(&observed.containers).into_iter();
        Kept {
            entries: entries
                .filter(|name| !layout::is_beside(name))
                .cloned()
                .collect(),
            running: running.map(|container| container.id).collect(),
        }
    }
}

impl Observed {
    /// The plain root that `enabled` kept for the way back: ours, and nobody's former attempt.
    pub fn kept(&self) -> Option<&Kept> {
        let record = self.record.as_ref().filter(|_| self.remapped.is_some());
        record.and_then(|record| record.kept.as_ref())
    }

    /// Whether an entry of the data root belongs to it.
    pub fn is_kept(&self, name: &str) -> bool {
        self.kept()
            .is_some_and(|kept| kept.entries.iter().any(|own| own == name))
    }
}

/// What a kept root has, each list sorted; nothing where none is recorded. Its networks stand in a database that only
/// the engine reads.
pub fn inventory(record: Option<&Record>, data_root: &Path) -> Result<Inventory> {
    if record.is_none_or(|record| record.kept.is_none()) {
        return Ok(Inventory::default());
    }
    let names = |place: &str| -> Result<Vec<String>> {
        let found = layout::directories(&data_root.join(place), |_| false)?;
        let names = found.iter().filter_map(|path| path.file_name());
        Ok(names
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    };
    let mut inventory = Inventory {
        images: layout::images(data_root)?,
        containers: names("containers")?,
        networks: vec![],
        volumes: names("volumes")?,
    };
    // What is left of a container whose removal failed is none.
    let configured = |id: &String| {
        let directory = data_root.join("containers").join(id);
        directory.join("config.v2.json").exists()
    };
    inventory.containers.retain(configured);
    Ok(inventory)
}

/// What has to step aside in the data root so that the change can be made.
pub fn steps_aside(observed: &Observed, carry: Carry, to: &Path) -> Vec<String> {
    let root = observed.engine_root();
    let remapped = root.file_name().map(|name| name.to_string_lossy());
    match carry {
        Carry::Move if to == observed.data_root => {
            let there = observed.root.iter().map(|entry| &entry.name);
            there
                .filter(|name| observed.is_kept(name))
                .cloned()
                .collect()
        }
        Carry::FallBack => remapped.map(String::from).into_iter().collect(),
        Carry::Move | Carry::Copy | Carry::Nothing => vec![],
    }
}

/// What stands in the way of going back.
pub fn refusals(observed: &Observed, carry: Carry) -> Vec<String> {
    let mut found = vec![];
    let Some(kept) = observed.kept() else {
        if carry == Carry::FallBack {
            found.push(
                "discard_new_data falls back to the root that carry_over=copy kept, but none is on record; \
                 without it, state=disabled carries everything back"
                    .to_owned(),
            );
        }
        return found;
    };
    if carry == Carry::Nothing {
        found.push(format!(
            "carry_over=none would start the engine on the root that was kept in {}, without what came since; \
             leave carry_over at in_place to carry that back, or say discard_new_data=true",
            observed.data_root.display()
        ));
    }
    found.extend(left_aside(observed));
    if carry == Carry::FallBack {
        let is_there = |name: &&String| observed.root.iter().any(|entry| entry.name == **name);
        let missing: Vec<_> = (kept.entries.iter())
            .filter(|name| !is_there(name))
            .cloned()
            .collect();
        if !missing.is_empty() {
            found.push(format!(
                "the kept root in {} is not whole any more, it lacks {}; leave out discard_new_data",
                observed.data_root.display(),
                missing.join(", ")
            ));
        }
        let mounts = observed
            .irregular
            .iter()
            .filter(|(_, what)| what.contains("mount"));
        found.extend(mounts.map(|(path, what)| {
            format!(
                "{} is {what}, which is not to be deleted with the rest; unmount it",
                path.display()
            )
        }));
    }
    found
}

/// What a change that was undone has set aside, for somebody to look at.
pub fn left_aside(observed: &Observed) -> Option<String> {
    let aside = observed
        .root
        .iter()
        .find(|entry| entry.name == ASIDE && !entry.empty);
    aside.map(|_| {
        format!(
            "{} holds what an undone change has set aside; look at it, then delete it or move it away",
            observed.data_root.join(ASIDE).display()
        )
    })
}

/// What falling back throws away.
pub fn discarded(observed: &Observed) -> String {
    let then = &observed.in_kept_root;
    let since = |now: Vec<&String>, then: &[String]| {
        now.into_iter().filter(|name| !then.contains(name)).count()
    };
    let containers = observed.containers.iter().map(|container| &container.id);
    let volumes = observed.volumes.iter().map(|volume| &volume.name);
    format!(
        "discard_new_data: {} containers, {} volumes and {} images that came since {} was set to run remapped, and all \
         that was written since to the others, will be deleted with {}",
        since(containers.collect(), &then.containers),
        since(volumes.collect(), &then.volumes),
        since(observed.images.iter().collect(), &then.images),
        observed.data_root.display(),
        observed.engine_root().display()
    )
}

/// What runs, what does not and what there is once the engine has fallen back: what ran then and was not removed
/// since runs again.
pub fn as_it_was(observed: &Observed) -> (Vec<Running>, Vec<String>, Inventory) {
    let then = &observed.in_kept_root;
    let ran = |id: &String| {
        observed
            .kept()
            .is_some_and(|kept| kept.running.contains(id))
    };
    let mut containers = observed.containers.clone();
    containers.retain(|container| then.containers.contains(&container.id));
    for container in &mut containers {
        let status = if ran(&container.id) {
            "running"
        } else {
            "exited"
        };
        status.clone_into(&mut container.state.status);
    }
    let mut idle = idle(&containers);
    let removed = then
        .containers
        .iter()
        .filter(|id| containers.iter().all(|container| container.id != **id));
    idle.extend(removed.cloned());
    let inventory = Inventory {
        // The engine does not list one whose layers are gone.
        images: vec![],
        ..then.clone()
    };
    (running(&containers), idle, inventory)
}

#[cfg(test)]
mod tests;
