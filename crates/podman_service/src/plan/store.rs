//! What the new account's store has to have before the service stops: images, networks, secrets, volumes.

use super::{Data, Draft, data::is_default};
use crate::{
    args::Images,
    step::{NewVolume, Own, Use, What},
    unit_text::UnitText,
    units::UnitFile,
};
use std::{collections::BTreeSet, path::Path};

impl Draft<'_> {
    pub(super) fn store(&mut self) {
        self.logins();
        self.images();
        self.networks();
        self.secrets();
    }

    /// Of the registries that its images come from.
    fn logins(&mut self) {
        let (old, new) = &self.observed.logins;
        let names = self.image_names();
        let used = |key: &&String| names.iter().any(|name| is_for(key, name));
        let registries: Vec<_> = (old.difference(new)).filter(used).cloned().collect();
        if !registries.is_empty() {
            self.steps.push(What::Login { registries });
        }
    }

    /// By the name that the containers asked for; those that only units name are not in use yet.
    fn image_names(&self) -> BTreeSet<String> {
        let of_containers = self
            .containers
            .iter()
            .map(|container| container.image_name.clone());
        let mut names: BTreeSet<_> = of_containers.filter(|name| !name.is_empty()).collect();
        for text in self.texts() {
            for name in text.images() {
                let id = |name: &str| {
                    let image = self.observed.images.get(name);
                    image.and_then(|(image, _)| Some(image.as_ref()?.id.clone()))
                };
                // A short name of one that is there under its whole name.
                let known = id(name).is_some() && names.iter().any(|other| id(other) == id(name));
                if !known {
                    names.insert(name.to_owned());
                }
            }
        }
        names
    }

    fn images(&mut self) {
        for name in self.image_names() {
            let (old, new) = self.observed.images.get(&name).cloned().unwrap_or_default();
            let pull = self.args.images == Images::Pull && !name.starts_with("localhost/");
            match (&old, &new) {
                (Some(old), Some(new)) if old.id == new.id => continue,
                (None, _) if !pull => {
                    self.refuse(format!(
                        "{} has no image {name}",
                        self.observed.from.account.name
                    ));
                    continue;
                }
                (_, Some(_)) if !pull => {
                    self.refuse(format!(
                        "{} has another image named {name}; remove it",
                        self.observed.to.account.name
                    ));
                    continue;
                }
                _ => {}
            }
            if name.contains("@sha256:") && !pull {
                self.refuse(format!(
                    "image {name} is named by its digest, which does not outlast the way from store to store: \
                     images=pull, or name it by a tag"
                ));
                continue;
            }
            self.steps.push(What::Image { name, pull });
        }
    }

    /// Those that the service found made; its own quadlets make theirs.
    fn networks(&mut self) {
        let own = own_networks(&self.files);
        let of_containers = self.containers.iter();
        let names: BTreeSet<_> = of_containers
            .flat_map(|container| container.network_settings.networks.keys())
            .filter(|name| !is_default(name) && !own.contains(name))
            .cloned()
            .collect();
        for name in names {
            match self.observed.networks.get(&name).cloned() {
                Some((Some(old), Some(new))) if !new.is_like(&old) => self.refuse(format!(
                    "{} has another network named {name}; remove it",
                    self.observed.to.account.name
                )),
                Some((Some(old), None)) => self.steps.push(What::Network(old)),
                _ => {}
            }
        }
    }

    fn secrets(&mut self) {
        let names: BTreeSet<_> = (self.texts().into_iter())
            .flat_map(|text| text.secrets())
            .collect();
        for name in names {
            match self.observed.secrets.get(&name) {
                Some((true, false)) => self.steps.push(What::Secret { name }),
                Some((true, true)) => self.refuse(format!(
                    "{} has a secret {name} of Podman's already; remove it",
                    self.observed.to.account.name
                )),
                _ => self.refuse(format!(
                    "{} has no secret {name} of Podman's, which a unit names",
                    self.observed.from.account.name
                )),
            }
        }
    }

    pub(super) fn volumes(&mut self, data: &Data) {
        let names = data.trees.iter().filter_map(|tree| tree.volume.clone());
        for name in names {
            let volume = self.observed.volumes.get(&name);
            let labels = volume.and_then(|(volume, _)| Some(volume.as_ref()?.labels.clone()));
            let mounts = self.containers.iter().flat_map(|container| {
                let mounts = container.mounts.iter().map(move |mount| (container, mount));
                mounts.filter(|(_, mount)| mount.kind == "volume" && mount.name == name)
            });
            let use_once = mounts.into_iter().next().map(|(container, mount)| Use {
                image: container.image_name.clone(),
                program: match container.path.is_empty() {
                    true => "/".to_owned(),
                    false => container.path.clone(),
                },
                destination: mount.destination.clone(),
            });
            self.steps.push(What::Volume(NewVolume {
                name,
                labels: labels.unwrap_or_default(),
                use_once: use_once.filter(|how| Path::new(&how.destination).is_absolute()),
            }));
        }
    }
}

/// What units make by themselves.
pub fn own(files: &[&UnitFile]) -> Own {
    let texts = files.iter().map(|file| UnitText::parse(&file.text));
    Own {
        units: files.iter().map(|file| file.service()).collect(),
        containers: texts
            .flat_map(|text| text.container_names().collect::<Vec<_>>())
            .collect(),
        networks: own_networks(files),
    }
}

/// The networks that quadlets make.
fn own_networks(files: &[&UnitFile]) -> Vec<String> {
    let quadlets = files.iter().filter(|file| !file.is_drop_in());
    let named = quadlets.filter_map(|file| {
        let stem = file.unit().strip_suffix(".network")?;
        let text = UnitText::parse(&file.text);
        let given = text.last("Network", "NetworkName").map(str::to_owned);
        Some(given.unwrap_or_else(|| format!("systemd-{stem}")))
    });
    named.collect()
}

/// Whether credentials that stand under `key` are for an image, containers-auth.json(5): for its registry, or for a
/// repository and those below it.
fn is_for(key: &str, image: &str) -> bool {
    // As Docker writes it: https://index.docker.io/v1/.
    let key = match key.strip_prefix("https://").or(key.strip_prefix("http://")) {
        Some(address) => address.split('/').next().unwrap_or_default(),
        None => key,
    };
    let key = if key == "index.docker.io" {
        "docker.io"
    } else {
        key
    };
    let Some(rest) = image.strip_prefix(key) else {
        return false;
    };
    // In a registry's own name a colon is its port's.
    let ends: &[char] = if key.contains('/') {
        &['/', ':', '@']
    } else {
        &['/']
    };
    rest.is_empty() || rest.starts_with(ends)
}

#[cfg(test)]
mod tests {
    use super::is_for;

    #[test]
    fn credentials_are_for_their_registry_or_repository_alone() {
        for (key, image) in [
            ("quay.io", "quay.io/a/b:1"),
            ("quay.io/a", "quay.io/a/b@sha256:00"),
            ("quay.io/a/b", "quay.io/a/b:1"),
            ("localhost:5000", "localhost:5000/a"),
            ("https://index.docker.io/v1/", "docker.io/library/a:1"),
        ] {
            assert!(is_for(key, image), "{key} {image}");
        }
        for (key, image) in [
            ("quay.io", "quay.io.example/a"),
            ("quay.io/a", "quay.io/ab/c"),
            ("localhost", "localhost:5000/a"),
            ("localhost:500", "localhost:5000/a"),
            ("https://index.docker.io/v1/", "quay.io/a"),
        ] {
            assert!(!is_for(key, image), "{key} {image}");
        }
    }
}
