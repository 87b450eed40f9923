//! Which trees belong to the service, where they go, and what stands in the way.

use super::{Draft, resolved};
use crate::{
    observed::{Facts, Kind},
    units,
};
use host::podman;
use std::path::{Path, PathBuf};

/// A directory whose owners are translated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tree {
    pub before: PathBuf,
    pub after: PathBuf,
    /// Of a volume, by its name.
    pub volume: Option<String>,
}

/// The service's data.
#[derive(Debug, Default)]
pub struct Data {
    pub trees: Vec<Tree>,
}

impl Data {
    pub fn before(&self) -> Vec<PathBuf> {
        self.trees.iter().map(|tree| tree.before.clone()).collect()
    }

    pub fn after(&self) -> Vec<PathBuf> {
        self.trees.iter().map(|tree| tree.after.clone()).collect()
    }

    /// Those that do not stay where they are.
    pub fn moves(&self) -> Vec<(PathBuf, PathBuf)> {
        let moved = self.trees.iter().filter(|tree| tree.before != tree.after);
        moved
            .map(|tree| (tree.before.clone(), tree.after.clone()))
            .collect()
    }

    /// Whether a path is in one of them.
    pub fn covers(&self, path: &Path) -> bool {
        self.trees.iter().any(|tree| path.starts_with(&tree.before))
    }
}

/// Where nothing lasts, or nothing is an account's.
const NO_DATA: [&str; 5] = ["/run", "/proc", "/sys", "/dev", "/var/run"];

impl Draft<'_> {
    /// What the service has on disk, but for its images.
    pub(super) fn data(&mut self) -> Data {
        let mut data = Data::default();
        for path in self.candidates() {
            self.tree(&path, &mut data);
        }
        for name in self.volume_names() {
            self.volume_tree(&name, &mut data);
        }
        data.trees.sort();
        // What lies in another goes with it.
        let trees = data.trees.clone();
        data.trees.retain(|tree| {
            let is_outer =
                |other: &super::Tree| other != tree && tree.before.starts_with(&other.before);
            !trees.iter().any(is_outer)
        });
        data.trees.dedup_by(|one, other| one.before == other.before);
        self.check_sharing(&data);
        data
    }

    /// Paths that may be data: what the containers mount, what units name below the home, what the user names.
    fn candidates(&self) -> Vec<PathBuf> {
        let home = &self.observed.from.account.home;
        let mounted = self.texts().into_iter().flat_map(|text| text.mounted());
        let mut found: Vec<_> = mounted
            .map(|source| resolved(Path::new(&source), home))
            .filter(|path| path.is_absolute())
            .collect();
        let binds = self
            .containers
            .iter()
            .flat_map(|container| &container.mounts);
        let binds = binds.filter(|mount| mount.kind == "bind");
        found.extend(binds.map(|mount| mount.source.clone()));
        let below_home = |path: &PathBuf| path.starts_with(home) && path != home;
        found.extend(self.named_paths().into_iter().filter(below_home));
        found.extend(self.args.data_directories.iter().flatten().cloned());
        let from = &self.observed.from;
        let store = home.join(".local/share/containers");
        let settings = home.join(".config");
        found.retain(|path| {
            let elsewhere = |place: &str| path.starts_with(place);
            !NO_DATA.into_iter().any(elsewhere)
                && !path.starts_with(self.args.secrets_from())
                && ![&store, &from.store, &from.volumes_root]
                    .into_iter()
                    .any(|store| path.starts_with(store))
                && !path.starts_with(&settings)
        });
        found.sort();
        found.dedup();
        found
    }

    fn tree(&mut self, path: &Path, data: &mut Data) {
        let Some(facts) = self.observed.paths.get(path).cloned() else {
            return;
        };
        let wanted = self.args.data_directories.iter().flatten();
        let wanted = wanted.into_iter().any(|directory| directory == path);
        let shown = path.display();
        match facts.kind {
            Kind::Missing if wanted => self.refuse(format!("{shown} is not there")),
            Kind::Directory if wanted || self.is_ours(&facts) => self.directory(&facts, data),
            Kind::File if self.is_ours(&facts) => self.file(path, &facts),
            _ => {}
        }
    }

    fn directory(&mut self, facts: &Facts, data: &mut Data) {
        let (from, to) = (&self.observed.from.account, &self.observed.to.account);
        let before = facts.real.clone();
        let shown = before.display();
        if from.home.starts_with(&before) || self.observed.from.store.starts_with(&before) {
            return self.refuse(format!(
                "a container mounts {shown}, in which is all that {} has; mount what it needs of it",
                from.name
            ));
        }
        let after = match before.strip_prefix(&from.home) {
            Ok(below) => {
                let after = to.home.join(below);
                if let Some(reason) = self.stays(facts, &after) {
                    self.refuse(format!(
                        "{reason}: bring the data to a place outside of {}, where it can stay, first",
                        from.home.display()
                    ));
                }
                after
            }
            Err(_) => {
                if let Some(above) = &facts.blocked_by {
                    self.refuse(format!(
                        "{} would not reach {shown}: {} keeps others out; open it (chmod o+x), or bring the data to \
                         another place",
                        to.name,
                        above.display()
                    ));
                }
                before.clone()
            }
        };
        if facts.mode & 0o005 != 0 && before == after {
            self.warnings.push(format!(
                "every account of the host can look into {} (mode {:04o})",
                before.display(),
                facts.mode
            ));
        }
        data.trees.push(Tree {
            before,
            after,
            volume: None,
        });
    }

    /// A single file may be replaced under its name at any time: only directories can be data.
    fn file(&mut self, path: &Path, facts: &Facts) {
        let below_home = facts.real.starts_with(&self.observed.from.account.home);
        let named = self.args.data_directories.iter().flatten();
        let covered = named
            .into_iter()
            .any(|directory| path.starts_with(directory));
        let readable = facts.mode & 0o004 != 0 && facts.blocked_by.is_none();
        let writable = (self.containers.iter())
            .flat_map(|container| &container.mounts)
            .any(|mount| mount.source == path && mount.writable);
        if below_home && !writable || covered || readable && !writable {
            return;
        }
        self.refuse(format!(
            "a container mounts the single file {}, which is {}'s; name its directory in data_directories",
            path.display(),
            self.observed.from.account.name
        ));
    }

    pub(super) fn volume_names(&self) -> Vec<String> {
        let mounts = self
            .containers
            .iter()
            .flat_map(|container| &container.mounts);
        let mounts = mounts.filter(|mount| mount.kind == "volume" && !is_anonymous(&mount.name));
        let mut names: Vec<_> = mounts.map(|mount| mount.name.clone()).collect();
        let mounted = self.texts().into_iter().flat_map(|text| text.mounted());
        let named = mounted.filter(|source| !source.starts_with(['/', '%']));
        names.extend(named.map(|source| units::volume_name(&source, &self.files)));
        names.extend(self.args.volumes.iter().flatten().cloned());
        names.sort();
        names.dedup();
        names
    }

    fn volume_tree(&mut self, name: &str, data: &mut Data) {
        let (from, to) = (&self.observed.from, &self.observed.to);
        let (volume, taken) = match self.observed.volumes.get(name) {
            Some((Some(volume), taken)) => (volume.clone(), *taken),
            // It is made when it is first used.
            _ => return,
        };
        let after = to.volumes_root.join(name).join("_data");
        if taken {
            self.refuse(format!(
                "{} has a volume {name} already; remove it, or look what is in it",
                to.account.name
            ));
        }
        if volume.driver != "local" || volume.options.contains_key("device") {
            self.refuse(format!(
                "volume {name} of {} lies elsewhere (driver {}, options {:?}); make it by hand",
                from.account.name, volume.driver, volume.options
            ));
        }
        let facts = self.observed.paths.get(&volume.mountpoint).cloned();
        let facts = facts.filter(|facts| facts.kind == Kind::Directory);
        let Some(facts) = facts else {
            return self.refuse(format!(
                "volume {name} has no data in {}",
                volume.mountpoint.display()
            ));
        };
        if let Some(reason) = self.stays(&facts, &to.volumes_root) {
            self.refuse(format!(
                "volume {name}: {reason}: have {} keep its volumes on the same one (volume_path in {}, which \
                 Podman heeds at its first use, or after podman system reset), or mount a directory outside of the \
                 homes",
                to.account.name,
                to.account.home.join(".config/containers/containers.conf").display()
            ));
        }
        data.trees.push(Tree {
            before: facts.real,
            after,
            volume: Some(name.to_owned()),
        });
    }

    /// Why a directory cannot be renamed into a place.
    fn stays(&self, facts: &Facts, place: &Path) -> Option<String> {
        let real = facts.real.display();
        if let Some(mounted) = &facts.mounted {
            return Some(format!(
                "{} is mounted in {real}, which cannot go along",
                mounted.display()
            ));
        }
        let home = self.observed.paths.get(&self.observed.to.account.home);
        let there = self.observed.paths.get(place).or(home);
        let shown = place.display();
        let other = there.is_none_or(|there| there.mount != facts.mount);
        other.then(|| {
            format!(
                "{real} and {shown} are on different file systems, and nothing is renamed across"
            )
        })
    }

    pub(super) fn is_ours(&self, facts: &Facts) -> bool {
        self.maps.uid.to_host(facts.uid).is_some() || self.maps.gid.to_host(facts.gid).is_some()
    }

    /// What another container of the account uses too cannot be one service's alone.
    fn check_sharing(&mut self, data: &Data) {
        let own: Vec<_> = self
            .containers
            .iter()
            .map(|container| &container.id)
            .collect();
        let others: Vec<_> = (self.observed.containers.iter())
            .filter(|container| !own.contains(&&container.id))
            .cloned()
            .collect();
        for other in &others {
            for mount in &other.mounts {
                let overlaps = |tree: &&Tree| {
                    mount.source.starts_with(&tree.before) || tree.before.starts_with(&mount.source)
                };
                if let Some(tree) = data.trees.iter().find(overlaps) {
                    self.refuse(format!(
                        "container {} of {} mounts {} too; move both in one (units)",
                        other.name,
                        self.observed.from.account.name,
                        tree.before.display()
                    ));
                }
            }
            self.check_networks(other);
        }
    }

    fn check_networks(&mut self, other: &podman::Container) {
        for container in self.containers.clone() {
            let shared = (container.network_settings.networks.keys()).find(|name| {
                !is_default(name) && other.network_settings.networks.contains_key(*name)
            });
            if let Some(network) = shared {
                self.refuse(format!(
                    "containers {} and {} talk over network {network}, which no two accounts can share; move both in \
                     one (units)",
                    container.name, other.name
                ));
            }
        }
    }
}

/// Podman makes these itself.
pub(super) fn is_default(network: &str) -> bool {
    ["podman", "pasta", "slirp4netns", "host", "none", "bridge"].contains(&network)
}

/// Goes with its container.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
