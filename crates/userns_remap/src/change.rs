//! One direction of the change as steps, from one root to the other. Pure.

use crate::{
    bind_mounts::Binds,
    kept,
    layout::ASIDE,
    layout::Keep,
    loss::Lost,
    observed::Observed,
    order::{idle, running},
    range::root_ids,
    record::Sysctls,
    step::{Carry, Configure, Direction, Inventory, Running, Step},
};
use host::docker::Network;
use idmap::IdMaps;
use std::{
    iter,
    path::{Path, PathBuf},
};

/// One direction of the change.
pub struct Change<'a> {
    /// What runs now, and is stopped.
    pub now: &'a Observed,
    /// What is there afterwards.
    pub observed: &'a Observed,
    /// Of what runs now, what its stop deletes.
    pub lost: &'a [Lost],
    /// A root that is in the way, and the place it is moved to.
    pub aside: Option<(PathBuf, PathBuf)>,
    /// The data root in use before and after.
    pub from: &'a Path,
    pub to: &'a Path,
    /// Container ids to host ids before and after; the identity where the engine runs plain.
    pub before: IdMaps,
    pub after: IdMaps,
    pub keep: Keep,
    pub binds: &'a Binds,
    pub carry: Carry,
    /// The ids of containers that are set to stay in the host's user namespace on the way there, and not to
    /// any more on the way back.
    pub host_mode: Vec<String>,
    /// Kernel parameters that are taken away on the way there, and given back on the way back.
    pub sysctls: Vec<Sysctls>,
    /// Links at the old places, by name: made on the way there, removed on the way back.
    pub compat_links: Vec<String>,
}

/// What is going to be shifted, seen from before the change.
#[derive(Debug)]
pub struct Shift {
    pub engine_root: PathBuf,
    pub keep: Keep,
    pub maps: IdMaps,
    pub direction: Direction,
}

fn direction(before: &IdMaps, after: &IdMaps) -> Direction {
    let plain = IdMaps::identity();
    match (*before == plain, *after == plain) {
        (true, _) => Direction::ToRemapped,
        (false, true) => Direction::ToPlain,
        (false, false) => Direction::Between,
    }
}

/// What is done to the ids on the disk.
pub fn moved(before: &IdMaps, after: &IdMaps) -> IdMaps {
    let moved = after.compose(&before.invert());
    match direction(before, after) {
        // What the host itself wrote among the containers' files stays the host's.
        Direction::Between => IdMaps {
            uid: moved.uid.with_identity(&before.uid),
            gid: moved.gid.with_identity(&before.gid),
        },
        Direction::ToRemapped | Direction::ToPlain => moved,
    }
}

impl Change<'_> {
    /// The trees whose ids have to be looked at before anything stops.
    pub fn shift(&self) -> Option<Shift> {
        let shifts = matches!(self.carry, Carry::Move | Carry::Copy);
        shifts.then(|| Shift {
            engine_root: self.from.to_owned(),
            keep: self.keep.clone(),
            maps: self.maps(),
            direction: self.direction(),
        })
    }

    fn direction(&self) -> Direction {
        direction(&self.before, &self.after)
    }

    fn maps(&self) -> IdMaps {
        moved(&self.before, &self.after)
    }

    /// Guard, `first`, stop, convert, configure, start, see that all is well.
    pub fn steps(self, first: impl IntoIterator<Item = Step>, configure: Configure) -> Vec<Step> {
        let observed = self.now;
        let (stops, starts) = (
            running(&observed.containers),
            running(&self.observed.containers),
        );
        let idle = idle(&observed.containers);
        // Units that stop with the engine have to be started again after it.
        let dependents = observed.dependents.iter().map(|(unit, _)| unit);
        let units: Vec<_> = observed
            .active_units
            .iter()
            .chain(dependents)
            .cloned()
            .collect();
        let guard = Step::Guard {
            needs: iter::once(observed.data_root.as_path())
                .chain(self.binds.paths())
                .map(Path::to_owned)
                .collect(),
        };
        let mut steps = vec![guard];
        steps.extend(first);
        steps.extend(self.copy_layers(&stops));
        steps.extend(self.stop(stops, idle.clone(), units.clone()));
        steps.extend(self.set_compat_links(false));
        steps.extend(self.set_aside());
        steps.extend(self.convert());
        steps.extend(self.binds.steps());
        steps.extend(self.set_compat_links(true));
        steps.push(Step::Configure(Box::new(configure)));
        steps.extend(self.use_copy());
        steps.extend([
            Step::Release,
            Step::StartEngine {
                units,
                expected_root: self.to.to_owned(),
            },
        ]);
        steps.extend(self.see(starts, idle));
        steps
    }

    fn stop(&self, mut running: Vec<Running>, idle: Vec<String>, units: Vec<String>) -> Vec<Step> {
        let data_root = &self.observed.data_root;
        for container in &mut running {
            container.removed = self.lost.iter().any(|lost| lost.id == container.id);
        }
        vec![
            Step::StopContainers { running, idle },
            Step::StopEngine { units },
            Step::Hold,
            Step::ProveStopped {
                data_root: data_root.clone(),
            },
        ]
    }

    /// What can be done while all runs.
    fn copy_layers(&self, running: &[Running]) -> Option<Step> {
        (self.carry == Carry::Copy).then(|| Step::CopyLayers {
            from: self.from.to_owned(),
            to: self.to.to_owned(),
            maps: self.maps(),
            running: (running.iter())
                .map(|container| container.id.clone())
                .collect(),
        })
    }

    /// What is in the way of another root, or of the plain one.
    fn set_aside(&self) -> Vec<Step> {
        // Only what is in use has an engine, and networks.
        let is_in_use = self.now.remapped != self.observed.remapped;
        let networks = self.now.networks.iter().filter(|_| is_in_use);
        let bridges = networks.filter_map(Network::bridge).collect();
        let root = self.aside.clone();
        let root = root.map(|(from, to)| Step::SetRootAside { from, to, bridges });
        root.into_iter().chain(self.set_kept_aside()).collect()
    }

    fn set_kept_aside(&self) -> Option<Step> {
        let names = kept::steps_aside(self.observed, self.carry, self.to);
        (!names.is_empty()).then(|| Step::SetAside {
            data_root: self.observed.data_root.clone(),
            names,
            aside: self.observed.data_root.join(ASIDE),
        })
    }

    fn use_copy(&self) -> Option<Step> {
        (self.carry == Carry::Copy).then(|| Step::UseCopy {
            copy: self.to.to_owned(),
            aside: self.observed.data_root.join(ASIDE),
        })
    }

    /// The data itself, while nothing runs. Where only ids behind the first change, it stays where it is.
    fn convert(&self) -> Vec<Step> {
        let (from, to) = (self.from.to_owned(), self.to.to_owned());
        let own = Step::Own {
            engine_root: to.clone(),
            data_root: self.observed.data_root.clone(),
            before: root_ids(&self.before),
            after: root_ids(&self.after),
        };
        let shift = Step::Shift {
            engine_root: to.clone(),
            maps: self.maps(),
            keep: self.keep.clone(),
            direction: self.direction(),
        };
        let rewrite = Step::RewriteContainers {
            engine_root: to.clone(),
            from: from.clone(),
            to: to.clone(),
        };
        let mut steps = match self.carry {
            Carry::Move if from == to => vec![shift],
            Carry::Move => vec![Step::MoveRoot { from, to }, own, shift, rewrite],
            Carry::Copy => {
                let (maps, keep) = (self.maps(), self.keep.clone());
                let copy = Step::CopyRest {
                    from,
                    to,
                    maps,
                    keep,
                };
                vec![copy, own, rewrite]
            }
            Carry::FallBack | Carry::Nothing => return vec![],
        };
        steps.extend(self.set_host_mode());
        steps.extend(self.set_sysctls());
        steps
    }

    fn set_host_mode(&self) -> Option<Step> {
        (!self.host_mode.is_empty()).then(|| Step::SetHostMode {
            engine_root: self.to.to_owned(),
            containers: self.host_mode.clone(),
            host: self.direction() == Direction::ToRemapped,
        })
    }

    /// They are made last, and removed first: a plain engine would follow them.
    fn set_compat_links(&self, make: bool) -> Option<Step> {
        let has_part = match self.direction() {
            Direction::ToRemapped => make,
            Direction::ToPlain => !make,
            Direction::Between => true,
        };
        (has_part && !self.compat_links.is_empty()).then(|| Step::CompatLinks {
            data_root: self.observed.data_root.clone(),
            engine_root: if make { self.to } else { self.from }.to_owned(),
            names: self.compat_links.clone(),
            make,
        })
    }

    fn set_sysctls(&self) -> Option<Step> {
        (!self.sysctls.is_empty()).then(|| Step::SetSysctls {
            engine_root: self.to.to_owned(),
            containers: self.sysctls.clone(),
            on: self.direction() == Direction::ToPlain,
        })
    }

    fn see(&self, running: Vec<Running>, idle: Vec<String>) -> Vec<Step> {
        let observed = self.observed;
        let (running, idle, inventory) = match self.carry {
            Carry::Nothing => return vec![],
            Carry::FallBack => kept::as_it_was(observed),
            Carry::Move | Carry::Copy => (running, idle, inventory(observed)),
        };
        vec![
            Step::VerifyInventory(inventory),
            Step::StartContainers {
                running,
                idle,
                maps: self.after.clone(),
            },
        ]
    }
}

fn inventory(observed: &Observed) -> Inventory {
    Inventory::new(
        observed.images.clone(),
        &observed.containers,
        &observed.networks,
        &observed.volumes,
    )
}
