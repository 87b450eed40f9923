//! The bind mounts of remapped containers: what was made of each, there and back. Pure.

pub mod decide;

use crate::{
    args::{Args, How, Others, Wish},
    device::{self, Device},
    observed::Observed,
    record::{BindMount, Prepared},
    step::{Direction, Step},
};
use host::docker::Volume;
use idmap::IdMaps;
use rechown::{OutsideLinks, Policy, Unknown};
use std::path::Path;

/// What is to be prepared, or given back.
#[derive(Debug, Clone)]
pub struct Binds {
    pub mounts: Vec<(BindMount, Wish)>,
    /// What is done to the ids on the disk.
    pub maps: IdMaps,
    pub direction: Direction,
}

impl BindMount {
    /// Whether nothing is left to decide of a path. What lies in a directory is prepared with it, but not left with
    /// it: who leaves a monitor's `/` has said nothing of what others mount.
    fn covers(&self, path: &Path) -> bool {
        path == self.path || self.prepared != Prepared::Leave && path.starts_with(&self.path)
    }
}

impl Prepared {
    /// The strategy's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shift(_) => "shift",
            Self::Idmap(_) => "idmap",
            Self::Leave => "leave",
        }
    }
}

impl Binds {
    /// Those that are touched.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let touched = (self.mounts.iter()).filter(|(mount, _)| mount.prepared != Prepared::Leave);
        touched.map(|(mount, _)| mount.path.as_path())
    }

    /// By which a tree is looked at before anything stops; none for what is not shifted.
    pub fn survey_policy(&self, path: &Path) -> Option<Policy> {
        let mut mounts = self.mounts.iter();
        let (mount, _) = mounts.find(|(mount, _)| mount.path == path)?;
        let Prepared::Shift(policy) = mount.prepared else {
            return None;
        };
        Some(match self.direction {
            Direction::ToRemapped => policy,
            // As for the data root: on the way back there are files that the host itself wrote.
            Direction::ToPlain | Direction::Between => Policy {
                strays: self.direction.policy().strays,
                outside_links: OutsideLinks::Shift,
                ..policy
            },
        })
    }

    /// What the record keeps of them.
    pub fn recorded(&self) -> Vec<BindMount> {
        self.mounts.iter().map(|(mount, _)| mount.clone()).collect()
    }

    pub fn steps(&self) -> Vec<Step> {
        let step = |(at, (mount, _)): (usize, &(BindMount, Wish))| match &mount.prepared {
            Prepared::Leave => None,
            Prepared::Idmap(record) => Some(Step::ShowBindMount {
                record: record.clone(),
                visible: self.direction == Direction::ToRemapped,
            }),
            Prepared::Shift(_) => Some(Step::ShiftBindMount {
                path: mount.path.clone(),
                maps: self.maps.clone(),
                policy: self.shift_policy(&mount.path)?,
                journal: format!("bind-{at}"),
            }),
        };
        self.mounts.iter().enumerate().filter_map(step).collect()
    }

    /// The survey has refused ids outside the map; what came since is the host's.
    fn shift_policy(&self, path: &Path) -> Option<Policy> {
        let policy = self.survey_policy(path)?;
        Some(match self.direction {
            Direction::ToRemapped => policy,
            Direction::ToPlain | Direction::Between => Policy {
                unmapped: Unknown::Keep,
                ..policy
            },
        })
    }
}

/// Volumes whose data lies outside the data root, unless something is decided of it. `decided` is what this change
/// does, or what an earlier one did; `others` is what is done without being named.
pub fn volumes<'m>(
    observed: &Observed,
    decided: impl Iterator<Item = &'m BindMount> + Clone,
    others: Others,
) -> Vec<String> {
    let covers = |name: &Path| decided.clone().any(|mount| mount.covers(name));
    let refusal = |volume: &Volume| {
        let name = &volume.name;
        if covers(Path::new(name)) {
            return None;
        }
        match device::of(volume)? {
            Device::Memory => None,
            Device::Bind(path) => {
                let tree = observed.trees.get(path).map_or(path, |tree| &tree.path);
                if tree.starts_with(&observed.data_root) {
                    return Some(format!("volume {name} is mounted from {}, a path of the data root, which moves", path.display()));
                }
                let fine = others == Others::Auto || covers(tree);
                (!fine).then(|| format!("volume {name} is mounted from {}, outside the data root; name that in bind_mounts", path.display()))
            }
            Device::Other(kind, device) => {
                (!covers(Path::new(device))).then(|| format!("volume {name} is mounted from {device} ({kind}), which is not this host's alone; {}, and then name {device} in bind_mounts as leave", device::remedy(kind)))
            }
        }
    };
    observed.volumes.iter().filter_map(refusal).collect()
}

/// What an engine that is remapped already does not have as it is asked for. Nothing can be prepared there: its
/// containers run.
pub fn settled(args: &Args, observed: &Observed) -> Vec<String> {
    let recorded = observed
        .record
        .iter()
        .flat_map(|record| &record.bind_mounts);
    let refusal = |(name, wish): (&String, &Wish)| {
        let tree = observed.trees.get(Path::new(name));
        let path = tree.map_or(Path::new(name), |tree| &tree.path);
        let is_done = tree.is_some_and(|tree| tree.done.is_some());
        match (
            recorded.clone().find(|mount| mount.path == path),
            wish.strategy,
        ) {
            (Some(_), How::Auto) | (None, How::Leave) => None,
            (Some(mount), How::Shift) if matches!(mount.prepared, Prepared::Shift(_)) => None,
            (Some(mount), How::Idmap) if matches!(mount.prepared, Prepared::Idmap(_)) => None,
            (Some(mount), How::Leave) if mount.prepared == Prepared::Leave => None,
            (Some(mount), _) => Some(format!(
                "{name} was prepared with {} when the engine was remapped; disable that first",
                mount.prepared.name()
            )),
            (None, _) if is_done => None,
            (None, _) => Some(format!(
                "the engine runs remapped already, without {name} having been prepared; stop the containers that \
                 mount it, and use volume_rechown with from engine=host and to engine=docker"
            )),
        }
    };
    args.bind_mounts.iter().filter_map(refusal).collect()
}

/// What goes along from one range to another, by `maps`, and a refusal for what cannot.
pub fn between(observed: &Observed, maps: IdMaps) -> (Binds, Vec<String>) {
    let recorded = observed
        .record
        .iter()
        .flat_map(|record| &record.bind_mounts);
    let shown = recorded
        .clone()
        .filter(|mount| matches!(mount.prepared, Prepared::Idmap(_)));
    let refusals = shown.map(|mount| {
        format!(
            "{} is shown by an idmapped mount of the ids in use; disable that first",
            mount.path.display()
        )
    });
    let binds = Binds {
        mounts: recorded
            .clone()
            .map(|mount| (mount.clone(), Wish::default()))
            .collect(),
        maps,
        direction: Direction::Between,
    };
    (binds, refusals.collect())
}

/// What is given back on the way to plain, and warnings of what is not there any more.
pub fn back(observed: &Observed, maps: &IdMaps) -> (Binds, Vec<String>) {
    let recorded = observed
        .record
        .iter()
        .flat_map(|record| &record.bind_mounts);
    let gone = |mount: &&BindMount| {
        matches!(mount.prepared, Prepared::Shift(_)) && !observed.trees.contains_key(&mount.path)
    };
    let warnings = recorded.clone().filter(gone).map(|mount| {
        format!(
            "{} was shifted and is gone; it is not given back",
            mount.path.display()
        )
    });
    let binds = Binds {
        mounts: (recorded.clone())
            .filter(|mount| !gone(mount))
            .map(|mount| (mount.clone(), Wish::default()))
            .collect(),
        maps: maps.clone(),
        direction: Direction::ToPlain,
    };
    (binds, warnings.collect())
}

/// What the operator leaves alone, as volumes are looked at on the way back.
pub fn left_alone(args: &Args) -> Vec<BindMount> {
    let named = args.bind_mounts.iter();
    let leave = named.filter(|(_, wish)| wish.strategy == How::Leave);
    leave.map(|(name, _)| left(name)).collect()
}

fn left(name: &str) -> BindMount {
    BindMount {
        path: name.into(),
        prepared: Prepared::Leave,
    }
}
