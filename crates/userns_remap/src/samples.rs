//! Containers and hosts as the tests of the pure rooms need them.

use host::docker::Container;
use serde_json::{Value, json};

/// A plain running container, as `docker container inspect` would give it, then changed.
pub fn container(name: &str, change: impl FnOnce(&mut Value)) -> Container {
    let mut sample = json!({
        "Id": format!("{name}-id"), "Name": format!("/{name}"), "Image": "sha256:1",
        "State": {"Status": "running", "Pid": 1}, "HostConfig": {"NetworkMode": "bridge"},
        "Mounts": [], "Config": {"Labels": {}},
    });
    change(&mut sample);
    serde_json::from_value(sample).unwrap()
}
