//! One direction of the change as steps, from one root to the other. Pure.

use crate::{
    layout::Keep,
    loss::Lost,
    observe::Observed,
    order::start_order,
    record::Sysctls,
    step::{Configure, Direction, Inventory, Running, Step},
};
use host::docker::Network;
use idmap::IdMaps;
use std::path::{Path, PathBuf};

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
    /// Host uid and gid of container root under remap.
    pub ids: (u32, u32),
    /// What is done to the ids on the disk.
    pub maps: IdMaps,
    pub direction: Direction,
    pub keep: Keep,
    /// Everything is carried over; else left behind.
    pub in_place: bool,
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

impl Change<'_> {
    /// The trees whose ids have to be looked at before anything stops.
    pub fn shift(&self) -> Option<Shift> {
        self.in_place.then(|| Shift {
            engine_root: self.from.to_owned(),
            keep: self.keep.clone(),
            maps: self.maps.clone(),
            direction: self.direction,
        })
    }

    /// Guard, `first`, stop, convert, configure, start, see that all is well.
    pub fn steps(self, first: impl IntoIterator<Item = Step>, configure: Configure) -> Vec<Step> {
        let observed = self.now;
        let running = |observed: &Observed| -> Vec<_> {
            let order = start_order(&observed.containers).into_iter();
            order.map(Running::of).collect()
        };
        let (stops, starts) = (running(observed), running(self.observed));
        // Units that stop with the engine have to be started again after it.
        let dependents = observed.dependents.iter().map(|(unit, _)| unit);
        let units: Vec<_> = observed
            .active_units
            .iter()
            .chain(dependents)
            .cloned()
            .collect();
        let idle = observed.containers.iter();
        let idle = idle.filter(|container| container.state.status != "running");
        let idle: Vec<_> = idle.map(|container| container.id.clone()).collect();
        let guard = Step::Guard {
            needs: vec![observed.data_root.clone()],
        };
        let mut steps = vec![guard];
        steps.extend(first);
        steps.extend(self.stop(stops, idle.clone(), units.clone()));
        if self.direction == Direction::ToPlain {
            // The plain engine would follow them.
            steps.extend(self.set_compat_links());
        }
        if self.in_place {
            let aside = self.aside.clone();
            // Only what is in use has an engine, and networks.
            let is_in_use = self.now.remapped != self.observed.remapped;
            let networks = self.now.networks.iter().filter(|_| is_in_use);
            let bridges = networks.filter_map(Network::bridge).collect();
            steps.extend(aside.map(|(from, to)| Step::SetAside { from, to, bridges }));
            steps.extend(self.convert());
            steps.extend(self.set_host_mode());
            steps.extend(self.set_sysctls());
            if self.direction == Direction::ToRemapped {
                steps.extend(self.set_compat_links());
            }
        }
        steps.extend([
            Step::Configure(Box::new(configure)),
            Step::Release,
            Step::StartEngine {
                units,
                expected_root: self.to.to_owned(),
            },
        ]);
        if self.in_place {
            steps.extend(self.see(starts, idle));
        }
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

    /// The data itself, while nothing runs.
    fn convert(&self) -> [Step; 4] {
        let (from, to) = (self.from.to_owned(), self.to.to_owned());
        [
            Step::MoveRoot {
                from: from.clone(),
                to: to.clone(),
            },
            Step::Own {
                engine_root: to.clone(),
                data_root: self.observed.data_root.clone(),
                ids: self.ids,
                direction: self.direction,
            },
            Step::Shift {
                engine_root: to.clone(),
                maps: self.maps.clone(),
                keep: self.keep.clone(),
                direction: self.direction,
            },
            Step::RewriteContainers {
                engine_root: to.clone(),
                from,
                to,
            },
        ]
    }

    fn set_host_mode(&self) -> Option<Step> {
        (!self.host_mode.is_empty()).then(|| Step::SetHostMode {
            engine_root: self.to.to_owned(),
            containers: self.host_mode.clone(),
            host: self.direction == Direction::ToRemapped,
        })
    }

    fn set_compat_links(&self) -> Option<Step> {
        let make = self.direction == Direction::ToRemapped;
        (!self.compat_links.is_empty()).then(|| Step::CompatLinks {
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
            on: self.direction == Direction::ToPlain,
        })
    }

    fn see(&self, running: Vec<Running>, idle: Vec<String>) -> [Step; 2] {
        let observed = self.observed;
        let uid_start = match self.direction {
            Direction::ToRemapped => self.ids.0,
            Direction::ToPlain => 0,
        };
        [
            Step::VerifyInventory(Inventory::new(
                observed.images.clone(),
                &observed.containers,
                &observed.networks,
                &observed.volumes,
            )),
            Step::StartContainers {
                running,
                idle,
                uid_start,
            },
        ]
    }
}
