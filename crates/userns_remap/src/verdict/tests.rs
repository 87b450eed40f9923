//! What is found of which container.

use super::*;
use crate::samples::container;
use host::compose::Resolved;
use idmap::{SubRange, docker};
use serde_json::{Value, json};

fn uids() -> IdMap {
    docker(&[SubRange {
        start: 165_536,
        count: 65_536,
    }])
    .unwrap()
}

fn workload(name: &str, change: impl FnOnce(&mut Value)) -> Workload {
    Workload::of_container(&container(name, change))
}

fn of(workloads: &[Workload], facts: &Facts) -> Vec<(String, Verdict)> {
    let found = findings(workloads, facts, &uids());
    let flat = found.into_iter().flat_map(|(workload, findings)| {
        findings
            .into_iter()
            .map(move |finding| (workload.name.clone(), finding.verdict))
    });
    flat.collect()
}

/// What is found of one container that is alone.
fn alone(change: impl FnOnce(&mut Value)) -> Vec<Finding> {
    let workloads = [workload("web", change)];
    findings(&workloads, &Facts::default(), &uids()).remove(0).1
}

fn bind(source: &str, writable: bool) -> Value {
    json!({"Type": "bind", "Source": source, "Destination": "/data", "RW": writable})
}

fn source(uid: u32, mode: u32) -> Source {
    Source {
        uid,
        gid: uid,
        mode,
        ..Source::default()
    }
}

fn facts(sources: &[(&str, Source)]) -> Facts {
    let sources = sources
        .iter()
        .map(|(path, source)| ((*path).into(), source.clone()));
    Facts {
        sources: sources.collect(),
        ..Facts::default()
    }
}

type Make = fn(&mut Value);

#[test]
fn an_ordinary_container_is_ok() {
    assert_eq!(alone(|_| {}), []);
}

#[test]
fn what_the_engine_does_not_run_remapped_needs_the_hosts_namespace() {
    let cases: [(Make, &str); 4] = [
        (
            |c| c["HostConfig"]["Privileged"] = json!(true),
            "is privileged",
        ),
        (
            |c| c["HostConfig"]["NetworkMode"] = json!("host"),
            "host's network",
        ),
        (
            |c| c["HostConfig"]["PidMode"] = json!("host"),
            "process ids",
        ),
        (
            |c| c["Mounts"] = json!([bind("/run/docker.sock", false)]),
            "/run/docker.sock",
        ),
    ];
    for (change, word) in cases {
        let found = alone(change);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].verdict, Verdict::NeedsHostMode);
        assert!(
            found[0].reason.contains(word) && found[0].remedy.contains("userns_mode: \"host\""),
            "{found:?}"
        );
        let stays = |c: &mut Value| {
            change(c);
            c["HostConfig"]["UsernsMode"] = json!("host");
        };
        assert_eq!(alone(stays), []);
    }
}

#[test]
fn joining_what_stays_in_the_hosts_namespace_is_passed_on() {
    let vpn = workload("vpn", |c| c["HostConfig"]["UsernsMode"] = json!("host"));
    let web = workload("web", |c| {
        c["HostConfig"]["NetworkMode"] = json!("container:vpn-id")
    });
    let log = workload("log", |c| {
        c["HostConfig"]["PidMode"] = json!("container:web")
    });
    let workloads = [log, web, vpn];
    let found = findings(&workloads, &Facts::default(), &uids());
    assert!(
        found[0].1[0].reason.contains("process ids of web"),
        "{found:?}"
    );
    assert!(found[1].1[0].reason.contains("network of vpn"), "{found:?}");
    assert!(found[2].1.is_empty());
}

#[test]
fn a_volume_shared_with_what_stays_in_the_hosts_namespace_is_found() {
    let mounts = json!([{"Type": "volume", "Name": "data", "Source": "/v"}]);
    let vpn = workload("vpn", |c| {
        c["HostConfig"]["UsernsMode"] = json!("host");
        c["Mounts"] = mounts.clone();
    });
    let web = workload("web", |c| c["Mounts"] = mounts.clone());
    let found = of(&[vpn, web], &Facts::default());
    assert_eq!(
        found,
        [("web".to_owned(), Verdict::SharesVolumeWithHostMode)]
    );
}

#[test]
fn a_bind_mount_with_the_hosts_owners_is_to_be_shifted() {
    let web = || workload("web", |c| c["Mounts"] = json!([bind("/srv/www", true)]));
    let found = |source| {
        let facts = facts(&[("/srv/www", source)]);
        findings(&[web()], &facts, &uids()).remove(0).1
    };
    let [finding] = &found(source(999, 0o755))[..] else {
        panic!()
    };
    assert_eq!(
        (finding.verdict, finding.strategy),
        (Verdict::NeedsBindMountPrepared, Some(Strategy::Shift))
    );
    assert!(
        finding
            .reason
            .contains("writes to /srv/www (999:999 mode 0755)"),
        "{finding:?}"
    );
    // Everybody may write, or it is the container's already, or it is not there.
    assert_eq!(found(source(0, 0o777)), []);
    assert_eq!(found(source(165_536, 0o700)), []);
    assert_eq!(of(&[web()], &Facts::default()), []);
}

#[test]
fn what_is_only_read_has_to_be_readable() {
    let web = workload("web", |c| c["Mounts"] = json!([bind("/srv/key", false)]));
    let found = |mode| {
        of(
            std::slice::from_ref(&web),
            &facts(&[("/srv/key", source(0, mode))]),
        )
        .len()
    };
    assert_eq!((found(0o644), found(0o600)), (0, 1));
}

#[test]
fn what_others_use_too_is_not_to_be_shifted() {
    let web = workload("web", |c| c["Mounts"] = json!([bind("/srv/www/a", true)]));
    let stays = workload("log", |c| {
        c["HostConfig"]["UsernsMode"] = json!("host");
        c["Mounts"] = json!([bind("/srv/www", false)]);
    });
    let strategy = |workloads: &[Workload], path: &str, source| {
        let found = findings(workloads, &facts(&[(path, source)]), &uids());
        found
            .into_iter()
            .flat_map(|(_, findings)| findings)
            .next()
            .unwrap()
            .strategy
    };
    let plain = || source(0, 0o755);
    let web = std::slice::from_ref(&web);
    assert_eq!(strategy(web, "/srv/www/a", plain()), Some(Strategy::Shift));
    assert_eq!(
        strategy(&[web[0].clone(), stays], "/srv/www/a", plain()),
        Some(Strategy::Idmap)
    );
    assert_eq!(
        strategy(
            web,
            "/srv/www/a",
            Source {
                in_git: true,
                ..plain()
            }
        ),
        Some(Strategy::Idmap)
    );
    let used = Source {
        users: vec!["backup".to_owned()],
        ..plain()
    };
    assert_eq!(strategy(web, "/srv/www/a", used), Some(Strategy::Idmap));
    let system = workload("web", |c| c["Mounts"] = json!([bind("/etc/x", true)]));
    assert_eq!(
        strategy(&[system], "/etc/x", plain()),
        Some(Strategy::Leave)
    );
}

#[test]
fn what_loses_its_meaning_is_told() {
    let verdicts = |change: Make| {
        alone(change)
            .iter()
            .map(|finding| finding.verdict)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        verdicts(|c| c["HostConfig"]["CapAdd"] = json!(["CAP_SYS_TIME"])),
        [Verdict::LosesMeaning]
    );
    assert_eq!(
        verdicts(|c| c["HostConfig"]["CapAdd"] = json!(["NET_BIND_SERVICE"])),
        []
    );
    assert_eq!(
        verdicts(|c| c["HostConfig"]["Sysctls"] = json!({"net.core.somaxconn": "1"})),
        [Verdict::SysctlToProbe]
    );
    let tuner = workload("web", |c| {
        c["HostConfig"]["Sysctls"] = json!({"net.core.somaxconn": "1", "kernel.msgmax": "1"})
    });
    let tried = Facts {
        sysctls: BTreeMap::from([
            (
                "net.core.somaxconn".to_owned(),
                Some("no such file".to_owned()),
            ),
            ("kernel.msgmax".to_owned(), None),
        ]),
        ..Facts::default()
    };
    let tuners = [tuner];
    let found = findings(&tuners, &tried, &uids());
    let [(_, findings)] = &found[..] else {
        panic!()
    };
    let [refused] = &findings[..] else { panic!() };
    assert!(refused.verdict.stands_in_the_way() && refused.reason.contains("no such file"));
    let tty = workload("web", |c| {
        c["HostConfig"]["Devices"] = json!([{"PathOnHost": "/dev/ttyUSB0"}])
    });
    let found = |mode| {
        of(
            std::slice::from_ref(&tty),
            &facts(&[("/dev/ttyUSB0", source(0, mode))]),
        )
    };
    assert_eq!(found(0o660), [("web".to_owned(), Verdict::LosesMeaning)]);
    assert_eq!(found(0o666), []);
}

#[test]
fn what_a_stop_would_lose_is_told() {
    let verdicts = |change: Make| {
        alone(change)
            .iter()
            .map(|finding| finding.verdict)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        verdicts(|c| c["HostConfig"]["AutoRemove"] = json!(true)),
        [Verdict::RemovedWhenStopped]
    );
    assert_eq!(
        verdicts(|c| c["ExecIDs"] = json!(["1"])),
        [Verdict::ExecRunning]
    );
    let step = |c: &mut Value| {
        c["HostConfig"]["LogConfig"] = json!({"Type": "none"});
        c["Config"]["Image"] = json!("sha256:12");
    };
    assert_eq!(verdicts(step), [Verdict::Building]);
    assert!(Verdict::Building.stands_in_the_way());
    for status in ["paused", "restarting", "removing", "dead"] {
        let found = alone(|c| c["State"]["Status"] = json!(status));
        assert_eq!(found[0].verdict, Verdict::NotRunning);
        assert!(found[0].reason.contains(status));
    }
    let facts = Facts {
        tmpfs: BTreeMap::from([("web-id".to_owned(), vec!["/run".to_owned()])]),
        ..Facts::default()
    };
    assert_eq!(
        of(&[workload("web", |_| {})], &facts),
        [("web".to_owned(), Verdict::TmpfsLost)]
    );
}

#[test]
fn what_cannot_be_shifted_is_named() {
    let web = workload("web", |c| {
        c["Mounts"] = json!([{"Type": "volume", "Name": "data", "Source": "/v"}])
    });
    let at = |place: Place| Facts {
        immutable: BTreeMap::from([(place, vec!["/x".into()])]),
        ..Facts::default()
    };
    for place in [
        Place::Volume("data".to_owned()),
        Place::Layer("web-id".to_owned()),
    ] {
        assert_eq!(
            of(std::slice::from_ref(&web), &at(place)),
            [("web".to_owned(), Verdict::ImmutableFiles)]
        );
    }
    assert_eq!(
        of(
            std::slice::from_ref(&web),
            &at(Place::Volume("other".to_owned()))
        ),
        []
    );
    let checkpoints = Facts {
        checkpoints: BTreeMap::from([("web-id".to_owned(), vec!["one".to_owned()])]),
        ..Facts::default()
    };
    assert_eq!(
        of(std::slice::from_ref(&web), &checkpoints),
        [("web".to_owned(), Verdict::Checkpoint)]
    );
}

#[test]
fn a_secret_that_cannot_be_read_is_found_and_never_to_be_shifted() {
    let text = "
services:
  web:
    secrets:
    - source: key
secrets:
  key:
    file: /srv/key
";
    let resolved = Resolved::parse(text).unwrap();
    let workloads: Vec<_> = Workload::of_project(&resolved).collect();
    let found = findings(
        &workloads,
        &facts(&[("/srv/key", source(0, 0o600))]),
        &uids(),
    );
    let [finding] = &found[0].1[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (finding.verdict, finding.strategy),
        (Verdict::SecretUnreadable, Some(Strategy::Idmap))
    );
}

/// Every directory of the checkout is root's, as after `git clone`.
#[test]
fn of_mailcow_three_services_need_the_hosts_namespace() {
    let resolved = Resolved::parse(include_str!("mailcow.yml")).unwrap();
    let workloads: Vec<_> = Workload::of_project(&resolved).collect();
    assert_eq!(workloads.len(), 18);
    let binds = workloads
        .iter()
        .flat_map(|workload| &workload.mounts)
        .filter(|mount| mount.kind == MountKind::Bind);
    let in_git = binds.map(|mount| {
        let in_git = mount.source.starts_with("/opt/mailcow-dockerized");
        (
            PathBuf::from(&mount.source),
            Source {
                in_git,
                ..source(0, 0o755)
            },
        )
    });
    let facts = Facts {
        sources: in_git.collect(),
        ..Facts::default()
    };
    let found = findings(&workloads, &facts, &uids());
    let with = |verdict: Verdict| -> Vec<&str> {
        let found = found
            .iter()
            .filter(|(_, findings)| findings.iter().any(|finding| finding.verdict == verdict));
        found.map(|(workload, _)| workload.name.as_str()).collect()
    };
    assert_eq!(
        with(Verdict::NeedsHostMode),
        ["dockerapi-mailcow", "netfilter-mailcow", "ofelia-mailcow"]
    );
    assert_eq!(with(Verdict::SharesVolumeWithHostMode), Vec::<&str>::new());
    assert_eq!(with(Verdict::SysctlToProbe), ["redis-mailcow"]);
    let strategies = found
        .iter()
        .flat_map(|(_, findings)| findings)
        .filter_map(|finding| finding.strategy);
    // update.sh is a git merge: what it makes anew would be host root's again.
    assert!(
        strategies.clone().count() > 0
            && strategies
                .clone()
                .all(|strategy| strategy == Strategy::Idmap)
    );
}
