//! How each bind mount is prepared for remapped containers, and what cannot be. Pure.

use super::left;
use crate::{
    args::{Args, How, Others, Wish},
    device::{self, Device},
    observed::{Observed, Tree},
    record::{BindMount, Prepared},
    verdict::{self, Finding, Strategy, Verdict},
    workload::{MountKind, Workload},
};
use host::docker::Volume;
use idmap::IdMaps;
use std::path::{Path, PathBuf};
use trees::{guard, idmapped};

/// The name of the executable that the mounts' units call.
const EXECUTABLE: &str = "userns_remap.mount";

/// What was decided, and what not.
#[derive(Debug, Default)]
pub struct Decided {
    pub mounts: Vec<(BindMount, Wish)>,
    pub refusals: Vec<String>,
    pub warnings: Vec<String>,
}

/// A place that containers mount.
struct Use<'o> {
    path: &'o Path,
    /// None where it is a volume's device.
    by: Option<&'o Workload>,
}

/// What all decisions look at.
struct Room<'o> {
    observed: &'o Observed,
    uses: Vec<Use<'o>>,
    /// The names of containers that stay in the host's user namespace.
    on_host: Vec<String>,
    maps: &'o IdMaps,
}

/// What is made of each bind mount when containers get `maps`. What was `found` of those that are named, or decided
/// here, is taken out: only the others are left to tell.
pub fn decide(
    args: &Args,
    observed: &Observed,
    workloads: &[Workload],
    maps: &IdMaps,
    found: &mut [(&Workload, Vec<Finding>)],
) -> Decided {
    let room = Room {
        observed,
        uses: uses(observed, workloads),
        on_host: verdict::bound(workloads),
        maps,
    };
    let mut decided = Decided::default();
    for (name, wish) in &args.bind_mounts {
        match room.named(name, *wish, &mut decided.warnings) {
            Ok(mount) => decided.mounts.push((mount, *wish)),
            Err(refusal) => decided.refusals.push(refusal),
        }
    }
    room.others(args.other_bind_mounts, found, &mut decided);
    decided.refusals.extend(nested(&decided.mounts));
    decided
}

fn uses<'o>(observed: &'o Observed, workloads: &'o [Workload]) -> Vec<Use<'o>> {
    let resolved = |path: &Path| observed.trees.get(path).map(|tree| tree.path.as_path());
    let of = |workload: &'o Workload| {
        let mounts = workload.mounts.iter();
        let binds = mounts.filter(|mount| mount.kind == MountKind::Bind);
        binds.filter_map(move |mount| {
            Some(Use {
                path: resolved(Path::new(&mount.source))?,
                by: Some(workload),
            })
        })
    };
    let devices = observed
        .volumes
        .iter()
        .filter_map(|volume| match device::of(volume)? {
            Device::Bind(path) => Some(Use {
                path: resolved(path)?,
                by: None,
            }),
            _ => None,
        });
    workloads.iter().flat_map(of).chain(devices).collect()
}

impl<'o> Room<'o> {
    fn named(
        &self,
        name: &str,
        wish: Wish,
        warnings: &mut Vec<String>,
    ) -> Result<BindMount, String> {
        let is_volume = |volume: &Volume| match device::of(volume) {
            Some(Device::Bind(_)) => volume.name == name,
            Some(Device::Other(_, device)) => volume.name == name || device == name,
            Some(Device::Memory) | None => false,
        };
        if self.observed.volumes.iter().any(is_volume) {
            return match wish.strategy {
                How::Leave => Ok(left(name)),
                _ => Err(format!(
                    "bind_mounts: {name} is no path of this host but a volume's name or device; it can only be \
                     left (leave), or its device be named"
                )),
            };
        }
        if !name.starts_with('/') {
            return Err(format!(
                "bind_mounts: {name} is neither an absolute path nor a volume with a device"
            ));
        }
        let tree = self.observed.trees.get(Path::new(name));
        let tree = tree.ok_or_else(|| format!("bind_mounts: {name} does not exist"))?;
        let how = match wish.strategy {
            How::Auto => self.recommended(name, tree, warnings),
            how => how,
        };
        self.prepare(tree, how, wish)
    }

    /// What is best for a path, whether its own owner suits remapped containers or not: what is in it may not.
    fn recommended(&self, name: &str, tree: &Tree, warnings: &mut Vec<String>) -> How {
        let source = self.observed.facts.sources.get(Path::new(name));
        let source = source.cloned().unwrap_or_default();
        let strategy = verdict::recommended(&tree.path, &source);
        warnings.extend(self.about(tree, strategy, &source));
        how(strategy)
    }

    /// What an operator should know of a strategy that was chosen for him.
    fn about(&self, tree: &Tree, strategy: Strategy, source: &verdict::Source) -> Option<String> {
        let path = tree.path.display();
        match strategy {
            Strategy::Leave => Some(format!(
                "{path} is the system's and is left as it is: containers may be denied what is in it"
            )),
            Strategy::Idmap if source.in_git || !source.users.is_empty() => Some(format!(
                "{path} is used on the host too, where root can read, overwrite and delete in it, but make nothing \
                 new while it is shown with other owners; volume_rechown with a mount_at lets it"
            )),
            _ => None,
        }
    }

    fn prepare(&self, tree: &Tree, how: How, wish: Wish) -> Result<BindMount, String> {
        let path = &tree.path;
        let prepared = match how {
            How::Leave => Prepared::Leave,
            How::Idmap => Prepared::Idmap(idmapped::Record {
                path: path.clone(),
                mount_at: path.clone(),
                maps: self.maps.clone(),
                services: vec!["docker.service".to_owned()],
                executable: EXECUTABLE.to_owned(),
            }),
            How::Shift | How::Auto => Prepared::Shift(wish.policy()),
        };
        if prepared != Prepared::Leave {
            self.check(tree, &prepared, wish)?;
        }
        Ok(BindMount {
            path: path.clone(),
            prepared,
        })
    }

    /// Refuses what would be wrong for somebody.
    fn check(&self, tree: &Tree, prepared: &Prepared, wish: Wish) -> Result<(), String> {
        let path = &tree.path;
        let shown = path.display();
        guard::check_path(path, &self.observed.homes, wish.allow_dangerous_path)
            .map_err(|refusal| format!("{refusal}, or leave it"))?;
        let root = &self.observed.data_root;
        if path.starts_with(root) || root.starts_with(path) {
            return Err(format!(
                "{shown} lies in the engine's data root, or holds it"
            ));
        }
        if let Some(done) = tree.done {
            return Err(format!(
                "{shown} {done} already; take that back first (volume_rechown with state=restored), or leave it"
            ));
        }
        if matches!(prepared, Prepared::Shift(_)) && !tree.is_directory {
            return Err(format!(
                "{shown} is a single file, which is not shifted; use idmap, or mount and name its directory"
            ));
        }
        let mut inside = self
            .uses
            .iter()
            .filter(|used| used.path.starts_with(path))
            .peekable();
        if inside.peek().is_none() {
            return Err(format!(
                "bind_mounts names {shown}, but no container mounts it, or anything in it"
            ));
        }
        let by = inside.filter_map(|used| used.by);
        let mut on_host = by.filter(|workload| self.on_host.contains(&workload.name));
        on_host.next().map_or(Ok(()), |workload| {
            Err(format!(
                "{shown} is mounted by {} too, which stays in the host's user namespace and would see the owners of \
                 remapped containers; give each a directory of its own, or show it to the others elsewhere \
                 (volume_rechown with strategy=idmap and mount_at) and leave it here",
                workload.name
            ))
        })
    }

    /// What is not named: told, refused or decided.
    fn others(
        &self,
        others: Others,
        found: &mut [(&Workload, Vec<Finding>)],
        decided: &mut Decided,
    ) {
        let mut tried: Vec<PathBuf> = vec![];
        let mut all: Vec<_> = found
            .iter_mut()
            .flat_map(|(workload, findings)| {
                let taken = std::mem::take(findings);
                let (ours, rest): (Vec<_>, Vec<_>) = taken.into_iter().partition(is_ours);
                *findings = rest;
                ours.into_iter().map(|finding| (*workload, finding))
            })
            .collect();
        // What lies in a directory comes after it.
        all.sort_by(|one, other| one.1.path.cmp(&other.1.path));
        for (workload, finding) in all {
            let Some(path) = &finding.path else { continue };
            let tree = self.observed.trees.get(path);
            let path = tree.map_or(path, |tree| &tree.path);
            let covered = decided.mounts.iter().any(|(mount, _)| mount.covers(path));
            if covered || tried.contains(path) {
                continue;
            }
            let text = finding.of(workload);
            match (others, tree) {
                (Others::Warn, _) => decided.warnings.push(text),
                (Others::Auto, Some(tree)) => {
                    tried.push(tree.path.clone());
                    self.choose(tree, &finding, decided);
                }
                (Others::Refuse | Others::Auto, _) => decided.refusals.push(text),
            }
        }
    }

    fn choose(&self, tree: &Tree, finding: &Finding, decided: &mut Decided) {
        let source = (finding.path.as_ref()).and_then(|path| self.observed.facts.sources.get(path));
        let source = source.cloned().unwrap_or_default();
        let strategy = verdict::recommended(&tree.path, &source);
        decided.warnings.extend(self.about(tree, strategy, &source));
        let wish = Wish::default();
        match self.prepare(tree, how(strategy), wish) {
            Ok(mount) => decided.mounts.push((mount, wish)),
            Err(refusal) => decided
                .refusals
                .push(format!("{refusal} (name it in bind_mounts)")),
        }
    }
}

fn is_ours(finding: &Finding) -> bool {
    matches!(
        finding.verdict,
        Verdict::NeedsBindMountPrepared | Verdict::SecretUnreadable
    )
}

fn how(strategy: Strategy) -> How {
    match strategy {
        Strategy::Shift => How::Shift,
        Strategy::Idmap => How::Idmap,
        Strategy::Leave => How::Leave,
    }
}

/// What lies in another that is changed would be changed twice, or against its own strategy.
fn nested(mounts: &[(BindMount, Wish)]) -> Vec<String> {
    let mut found = vec![];
    let all = || mounts.iter().map(|(mount, _)| mount).enumerate();
    for (at, outer) in all().filter(|(_, mount)| mount.prepared != Prepared::Leave) {
        let inner =
            all().filter(|(other, mount)| *other != at && mount.path.starts_with(&outer.path));
        found.extend(inner.map(|(_, inner)| {
            format!(
                "bind mounts: {} lies in {}; name only one of them",
                inner.path.display(),
                outer.path.display()
            )
        }));
    }
    found
}

#[cfg(test)]
mod tests;
