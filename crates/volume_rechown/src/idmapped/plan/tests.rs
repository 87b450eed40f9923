use super::*;

fn record(place: &str) -> Record {
    Record {
        path: "/srv/private/www".into(),
        mount_at: place.into(),
        maps: IdMaps::parse(&["0:100000:65536"]).unwrap(),
        services: vec![],
        executable: "volume_rechown".into(),
    }
}

fn here() -> Record {
    record("/srv/private/www")
}

fn found(record: Option<Record>, shown: Shown, is_installed: bool) -> Found {
    Found {
        record,
        shown,
        is_installed,
    }
}

#[test]
fn what_is_as_it_shall_be_is_left_alone() {
    let plan = |found: Found| show(&here(), &found).unwrap();
    let there = || Some(here());
    assert_eq!(plan(found(there(), Shown::Yes, true)), Plan::Nothing);
    for wanting in [
        found(None, Shown::No, false),
        found(there(), Shown::No, true),
        found(there(), Shown::Yes, false),
        found(Some(record("/elsewhere")), Shown::Yes, true),
    ] {
        assert!(matches!(plan(wanting), Plan::Show(_)));
    }
    assert!(show(&here(), &found(there(), Shown::Otherwise, true)).is_err());
}

#[test]
fn only_what_was_mounted_is_taken_away() {
    let plan = |found: Found| hide(&found);
    assert_eq!(plan(found(None, Shown::No, false)).unwrap(), Plan::Nothing);
    for shown in [Shown::Yes, Shown::No] {
        let found = found(Some(here()), shown, true);
        assert_eq!(plan(found).unwrap(), Plan::Hide);
    }
    assert!(plan(found(Some(here()), Shown::Otherwise, true)).is_err());
}

#[test]
fn docker_waits_for_its_own_volumes_only() {
    let side = |engine| Side { engine, user: None };
    let services = |asked: Option<Vec<&str>>, to| {
        let asked = asked.map(|names| names.into_iter().map(String::from).collect());
        services(asked.as_ref(), to)
    };
    let (docker, podman) = (side(Engine::Docker), side(Engine::Podman));
    assert_eq!(services(None, Some(&docker)).unwrap(), ["docker.service"]);
    assert!(services(None, Some(&podman)).unwrap().is_empty());
    assert!(services(None, None).unwrap().is_empty());
    assert!(services(Some(vec![]), Some(&docker)).unwrap().is_empty());
    let own = ["mail@1.service"];
    assert_eq!(services(Some(own.to_vec()), None).unwrap(), own);
    for odd in ["docker", "../a.service", ".service", "a b.service"] {
        assert!(services(Some(vec![odd]), None).is_err(), "{odd}");
    }
}
