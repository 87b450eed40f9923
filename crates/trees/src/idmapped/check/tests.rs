use super::*;
use idmap::IdMaps;

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

fn above(uid: u32, gid: u32, mode: u32) -> Ancestor {
    Ancestor {
        uid,
        gid,
        mode,
        has_acl: false,
    }
}

#[test]
fn a_tree_is_out_of_reach_below_a_directory_that_only_root_may_enter() {
    let safe = |record: &Record, ancestor: Ancestor| check_exposure(record, &[ancestor]).is_ok();
    for (ancestor, expected) in [
        (above(0, 0, 0o700), true),
        (above(0, 50, 0o740), true),
        (above(0, 0, 0o710), true),
        (above(0, 50, 0o710), false),
        (above(0, 0, 0o701), false),
        (above(0, 0, 0o755), false),
        // Its owner may enter it.
        (above(1000, 0, 0o700), false),
    ] {
        let text = format!("{ancestor:?}");
        assert_eq!(safe(&here(), ancestor), expected, "{text}");
    }
    let with_acl = |mode| Ancestor {
        has_acl: true,
        ..above(0, 0, mode)
    };
    assert!(safe(&here(), with_acl(0o700)));
    assert!(!safe(&here(), with_acl(0o710)));
}

/// As the directories of a remapped engine are.
#[test]
fn the_group_of_the_containers_may_enter_while_the_mount_hides_the_tree() {
    let of_containers = || [above(0, 100_000, 0o710)];
    assert!(check_exposure(&here(), &of_containers()).is_ok());
    assert!(check_exposure(&record("/elsewhere"), &of_containers()).is_err());
}

fn source(uid: u32, gid: u32) -> Source {
    Source {
        owner: Some(Owner { uid, gid }),
        ancestors: vec![],
        mounts: vec![],
        is_idmapped: false,
    }
}

#[test]
fn a_tree_that_would_not_be_shown_right_is_refused() {
    let why = |source: &Source, keep| {
        let checked = check_source(&here(), source, keep);
        checked.map_err(|error| error.to_string()).err()
    };
    assert_eq!(why(&source(0, 65_535), false), None);
    let shifted = why(&source(0, 100_005), true).unwrap();
    assert!(shifted.contains("gid 100005") && shifted.contains("already"));
    let unmapped = why(&source(70_000, 0), false).unwrap();
    assert!(unmapped.contains("uid 70000") && unmapped.contains("nobody"));
    assert_eq!(why(&source(70_000, 0), true), None);
    let hidden = Source {
        owner: None,
        ..source(0, 0)
    };
    assert_eq!(why(&hidden, false), None);
    let idmapped = Source {
        is_idmapped: true,
        ..source(0, 0)
    };
    assert!(why(&idmapped, true).unwrap().contains("idmapped"));
    let with_mounts = Source {
        mounts: vec!["/srv/private/www/cache".into()],
        ..source(0, 0)
    };
    assert!(why(&with_mounts, true).unwrap().contains("www/cache"));
}

#[test]
fn the_tree_and_its_place_are_one_or_apart() {
    let check =
        |place: &str, is_mount| check_place("/srv/www".as_ref(), place.as_ref(), is_mount).is_ok();
    assert!(check("/srv/www", false) && check("/srv/www", true));
    assert!(check("/srv/view", false) && !check("/srv/view", true));
    assert!(!check("/srv", false) && !check("/srv/www/view", false));
}

#[test]
fn the_kernel_s_no_comes_with_a_reason_and_a_way_out() {
    let unsupported = || idmapped::Error::Unsupported("/srv/www".into());
    let words = |error, kind| refusal(error, kind, "5.10.0").to_string();
    for (text, parts) in [
        (
            words(idmapped::Error::OldKernel, "ext4"),
            ["5.12", "5.10.0"],
        ),
        (words(unsupported(), "btrfs"), ["btrfs", "from Linux 5.15"]),
        (words(unsupported(), "fuse.sshfs"), ["fuse.sshfs", "6.12"]),
        (
            words(unsupported(), "overlay"),
            ["overlay", "cannot be idmapped"],
        ),
        (words(unsupported(), "nfs4"), ["nfs4", "cannot be idmapped"]),
    ] {
        let told = parts.iter().all(|part| text.contains(part));
        assert!(told && text.contains("strategy=shift"), "{text}");
    }
}
