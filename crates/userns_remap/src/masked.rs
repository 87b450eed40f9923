//! The data of a plain engine that has been remapped by hand: it lies where it was, out of the engine's sight. Read
//! from the disk, and shown as the plain engine would show it.

use crate::{
    data_root, facts, layout,
    observed::{Entry, Masked, Observed},
    refuse,
    verdict::Facts,
    workload::Workload,
};
use anyhow::{Context, Result};
use host::{
    docker::{Container, Volume},
    files,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What is masked in the plain root; `None` where that holds no container, image or volume.
pub fn read(data_root: &Path, root: &[Entry]) -> Result<Option<Masked>> {
    let containers = containers(data_root)?;
    let (images, volumes) = (layout::images(data_root)?, volumes(data_root)?);
    if containers.is_empty() && images.is_empty() && volumes.is_empty() {
        return Ok(None);
    }
    let workloads: Vec<_> = containers.iter().map(Workload::of_container).collect();
    Ok(Some(Masked {
        images,
        volumes,
        plugins: layout::names(&data_root.join("plugins"))?
            .into_iter()
            .filter(|name| layout::is_id(name))
            .collect(),
        in_swarm: root
            .iter()
            .any(|entry| entry.name == "swarm" && !entry.empty),
        irregular: data_root::irregular(data_root)?,
        layers: data_root::layers(data_root, &containers),
        facts: facts::gather(&workloads, &containers, data_root)?,
        containers,
    }))
}

impl Masked {
    /// The host as it was with the plain engine on this data, its networks unknown.
    pub fn unmasked(&self, observed: &Observed) -> Observed {
        let mut plain = Observed {
            remapped: None,
            containers: self.containers.clone(),
            images: self.images.clone(),
            volumes: self.volumes.clone(),
            networks: vec![],
            plugins: self.plugins.clone(),
            irregular: self.irregular.clone(),
            layers: self.layers.clone(),
            facts: Facts {
                sysctls: observed.facts.sysctls.clone(),
                ..self.facts.clone()
            },
            masked: None,
            ..observed.clone()
        };
        plain.info.docker_root_dir.clone_from(&observed.data_root);
        if self.in_swarm {
            "active".clone_into(&mut plain.info.swarm.local_node_state);
        }
        plain
    }

    /// What masks a plain host.
    #[cfg(test)]
    pub fn of(plain: Observed) -> Self {
        Self {
            containers: plain.containers,
            images: plain.images,
            volumes: plain.volumes,
            plugins: plain.plugins,
            in_swarm: false,
            irregular: plain.irregular,
            layers: plain.layers,
            facts: plain.facts,
        }
    }

    /// What to do with it.
    pub fn out_of_sight(&self, observed: &Observed) -> String {
        format!(
            "{} holds {} that are out of the engine's sight, of an earlier attempt most likely; masked_data=adopt \
             carries them over in place of what the engine has now",
            observed.data_root.display(),
            self.counts()
        )
    }

    /// In words.
    pub fn counts(&self) -> String {
        format!(
            "{} containers, {} images and {} volumes",
            self.containers.len(),
            self.images.len(),
            self.volumes.len()
        )
    }
}

/// Where to put what is in the way of a root that shall be `target`, if it may be set aside; else the refusal.
pub fn make_way(
    observed: &Observed,
    target: &Path,
    may_set_aside: bool,
    stamp: &str,
) -> (Option<PathBuf>, Option<String>) {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let inside = observed.remapped_roots.get(&*name).into_iter().flatten();
    match refuse::occupied(inside, target) {
        Some(_) if may_set_aside => (
            Some(target.with_file_name(layout::aside(&name, stamp))),
            None,
        ),
        occupied => (
            None,
            occupied.map(|said| format!("{said}; or set it aside with masked_data=set_aside")),
        ),
    }
}

/// That a root leaves the engine's sight, with the containers on it.
pub fn set_aside(now: &Observed, aside: &Path) -> String {
    let on_it = match now.remapped {
        Some(_) => format!(
            ", with {} containers, {} images and {} volumes",
            now.containers.len(),
            now.images.len(),
            now.volumes.len()
        ),
        None => String::new(),
    };
    format!(
        "what is in the way is set aside as {}{on_it}; nothing deletes it",
        aside.display()
    )
}

/// Every container that the engine would load from a root.
fn containers(root: &Path) -> Result<Vec<Container>> {
    let mut found = vec![];
    for directory in layout::directories(&root.join("containers"), |_| false)? {
        let (config, host_config) = (
            directory.join("config.v2.json"),
            directory.join("hostconfig.json"),
        );
        // What was cut off while it was made or removed: the engine passes it over.
        let (Some(config), Some(host_config)) = (json_of(&config)?, json_of(&host_config)?) else {
            continue;
        };
        let context = || format!("{} does not read as a container", directory.display());
        found.push(container(&config, &host_config).with_context(context)?);
    }
    Ok(found)
}

/// The engine's two files of a container, as it would inspect it. Whoever comes back with the engine by its restart
/// policy, or would be removed then, counts as running.
fn container(config: &Value, host_config: &Value) -> Result<Container> {
    let policy = host_config["RestartPolicy"]["Name"]
        .as_str()
        .unwrap_or_default();
    let stopped_by_hand = config["HasBeenManuallyStopped"] == true;
    let comes_back = policy == "always" || policy == "unless-stopped" && !stopped_by_hand;
    let up = comes_back || host_config["AutoRemove"] == true;
    let mounts: Vec<_> = config["MountPoints"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, point)| point)
        .collect();
    let inspected = json!({
        "Id": config["ID"], "Name": config["Name"], "Image": config["Image"], "Config": config["Config"],
        "State": {"Status": if up { "running" } else { "exited" }, "Pid": 0},
        "HostConfig": host_config, "Mounts": mounts,
    });
    Ok(serde_json::from_value(inspected)?)
}

/// Those of the driver `local`; others keep their data elsewhere.
fn volumes(root: &Path) -> Result<Vec<Volume>> {
    let volume = |path: PathBuf| {
        let options = json_of(&path.join("opts.json"))?.unwrap_or_default();
        let device = options["MountDevice"]
            .as_str()
            .filter(|device| !device.is_empty());
        Ok(Volume {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            driver: "local".to_owned(),
            options: device
                .map(|device| BTreeMap::from([("device".to_owned(), device.to_owned())])),
        })
    };
    let directories = layout::directories(&root.join("volumes"), |_| false)?;
    directories.into_iter().map(volume).collect()
}

fn json_of(path: &Path) -> Result<Option<Value>> {
    let Some(bytes) = files::read_optional(path)? else {
        return Ok(None);
    };
    let context = || format!("{} is not JSON", path.display());
    serde_json::from_slice(&bytes)
        .with_context(context)
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::remapped;
    use std::fs;

    fn status(policy: &str, stopped_by_hand: bool, auto_remove: bool) -> String {
        let config = json!({
            "ID": "1", "Name": "/web", "Image": "sha256:2", "Config": {"Labels": {}},
            "HasBeenManuallyStopped": stopped_by_hand, "State": {"Running": false},
            "MountPoints": {"/data": {"Type": "volume", "Name": "v", "Source": "/r/volumes/v/_data", "RW": true}},
        });
        let host_config = json!({"RestartPolicy": {"Name": policy}, "AutoRemove": auto_remove});
        let found = container(&config, &host_config).unwrap();
        assert_eq!(
            (found.name(), found.mounts[0].name.as_deref()),
            ("web", Some("v"))
        );
        found.state.status
    }

    #[test]
    fn what_its_restart_policy_brings_back_counts_as_running() {
        assert_eq!(status("always", true, false), "running");
        assert_eq!(status("unless-stopped", false, false), "running");
        assert_eq!(status("unless-stopped", true, false), "exited");
        assert_eq!(status("no", false, false), "exited");
        assert_eq!(status("", false, true), "running");
    }

    #[test]
    fn a_root_is_read_as_its_engine_would_show_it() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        assert!(read(root, &[]).unwrap().is_none());
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("image/overlay2/imagedb/content/sha256/12", "{}");
        write(
            "containers/34/config.v2.json",
            r#"{"ID": "34", "Name": "/a", "Image": "sha256:12", "Config": {}}"#,
        );
        write("containers/34/hostconfig.json", "{}");
        write("containers/56/half", "");
        write(
            "volumes/far/opts.json",
            r#"{"MountType": "none", "MountDevice": "/srv/far"}"#,
        );
        write("volumes/near/_data/file", "");
        write("volumes/metadata.db", "");
        write("image/overlay2/layerdb/mounts/34/mount-id", "layer");
        let masked = read(root, &[]).unwrap().unwrap();
        assert_eq!(masked.counts(), "1 containers, 1 images and 2 volumes");
        let plain = masked.unmasked(&remapped());
        assert_eq!(
            (plain.remapped, plain.images),
            (None, vec!["sha256:12".to_owned()])
        );
        assert_eq!(plain.layers["34"], "layer");
        assert_eq!(
            plain.volumes[0].options.as_ref().unwrap()["device"],
            "/srv/far"
        );
        assert_eq!(
            (plain.volumes[1].name.as_str(), &plain.volumes[1].options),
            ("near", &None)
        );
    }

    #[test]
    fn a_container_that_cannot_be_read_is_an_error_that_names_it() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("containers/34");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config.v2.json"), "{").unwrap();
        let error = format!("{:#}", read(scratch.path(), &[]).err().unwrap());
        assert!(error.contains("containers/34/config.v2.json"), "{error}");
    }
}
