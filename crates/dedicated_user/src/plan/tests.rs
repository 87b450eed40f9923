//! What is done for which wish on which host, and what is refused.

use super::*;
use crate::{
    args::Args,
    observed::Observed,
    remains::Remains,
    samples::{account, args, directory, group, host, made},
    search::Found,
    step::What,
};
use host::accounts::Kind;
use idmap::{SubRange, subid::Subids};
use serde_json::json;

fn steps(args: &Args, observed: &Observed) -> Vec<&'static str> {
    present(args, observed)
        .unwrap()
        .steps
        .iter()
        .map(Step::name)
        .collect()
}

fn refused(args: &Args, observed: &Observed) -> String {
    present(args, observed).unwrap_err().join("\n")
}

#[test]
fn a_new_account_is_made_whole_and_one_that_is_whole_needs_nothing() {
    let wish = args(json!({}));
    let all = [
        "group",
        "account",
        "ranges",
        "home",
        "secrets_dir",
        "linger",
    ];
    assert_eq!(steps(&wish, &host()), all);
    assert_eq!(steps(&wish, &made()), [""; 0]);
    let plan = present(&wish, &host()).unwrap();
    assert_eq!(
        plan.after,
        crate::observed::Shape::of(&made(), &wish.secrets_dir())
    );
}

#[test]
fn what_drifted_is_put_right_and_nothing_else() {
    let wish = args(json!({}));
    let mut drifted = made();
    drifted.home = Some(directory(1001, 1001, 0o755));
    assert_eq!(steps(&wish, &drifted), ["home"]);
    let mut drifted = made();
    drifted.secrets = Some(directory(0, 0, 0o750));
    assert_eq!(steps(&wish, &drifted), ["secrets_dir"]);
    let mut drifted = made();
    drifted.linger = false;
    assert_eq!(steps(&wish, &drifted), ["linger"]);
    let mut drifted = made();
    drifted.subgid = Subids::parse(b"ann:100000:65536\n");
    let plan = present(&wish, &drifted).unwrap();
    let range = SubRange {
        start: 165_536,
        count: 65_536,
    };
    assert_eq!(
        plan.steps[0].what,
        What::Ranges {
            add: vec![(Kind::Gid, range)]
        }
    );
    assert_eq!(steps(&args(json!({"comment": "x"})), &made()), ["change"]);
}

#[test]
fn the_way_to_the_home_is_opened_where_it_is_ours_and_refused_elsewhere() {
    let wish = args(json!({}));
    let mut closed = made();
    closed.above_home[0].1.mode = 0o700;
    let plan = present(&wish, &closed).unwrap();
    let path = "/var/lib/containers".into();
    assert_eq!(plan.steps[0].what, What::Open { path, mode: 0o700 });
    closed.above_home[0].1.gid = 1001;
    closed.above_home[0].1.mode = 0o710;
    assert_eq!(steps(&wish, &closed), [""; 0]);
    closed.above_home = vec![("/srv/x".into(), directory(0, 0, 0o750))];
    assert!(refused(&wish, &closed).contains("chmod o+x /srv/x"));
}

#[test]
fn the_home_of_an_account_that_has_another_keeps_its_mode() {
    let mut ann = made();
    let home = std::path::PathBuf::from("/home/web");
    ann.account.as_mut().unwrap().home.clone_from(&home);
    ann.traits.as_mut().unwrap().home.clone_from(&home);
    ann.home = Some(directory(1001, 1001, 0o755));
    assert_eq!(steps(&args(json!({})), &ann), [""; 0]);
    assert_eq!(steps(&args(json!({"home": "/home/web"})), &ann), ["home"]);
    let said = refused(&args(json!({"home": "/srv/web"})), &ann);
    assert!(said.contains("leave home out"), "{said}");
}

#[test]
fn a_new_uid_is_above_all_others_and_brings_no_ranges_with_it() {
    let mut observed = host();
    observed.subuid = Subids::parse(b"1001:500000:10\nann:1002:1\n");
    observed.groups.push(group("other", 1003));
    let step = present(&args(json!({})), &observed)
        .unwrap()
        .steps
        .remove(0);
    assert_eq!((step.uid, step.gid), (1004, 1004));
    observed.accounts.push(account("last", 60_000));
    let step = present(&args(json!({})), &observed)
        .unwrap()
        .steps
        .remove(0);
    assert_eq!(step.uid, 1004);
    observed.ids = 1000..=1003;
    assert!(refused(&args(json!({})), &observed).contains("no id from 1000 to 1003"));
}

#[test]
fn a_group_that_is_there_is_used_and_outlives_an_undo() {
    let mut observed = host();
    observed.groups.push(group("services", 700));
    let plan = present(&args(json!({"group": "services"})), &observed).unwrap();
    let What::Account { group_stays, .. } = &plan.steps[0].what else {
        panic!("{plan:?}")
    };
    assert!(group_stays);
    assert_eq!((plan.steps[0].uid, plan.steps[0].gid), (1001, 700));
    for (wish, said) in [
        (json!({"group": "services", "gid": 5}), "has gid 700"),
        (json!({"gid": 700}), "is the group services's"),
        (json!({"uid": 1000}), "uid 1000 is ann's"),
        (json!({"uid": 0}), "uid has to lie between"),
        (json!({"groups": ["staff", "podman"]}), "no group staff"),
    ] {
        let found = refused(&args(wish), &observed);
        assert!(found.contains(said), "{found}");
    }
}

#[test]
fn names_that_not_every_program_takes_are_refused_with_a_proposal() {
    for (name, said) in [
        ("Silly Tavern", "call it sillytavern"),
        ("日本", "choose another"),
        (
            "storage",
            "/var/lib/containers/storage, which is Podman's own",
        ),
        ("cache", "another home"),
    ] {
        let found = refused(&args(json!({ "name": name })), &host());
        assert!(found.contains(said), "{found}");
    }
    assert!(present(&args(json!({"name": "opnsense-exporter"})), &host()).is_ok());
    let found = refused(&args(json!({"group": "My Group"})), &host());
    assert!(
        found.contains("group \"My Group\"") && found.contains("call it mygroup"),
        "{found}"
    );
}

#[test]
fn what_belongs_to_somebody_else_is_refused() {
    let mut observed = host();
    observed.home = Some(directory(0, 0, 0o755));
    assert!(refused(&args(json!({})), &observed).contains("belongs to uid 0, not 1001"));
    let mut observed = host();
    observed.secrets = Some(directory(1000, 0, 0o755));
    assert!(refused(&args(json!({})), &observed).contains("no directory of root's"));
    let mut observed = host();
    observed.subuid = Subids::parse(b"ann:100000:65536\nweb:165000:65536\n");
    let found = refused(&args(json!({})), &observed);
    assert!(
        found.contains("of ann") && found.contains("/etc/subuid"),
        "{found}"
    );
    let found = refused(&args(json!({"subid_count": 100_000})), &made());
    assert!(found.contains("fewer than subid_count=100000"), "{found}");
    let mut daemon = made();
    daemon.account.as_mut().unwrap().uid = 1;
    assert!(refused(&args(json!({})), &daemon).contains("belongs to the system"));
    let mut homeless = made();
    homeless.account.as_mut().unwrap().home = "/nonexistent".into();
    assert!(refused(&args(json!({})), &homeless).contains("make an account of another name"));
    let mut remote = made();
    remote.accounts.pop();
    assert!(refused(&args(json!({})), &remote).contains("not in /etc/passwd"));
    let wish = args(json!({"state": "absent"}));
    assert!(absent(&wish, &remote).unwrap_err()[0].contains("not in /etc/passwd"));
}

#[test]
fn groups_as_good_as_root_are_told() {
    let warned = |wish| present(&args(wish), &host()).unwrap().warnings;
    assert_eq!(warned(json!({})), [""; 0]);
    for name in ["podman", "docker"] {
        let found = warned(json!({"groups": [name]}));
        assert!(
            found[0].contains("as good as root") && found[0].contains(name),
            "{found:?}"
        );
    }
    let mut member = made();
    member.traits.as_mut().unwrap().groups = vec!["docker".to_owned()];
    assert_eq!(
        present(&args(json!({})), &member).unwrap().warnings.len(),
        1
    );
}

fn leaving(remains: Remains) -> Observed {
    Observed {
        remains: Some(remains),
        ..made()
    }
}

fn clean() -> Remains {
    Remains {
        files: Found {
            whole: true,
            ..Found::default()
        },
        ..Remains::default()
    }
}

#[test]
fn an_account_with_nothing_left_goes_with_its_group() {
    let wish = args(json!({"state": "absent"}));
    let plan = absent(&wish, &leaving(clean())).unwrap();
    let [linger, removal] = &plan.steps[..] else {
        panic!("{plan:?}")
    };
    assert_eq!(linger.what, What::Linger { on: false });
    let What::Remove(removal) = &removal.what else {
        panic!("{removal:?}")
    };
    assert_eq!(removal.group.as_deref(), Some("web"));
    assert_eq!((removal.home.as_ref(), removal.account), (None, true));
    assert!(plan.warnings[0].contains("stays"));
    assert_eq!(absent(&wish, &host()).unwrap().steps, []);
    let mut shared = leaving(clean());
    shared.groups.last_mut().unwrap().members = vec!["ann".to_owned()];
    assert_eq!(private_group(&shared), None);
}

#[test]
fn each_thing_left_is_refused_by_name() {
    let wish = args(json!({"state": "absent", "remove_home": true}));
    let one = || vec!["x".to_owned()];
    let files = |count, whole| Found {
        count,
        whole,
        paths: vec!["/srv/x".into()],
        ..Found::default()
    };
    for (remains, said) in [
        (
            Remains {
                processes: one(),
                ..clean()
            },
            "processes of its own: x",
        ),
        (
            Remains {
                units: one(),
                ..clean()
            },
            "units of its own: x",
        ),
        (
            Remains {
                containers: one(),
                ..clean()
            },
            "containers of its own: x",
        ),
        (
            Remains {
                files: files(3, true),
                ..clean()
            },
            "3 files outside its home",
        ),
        (
            Remains {
                files: files(0, false),
                ..clean()
            },
            "not done in time",
        ),
    ] {
        let found = absent(&wish, &leaving(remains)).unwrap_err().join("\n");
        assert!(found.contains(said), "{found}");
    }
    let mut observed = leaving(clean());
    observed.secrets_files = vec!["/run/secrets-web/key".into()];
    observed.mounts_in_home = vec!["/var/lib/containers/web/data".into()];
    observed.accounts.push(account("web/inner", 1002));
    let found = absent(&wish, &observed).unwrap_err();
    assert_eq!(found.len(), 3, "{found:?}");
}
