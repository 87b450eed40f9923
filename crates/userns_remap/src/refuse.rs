//! What cannot be done, found before anything stops: each refusal names what stands in the way and the
//! way out. Pure.

use crate::{
    device,
    layout::{self, KNOWN, Keep},
    observed::{Entry, Observed},
};
use host::docker::Container;
use std::{collections::BTreeSet, path::Path};

/// What holds for every change of the user namespace setting that touches the engine.
pub fn engine(observed: &Observed) -> Vec<String> {
    let info = &observed.info;
    let mut found = vec![];
    if info.has_security_option("rootless") {
        found.push(
            "this engine is rootless: it already runs in a user namespace of its own".to_owned(),
        );
    }
    if info.docker_root_dir.starts_with("/var/snap") {
        found.push("this engine comes from a snap, which confines its data root; install it from a package".to_owned());
    }
    if !observed
        .active_units
        .iter()
        .any(|unit| unit == "docker.service")
    {
        found.push(
            "the engine is not run by docker.service, so it cannot be stopped and started safely"
                .to_owned(),
        );
    }
    found.extend(observed.dependents.iter().filter(|(_, stop)| !stop.is_empty()).map(|(unit, stop)| {
        format!(
            "{unit} stops when the engine stops, and then runs {stop}, which may remove containers; stop it \
             yourself, or make it want docker.service instead of requiring it"
        )
    }));
    found.extend(observed.builds.iter().map(|pid| {
        format!("an image is being built (process {pid}), which a stop of the engine ends; wait for it, or end it yourself")
    }));
    let flag = |name: &str| observed.flags.iter().find(|flag| flag.starts_with(name));
    if let Some(flag) = flag("--userns-remap") {
        found.push(format!(
            "dockerd is started with {flag}, which collides with the same key in the configuration file; \
             take it out of the unit's drop-in"
        ));
    }
    if observed.wants_containerd_store {
        found.push(
            "the configuration asks for containerd's image store (containerd-snapshotter), which does not work with \
             user namespaces: Docker 29 refuses to start, and before it builds fail (moby/moby#47377); set it to false \
             and bring the images over with docker save and docker load"
                .to_owned(),
        );
    }
    found
}

/// What stands in the way of carrying everything over in place.
pub fn carry_over(observed: &Observed) -> Vec<String> {
    let info = &observed.info;
    let mut found = vec![];
    if info.has_containerd_store() {
        found.push(format!(
            "images and containers lie in containerd's image store ({}), outside the data root, where an engine with \
             user namespaces does not look; docker save the images, set \"features\": {{\"containerd-snapshotter\": \
             false}}, restart the engine, docker load them and make the containers again",
            info.driver
        ));
    } else if info.driver != "overlay2" {
        found.push(format!(
            "the storage driver is {}; only overlay2 can be carried over in place: move to overlay2 first, or leave \
             everything behind with carry_over=none",
            info.driver
        ));
    }
    if !matches!(info.swarm.local_node_state.as_str(), "" | "inactive") {
        found.push("this engine is a member of a swarm, whose state is bound to its data root; leave the swarm first".to_owned());
    }
    found.extend(observed.plugins.iter().map(|plugin| {
        format!("the engine plugin {plugin} is installed, whose files cannot be carried over; remove it first")
    }));
    let mounted = devices(observed).map(|volume| {
        observed
            .engine_root()
            .join("volumes")
            .join(volume)
            .join("_data")
    });
    let mounted: Vec<_> = mounted.collect();
    let irregular = observed.irregular.iter();
    let irregular = irregular.filter(|(path, _)| !mounted.contains(path));
    found.extend(observed.conditions.of_shift());
    found.extend(irregular.map(|(path, what)| {
        format!(
            "{} is {what}, which a rename cannot carry along; put the data itself there instead",
            path.display()
        )
    }));
    let foreign = observed
        .volumes
        .iter()
        .filter(|volume| volume.driver != "local");
    found.extend(foreign.map(|volume| {
        format!(
            "volume {} belongs to the driver {}, which keeps its data elsewhere",
            volume.name, volume.driver
        )
    }));
    found.extend(
        observed
            .containers
            .iter()
            .flat_map(|container| mounts_inside(container, &observed.data_root)),
    );
    found
}

/// The names of volumes whose data lies elsewhere, and is mounted while a container runs.
fn devices(observed: &Observed) -> impl Iterator<Item = &str> {
    let volumes = observed.volumes.iter();
    let devices = volumes.filter(|volume| device::of(volume).is_some());
    devices.map(|volume| volume.name.as_str())
}

/// Entries of the data root that this version does not know, and so would not know how to carry.
pub fn unknown(root: &[Entry], path: &Path) -> Vec<String> {
    let strangers = root
        .iter()
        .filter(|entry| !KNOWN.contains(&entry.name.as_str()) && !layout::is_beside(&entry.name));
    strangers
        .map(|entry| {
            format!(
                "{} is nothing that the engine is known to keep; move it away first",
                path.join(&entry.name).display()
            )
        })
        .collect()
}

/// A root that should be free but holds the engine's data: a former attempt, most likely.
pub fn occupied<'e>(entries: impl Iterator<Item = &'e Entry>, path: &Path) -> Option<String> {
    let names: Vec<_> = entries
        .filter(|entry| !entry.empty)
        .map(|entry| entry.name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} already holds an engine's data (a former attempt?): {}; move it away, or it would be mixed \
             with what is carried over",
            path.display(),
            names.join(", ")
        )
    })
}

/// Directories above the data root that remapped containers could not pass.
pub fn closed(observed: &Observed) -> Vec<String> {
    let closed = observed.closed.iter();
    closed.map(|path| format!("{} cannot be entered by others, so remapped containers could not reach their files below it; chmod o+x it", path.display())).collect()
}

/// Bind mounts of the data root's own paths, which move.
fn mounts_inside(container: &Container, data_root: &Path) -> Vec<String> {
    let inside = container
        .mounts
        .iter()
        .filter(|mount| mount.kind == "bind" && mount.source.starts_with(data_root));
    inside
        .map(|mount| {
            format!("container {} bind-mounts {}, a path of the data root, which moves; remove the container or the mount", container.name(), mount.source.display())
        })
        .collect()
}

/// What keeps its owners: layers and volumes of containers that stay in the host's namespace, and volumes whose data
/// lies elsewhere.
pub fn kept(observed: &Observed) -> Keep {
    let host_mode = |container: &&Container| container.host_config.userns_mode == "host";
    let containers: Vec<_> = observed.containers.iter().filter(host_mode).collect();
    let layers = containers
        .iter()
        .filter_map(|container| observed.layers.get(&container.id));
    let mounts = containers.iter().flat_map(|container| &container.mounts);
    let volumes: BTreeSet<_> = mounts
        .filter_map(|mount| mount.name.clone())
        .chain(devices(observed).map(str::to_owned))
        .collect();
    Keep {
        layers: layers.cloned().collect(),
        volumes: volumes.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{container, entry, info, plain, volume};
    use serde_json::{Value, json};

    type Make = fn(&mut Value);

    fn changed(change: impl FnOnce(&mut Observed)) -> Observed {
        let mut observed = plain();
        change(&mut observed);
        observed
    }

    fn all(observed: &Observed) -> Vec<String> {
        [engine(observed), carry_over(observed)].concat()
    }

    /// One refusal that says each of the words.
    fn assert_one(found: &[String], words: &[&str]) {
        assert_eq!(found.len(), 1, "{found:?}");
        words
            .iter()
            .for_each(|word| assert!(found[0].contains(word), "{word} not in {found:?}"));
    }

    #[test]
    fn a_plain_engine_is_not_refused() {
        let observed = plain();
        assert_eq!(all(&observed), Vec::<String>::new());
        assert_eq!(
            unknown(&observed.root, &observed.data_root),
            Vec::<String>::new()
        );
    }

    #[test]
    fn engines_that_cannot_be_converted_are_refused() {
        let of = |change: Make| changed(|observed| observed.info = info(change));
        assert_one(
            &all(&of(|i| i["SecurityOptions"] = json!(["name=rootless"]))),
            &["rootless"],
        );
        assert_one(
            &all(&of(|i| i["DockerRootDir"] = json!("/var/snap/docker/x"))),
            &["snap"],
        );
        assert_one(
            &all(&of(|i| i["Driver"] = json!("btrfs"))),
            &["btrfs", "overlay2"],
        );
        assert_one(
            &all(&changed(|o| o.wants_containerd_store = true)),
            &["containerd-snapshotter", "moby/moby#47377"],
        );
        assert_one(
            &all(&of(|i| i["Swarm"]["LocalNodeState"] = json!("active"))),
            &["swarm"],
        );
        assert_one(
            &all(&changed(|o| o.active_units.clear())),
            &["docker.service"],
        );
        assert_one(
            &all(&changed(|o| o.flags.push("--userns-remap=x".into()))),
            &["--userns-remap=x", "drop-in"],
        );
        assert_one(
            &all(&changed(|o| o.builds.push(4711))),
            &["being built", "4711"],
        );
        assert_one(
            &all(&changed(|o| o.plugins.push("sshfs".into()))),
            &["sshfs"],
        );
    }

    #[test]
    fn a_unit_that_would_remove_containers_when_the_engine_stops_is_refused() {
        let unit =
            |stop: &str| changed(|o| o.dependents.push(("shop.service".into(), stop.into())));
        assert_one(
            &all(&unit("docker compose down")),
            &["shop.service", "docker compose down"],
        );
        assert!(all(&unit("")).is_empty());
    }

    #[test]
    fn what_lies_elsewhere_is_refused_by_name_or_not_taken_for_the_engine_s() {
        let with = |options| changed(|o| o.volumes.push(volume("nfs", options)));
        assert!(all(&with(json!({"o": "size=1m"}))).is_empty());
        // What it mounts there while a container runs is none of the data root's.
        let mounted = changed(|o| {
            let bind = json!({"type": "none", "device": "/srv/x", "o": "bind"});
            o.volumes = vec![volume("bound", bind)];
            let data = |name: &str| {
                Path::new("/var/lib/docker/volumes")
                    .join(name)
                    .join("_data")
            };
            let mounts = ["bound", "data"].map(|name| (data(name), "a mount of its own"));
            o.irregular.extend(mounts);
        });
        assert_one(&all(&mounted), &["volumes/data/_data", "mount of its own"]);
        assert_eq!(kept(&mounted).volumes, ["bound"]);
        let link = changed(|o| {
            o.irregular
                .push(("/var/lib/docker/volumes".into(), "a symbolic link"))
        });
        assert_one(&all(&link), &["/var/lib/docker/volumes", "symbolic link"]);
    }

    #[test]
    fn what_the_engine_is_not_known_to_keep_is_refused_but_not_other_remapped_roots() {
        let root = ["overlay2", "aufs", "100000.100000", "lost+found"].map(entry);
        assert_one(&unknown(&root, Path::new("/r")), &["/r/aufs"]);
        assert!(
            occupied(
                [&Entry {
                    name: "tmp".into(),
                    empty: true
                }]
                .into_iter(),
                Path::new("/r")
            )
            .is_none()
        );
        let said = occupied([&entry("volumes")].into_iter(), Path::new("/r"));
        assert_one(&Vec::from_iter(said), &["/r", "volumes"]);
    }

    #[test]
    fn a_bind_mount_of_what_moves_is_refused() {
        let inside = json!([{"Type": "bind", "Source": "/var/lib/docker/volumes"}]);
        let observed = changed(|o| o.containers = vec![container("web", |c| c["Mounts"] = inside)]);
        assert_one(&all(&observed), &["web", "/var/lib/docker/volumes"]);
    }

    #[test]
    fn host_mode_containers_keep_their_layers_and_own_volumes() {
        let mounts = json!([{"Type": "volume", "Name": "data", "Source": "/v"}]);
        let mut observed = plain();
        observed.containers = vec![container("web", |c| {
            c["HostConfig"]["UsernsMode"] = json!("host");
            c["Mounts"] = mounts.clone();
        })];
        let keep = Keep {
            layers: vec!["layer-of-web".into()],
            volumes: vec!["data".into()],
        };
        assert_eq!(kept(&observed), keep);
    }
}
