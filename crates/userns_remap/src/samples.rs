//! Containers and hosts as the tests of the pure rooms need them.

use crate::{
    args::{Args, CarryOver, MaskedData, Others, State},
    conditions::Conditions,
    observed::{Entry, Ids, Observed},
    step::Inventory,
    verdict::Facts,
};
use host::{
    accounts::Account,
    docker::{Container, Info, Volume},
    login_defs::SubidRules,
};
use idmap::subid::{self, Subids};
use serde_json::{Value, json};
use std::collections::BTreeMap;

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

pub fn volume(name: &str, options: Value) -> Volume {
    serde_json::from_value(json!({"Name": name, "Driver": "local", "Options": options})).unwrap()
}

pub fn info(change: impl FnOnce(&mut Value)) -> Info {
    let mut sample = json!({
        "ServerVersion": "26.1.5", "DockerRootDir": "/var/lib/docker", "Driver": "overlay2",
        "SecurityOptions": ["name=seccomp,profile=builtin"], "Swarm": {"LocalNodeState": "inactive"},
    });
    change(&mut sample);
    serde_json::from_value(sample).unwrap()
}

pub fn entry(name: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        empty: false,
    }
}

pub fn args(state: State) -> Args {
    Args {
        state,
        user: "default".to_owned(),
        subid_start: None,
        subid_count: None,
        carry_over: CarryOver::InPlace,
        discard_new_data: false,
        host_mode: vec![],
        compose_projects: vec![],
        bind_mounts: BTreeMap::new(),
        other_bind_mounts: Others::Warn,
        allow_loss: vec![],
        masked_data: MaskedData::Refuse,
        compat_links: false,
        config_file: "/etc/docker/daemon.json".into(),
        backup: false,
        timeout: 120,
    }
}

/// Two accounts with ranges, none of them dockremap's.
pub fn ids() -> Ids {
    let taken = b"alice:100000:65536\nbob:231072:65536\n";
    Ids {
        name: "dockremap".to_owned(),
        account: None,
        has_group: false,
        rules: SubidRules {
            bounds: subid::DEFAULT_BOUNDS,
            count: subid::DEFAULT_COUNT,
        },
        subuid: Subids::parse(taken),
        subgid: Subids::parse(taken),
        taken: vec![0, 1, 33, 1000, 65534],
    }
}

/// A plain engine that can be converted: one running container, one image, one volume.
pub fn plain() -> Observed {
    Observed {
        info: info(|_| {}),
        data_root: "/var/lib/docker".into(),
        remapped: None,
        containers: vec![container("web", |_| {})],
        images: vec!["sha256:1".to_owned()],
        networks: vec![],
        volumes: vec![volume("data", Value::Null)],
        plugins: vec![],
        active_units: vec!["docker.socket".to_owned(), "docker.service".to_owned()],
        dependents: vec![],
        flags: vec![
            "/usr/sbin/dockerd".to_owned(),
            "-H".to_owned(),
            "fd://".to_owned(),
        ],
        config: None,
        configured: None,
        wants_containerd_store: false,
        ids: ids(),
        in_use: None,
        container_maps: None,
        root: ["image", "overlay2", "volumes"].map(entry).into(),
        remapped_roots: BTreeMap::new(),
        irregular: vec![],
        closed: vec![],
        layers: BTreeMap::from([("web-id".to_owned(), "layer-of-web".to_owned())]),
        builds: vec![],
        facts: Facts::default(),
        trees: BTreeMap::new(),
        homes: vec!["/root".into()],
        record: None,
        masked: None,
        references: vec![],
        compat_links: vec![],
        projects: vec![],
        overrides: BTreeMap::new(),
        free_bytes: 1 << 30,
        copy: None,
        in_kept_root: Inventory::default(),
        conditions: Conditions {
            user_namespaces: Some(1),
            ..Conditions::default()
        },
    }
}

/// The same engine, remapped as dockremap from 165536.
pub fn remapped() -> Observed {
    let ranges = Subids::parse(b"alice:100000:65536\nbob:231072:65536\ndockremap:165536:65536\n");
    let of_dockremap = Ids {
        account: Some(Account {
            name: "dockremap".to_owned(),
            uid: 999,
            gid: 999,
            home: "/".into(),
            shell: "/".into(),
        }),
        has_group: true,
        subuid: ranges.clone(),
        subgid: ranges,
        ..ids()
    };
    Observed {
        remapped: Some((165_536, 165_536)),
        config: Some("{\n    \"userns-remap\": \"default\"\n}\n".to_owned()),
        configured: Some("default".to_owned()),
        ids: of_dockremap.clone(),
        in_use: Some(of_dockremap),
        root: vec![entry("165536.165536")],
        remapped_roots: BTreeMap::from([("165536.165536".to_owned(), vec![entry("overlay2")])]),
        ..plain()
    }
}
