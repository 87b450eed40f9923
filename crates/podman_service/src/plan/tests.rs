use super::*;
use crate::{
    args::{Images, OrKeep, State, Switch},
    observed::{Facts, Kind, UnitState},
    step::{Copy, NewVolume},
};
use host::podman::{Container, Image, Mount, Volume};
use idmap::SubRange;

fn args() -> Args {
    Args {
        name: "shop".into(),
        from: "db".into(),
        to: "shop".into(),
        state: State::Moved,
        units: None,
        data_directories: None,
        volumes: None,
        secrets_from: None,
        secrets_to: None,
        keep_secrets: Switch::Auto,
        images: Images::Save,
        unmapped: OrKeep::Fail,
        ports: None,
        urls: None,
        health: true,
        check_log: true,
        timeout: 60,
    }
}

fn party(name: &str, uid: u32, start: u32) -> Party {
    let ranges = vec![SubRange {
        start,
        count: 65_536,
    }];
    Party {
        account: Account {
            name: name.into(),
            uid,
            gid: uid,
            home: format!("/home/{name}").into(),
            shell: "/sbin/nologin".into(),
        },
        group: name.into(),
        uids: ranges.clone(),
        gids: ranges,
        overlaps: vec![],
        lingers: true,
        files: vec![],
        store: format!("/home/{name}/.local/share/containers/storage").into(),
        volumes_root: format!("/home/{name}/.local/share/containers/storage/volumes").into(),
    }
}

fn unit(relative: &str, text: &str) -> UnitFile {
    UnitFile {
        place: Place::Quadlet,
        root: "/home/db/.config/containers/systemd".into(),
        relative: relative.into(),
        text: text.to_owned(),
    }
}

fn facts(path: &str, kind: Kind, uid: u32) -> (PathBuf, Facts) {
    let facts = Facts {
        kind,
        uid,
        gid: uid,
        mode: 0o750,
        mount: 1,
        mounted: None,
        real: path.into(),
        blocked_by: None,
    };
    (path.into(), facts)
}

fn mount(kind: &str, name: &str, source: &str, destination: &str) -> Mount {
    Mount {
        kind: kind.into(),
        name: name.into(),
        source: source.into(),
        destination: destination.into(),
        writable: true,
    }
}

fn container(name: &str, unit: &str, mounts: Vec<Mount>) -> Container {
    let mut container = Container {
        id: name.into(),
        name: name.into(),
        image: "i".into(),
        image_name: "localhost/shop:1".into(),
        path: "/bin/serve".into(),
        mounts,
        ..Container::default()
    };
    let labels = &mut container.config.labels;
    labels.insert(podman::UNIT_LABEL.into(), unit.into());
    container
}

const SHOP: &str = "[Container]\nImage=localhost/shop:1\nEnvironmentFile=/run/secrets-db/shop.env\n\
    Volume=/srv/shop:/srv\nVolume=data:/data\nVolume=%h/files:/files\nVolume=/etc/shop:/etc/shop:ro\n";

/// A service with a bind mount, a volume, a directory in the home, root's configuration and a secret.
fn observed() -> Observed {
    let store = "/home/db/.local/share/containers/storage/volumes/data/_data";
    let mounts = vec![
        mount("bind", "", "/srv/shop", "/srv"),
        mount("volume", "data", store, "/data"),
        mount("bind", "", "/home/db/files", "/files"),
        mount("bind", "", "/etc/shop", "/etc/shop"),
    ];
    let mut from = party("db", 1001, 100_000);
    from.files = vec![unit("shop.container", SHOP)];
    let volume = Volume {
        name: "data".into(),
        driver: "local".into(),
        mountpoint: store.into(),
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
    };
    let image = Image {
        id: "i".into(),
        manifest_type: String::new(),
    };
    let state = UnitState {
        active: "active".into(),
        file: "generated".into(),
    };
    Observed {
        nixos: false,
        from,
        to: party("shop", 1002, 300_000),
        states: BTreeMap::from([("shop.service".into(), state)]),
        containers: vec![container("systemd-shop", "shop.service", mounts)],
        maps: BTreeMap::new(),
        images: BTreeMap::from([("localhost/shop:1".into(), (Some(image), None))]),
        volumes: BTreeMap::from([("data".into(), (Some(volume), false))]),
        networks: BTreeMap::new(),
        secrets: BTreeMap::new(),
        logins: (BTreeSet::new(), BTreeSet::new()),
        paths: BTreeMap::from([
            facts("/srv/shop", Kind::Directory, 1001),
            facts(store, Kind::Directory, 100_998),
            facts("/home/db/files", Kind::Directory, 1001),
            facts("/etc/shop", Kind::Directory, 0),
            facts("/run/secrets-db/shop.env", Kind::File, 1001),
            facts("/home/shop", Kind::Directory, 1002),
        ]),
        configuration: BTreeMap::new(),
        complaints: vec![],
        record: None,
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.what.name()).collect()
}

fn planned(observed: &Observed) -> Plan {
    plan(&args(), observed).unwrap()
}

/// The one refusal that contains the words.
fn refused(args: &Args, observed: &Observed, words: &str) {
    let refusals = plan(args, observed).unwrap_err();
    let found = refusals
        .iter()
        .filter(|refusal| refusal.contains(words))
        .count();
    assert_eq!(found, 1, "{words}: {refusals:#?}");
}

#[test]
fn all_that_can_be_done_while_the_service_runs_comes_before_its_stop() {
    let plan = planned(&observed());
    let steps = [
        "guard",
        "files",
        "keep_secrets",
        "image",
        "volume",
        "own",
        "stop",
        "hide_units",
        "move_data",
        "shift",
        "write_units",
        "start",
        "verify",
        "record",
    ];
    assert_eq!(names(&plan), steps);
}

#[test]
fn data_stays_or_goes_to_the_new_home_and_what_is_roots_is_left() {
    let plan = planned(&observed());
    let store = ".local/share/containers/storage/volumes/data/_data";
    let moved = plan.steps.iter().find_map(|step| match &step.what {
        What::Move { trees, .. } => Some(trees.clone()),
        _ => None,
    });
    let moved = moved.unwrap();
    assert_eq!(moved.len(), 2);
    for below in [store, "files"] {
        let pair = (
            Path::new("/home/db").join(below),
            Path::new("/home/shop").join(below),
        );
        assert!(moved.contains(&pair), "{moved:?}");
    }
    let shifted = plan.steps.iter().find_map(|step| match &step.what {
        What::Shift { trees, maps, .. } => Some((trees.clone(), maps.to_owned())),
        _ => None,
    });
    let (trees, maps) = shifted.unwrap();
    assert!(trees.contains(&"/srv/shop".into()) && !trees.contains(&"/etc/shop".into()));
    assert_eq!(maps.uid.to_string(), "1001:1002:1,100000:300000:65536");
    let (survey, ..) = plan.survey.unwrap();
    assert!(survey.contains(&"/home/db/files".into()));
}

#[test]
fn only_the_secrets_that_the_units_name_go_along_and_outlast_a_reboot() {
    let plan = planned(&observed());
    let copies = plan.steps.iter().find_map(|step| match &step.what {
        What::Files { copies } => Some(copies.clone()),
        _ => None,
    });
    let copy = Copy {
        from: "/run/secrets-db/shop.env".into(),
        to: "/run/secrets-shop/shop.env".into(),
        owner: (1002, 1002),
        mode: 0o750,
        kept: Some("/var/lib/bulkhead/secrets/shop/shop.env".into()),
    };
    assert_eq!(copies.unwrap(), [copy]);
    let kept = plan.steps.iter().find_map(|step| match &step.what {
        What::KeepSecrets { text, .. } => Some(text.clone()),
        _ => None,
    });
    let line = "C \"/run/secrets-shop/shop.env\" 0750 1002 1002 - /var/lib/bulkhead/secrets/shop/shop.env\n";
    assert!(kept.unwrap().ends_with(line));
}

#[test]
fn a_volume_is_used_once_before_it_gets_its_data() {
    let plan = planned(&observed());
    let expected = What::Volume(NewVolume {
        name: "data".into(),
        labels: BTreeMap::new(),
        use_once: Some(crate::step::Use {
            image: "localhost/shop:1".into(),
            program: "/bin/serve".into(),
            destination: "/data".into(),
        }),
    });
    assert!(plan.steps.iter().any(|step| step.what == expected));
}

#[test]
fn the_way_back_is_the_inverse_and_ends_where_it_began() {
    let mut observed = observed();
    let there = planned(&observed);
    let Some(What::Record {
        steps: Some(steps), ..
    }) = there.steps.last().map(|step| step.what.clone())
    else {
        panic!("no record");
    };
    observed.record = Some(crate::record::Record { at: 0, steps });
    let plan = back("shop", &observed);
    let steps = [
        "guard",
        "stop",
        "write_units",
        "shift",
        "move_data",
        "show_units",
        "start",
        "verify",
        "record",
        "tidy",
    ];
    assert_eq!(names(&plan), steps);
    let tidied = plan.steps.iter().find_map(|step| match &step.what {
        What::Tidy { made } => Some(made.iter().map(What::name).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(
        tidied.unwrap(),
        ["own", "volume", "image", "keep_secrets", "files"]
    );
    let sides: Vec<_> = (plan.steps.iter())
        .filter_map(|step| match step.what {
            What::Stop { side, .. } | What::Start { side, .. } | What::Move { side, .. } => {
                Some(side)
            }
            _ => None,
        })
        .collect();
    assert_eq!(sides, [Side::New, Side::Old, Side::Old]);
}

#[test]
fn without_a_record_there_is_no_way_back_and_nothing_to_do() {
    assert!(back("shop", &observed()).steps.is_empty());
}

#[test]
fn a_move_is_taken_back_between_the_accounts_that_it_was_made_between() {
    let mut observed = observed();
    assert_eq!(observed.is_of_others(), None);
    let steps = planned(&observed).steps;
    observed.record = Some(crate::record::Record { at: 0, steps });
    assert_eq!(observed.is_of_others(), None);
    observed.to.account.name = "third".to_owned();
    let refusal = observed.is_of_others().unwrap();
    assert!(refusal.contains("return it by these names"), "{refusal}");
}

#[test]
fn a_service_that_is_moved_needs_nothing() {
    let mut observed = observed();
    observed.record = Some(crate::record::Record {
        at: 0,
        steps: vec![],
    });
    observed.to.files = std::mem::take(&mut observed.from.files);
    assert!(planned(&observed).steps.is_empty());
}

#[test]
fn what_cannot_be_moved_whole_is_refused_with_its_name() {
    let change = |change: &dyn Fn(&mut Observed)| {
        let mut observed = observed();
        change(&mut observed);
        observed
    };
    let text = |text: &str| {
        let text = format!("{SHOP}{text}\n");
        change(&|observed| observed.from.files = vec![unit("shop.container", &text)])
    };
    let other = |mounts: Vec<Mount>| {
        change(&|observed| {
            let other = container("other", "other.service", mounts.clone());
            observed.containers.push(other);
        })
    };
    for (observed, words) in [
        (change(&|observed| observed.nixos = true), "NixOS"),
        (
            change(&|observed| observed.to.lingers = false),
            "enable-linger",
        ),
        (change(&|observed| observed.to.uids.clear()), "do not fit"),
        (
            change(&|observed| observed.to.overlaps = vec!["db:1:2 and shop:1:2".into()]),
            "db:1:2 and shop:1:2",
        ),
        (
            change(&|observed| observed.from.files.clear()),
            "no unit shop",
        ),
        (
            change(&|observed| {
                let text = "[Service]\nExecStart=/usr/bin/podman run --name gone x\n";
                observed
                    .from
                    .files
                    .push(unit("container-shop.service", text));
            }),
            "that is not there now",
        ),
        (
            change(&|observed| {
                let kube = unit("shop.kube", "[Kube]\nYaml=shop.yml\n");
                observed.from.files.push(kube);
            }),
            "in its YAML",
        ),
        (
            text("Volume=/home/./db/x:/x"),
            "cannot be changed as it is written",
        ),
        (text("UserNS=auto:size=5000"), "UserNS=auto:size=5000"),
        (text("UIDMap=+5:@1000:1"), "+5:@1000:1"),
        (text("Secret=token"), "no secret token"),
        (
            other(vec![mount("bind", "", "/srv/shop/sub", "/x")]),
            "container other of db mounts /srv/shop too",
        ),
        (
            other(vec![mount("bind", "", "/srv", "/x")]),
            "container other of db",
        ),
        (
            change(&|observed| {
                observed.images.clear();
            }),
            "no image localhost/shop:1",
        ),
        (
            change(&|observed| {
                if let Some((_, taken)) = observed.volumes.get_mut("data") {
                    *taken = true;
                }
            }),
            "has a volume data already",
        ),
        (
            change(&|observed| {
                let path = Path::new("/srv/shop");
                if let Some(facts) = observed.paths.get_mut(path) {
                    facts.blocked_by = Some("/srv".into());
                }
            }),
            "/srv keeps others out",
        ),
        (
            change(&|observed| {
                let path = Path::new("/home/db/files");
                if let Some(facts) = observed.paths.get_mut(path) {
                    facts.mount = 2;
                }
            }),
            "different file systems",
        ),
        (
            change(&|observed| {
                let path = Path::new("/run/secrets-db/shop.env");
                if let Some(facts) = observed.paths.get_mut(path) {
                    facts.kind = Kind::Missing;
                }
            }),
            "secret /run/secrets-db/shop.env is missing",
        ),
        (
            change(&|observed| {
                let path = Path::new("/run/secrets-db/shop.env");
                if let Some(facts) = observed.paths.get_mut(path) {
                    facts.kind = Kind::Directory;
                }
            }),
            "the whole directory",
        ),
        (
            change(&|observed| {
                let path = Path::new("/srv/shop");
                if let Some(facts) = observed.paths.get_mut(path) {
                    facts.kind = Kind::File;
                }
            }),
            "the single file /srv/shop",
        ),
        (
            change(&|observed| {
                let mut file = unit("shop.container", "");
                file.root = format!("{}/users/1002", units::QUADLETS).into();
                observed.to.files = vec![file];
            }),
            "is there already",
        ),
    ] {
        refused(&args(), &observed, words);
    }
}

#[test]
fn an_image_by_digest_can_only_be_pulled() {
    let name = "registry.example.test/shop@sha256:abc";
    let mut observed = observed();
    observed.containers[0].image_name = name.into();
    observed.from.files = vec![unit(
        "shop.container",
        &SHOP.replace("localhost/shop:1", name),
    )];
    let image = observed.images.remove("localhost/shop:1").unwrap();
    observed.images.insert(name.into(), image);
    refused(&args(), &observed, "by its digest");
    let pull = Args {
        images: Images::Pull,
        ..args()
    };
    assert!(plan(&pull, &observed).is_ok());
}

#[test]
fn containers_on_one_network_move_together_or_not_at_all() {
    let mut observed = observed();
    let mut other = container("other", "other.service", vec![]);
    for container in [&mut observed.containers[0], &mut other] {
        let networks = &mut container.network_settings.networks;
        networks.insert("back".into(), serde_json::Value::Null);
        networks.insert("podman".into(), serde_json::Value::Null);
    }
    observed.containers.push(other);
    refused(&args(), &observed, "network back");
}

#[test]
fn networks_that_quadlets_make_for_the_new_account_go_when_it_is_left() {
    let mut observed = observed();
    let text = format!("{SHOP}Network=back.network\nNetwork=front.network\n");
    observed.from.files = vec![
        unit("shop.container", &text),
        unit("back.network", "[Network]\n"),
        unit("front.network", "[Network]\nNetworkName=front\n"),
    ];
    let plan = planned(&observed);
    let networks = plan.steps.iter().find_map(|step| match &step.what {
        What::Own(own) => Some(own.networks.clone()),
        _ => None,
    });
    assert_eq!(networks.unwrap(), ["systemd-back", "front"]);
}
