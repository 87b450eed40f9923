use super::*;
use crate::{
    args::State,
    bind_mounts::{Binds, back, settled, volumes},
    record::Record,
    samples::{args, container, plain, remapped, volume},
    step::Direction,
    verdict::Source,
};
use rechown::{Immutable, OutsideLinks, Strays, Unknown};
use serde_json::json;
use std::collections::BTreeMap;

const MAPS: &str = "0:165536:65536";

fn maps() -> IdMaps {
    IdMaps::parse(&[MAPS]).unwrap()
}

/// A plain engine whose containers mount these paths, directories of root's.
fn mounting(mounts: &[(&str, &str)]) -> Observed {
    let mut observed = plain();
    let of = |(name, path): &(&str, &str)| {
        container(name, |c| {
            c["Mounts"] =
                json!([{"Type": "bind", "Source": path, "Destination": "/data", "RW": true}]);
        })
    };
    observed.containers = mounts.iter().map(of).collect();
    mounts
        .iter()
        .for_each(|(_, path)| exists(&mut observed, path));
    observed
}

fn exists(observed: &mut Observed, path: &str) {
    let tree = Tree {
        path: path.into(),
        is_directory: true,
        done: None,
    };
    observed.trees.insert(path.into(), tree);
    source(observed, path, |_| {});
}

fn source(observed: &mut Observed, path: &str, change: fn(&mut Source)) {
    let mut source = Source {
        mode: 0o700,
        ..Source::default()
    };
    change(&mut source);
    observed.facts.sources.insert(path.into(), source);
}

fn asked(binds: &[(&str, How)]) -> Args {
    let wish = |strategy| Wish {
        strategy,
        ..Wish::default()
    };
    let named = binds
        .iter()
        .map(|(path, how)| ((*path).to_owned(), wish(*how)));
    Args {
        bind_mounts: named.collect(),
        ..args(State::Enabled)
    }
}

fn decided(args: &Args, observed: &Observed) -> Decided {
    let workloads = observed.workloads();
    let mut found = verdict::findings(&workloads, &observed.facts, &maps().uid);
    decide(args, observed, &workloads, &maps(), &mut found)
}

fn strategies(decided: &Decided) -> Vec<(&str, &'static str)> {
    let mounts = decided.mounts.iter();
    mounts
        .map(|(mount, _)| (mount.path.to_str().unwrap(), mount.prepared.name()))
        .collect()
}

/// The one refusal of a path that is asked for so.
fn refusal(binds: &[(&str, How)], observed: &Observed) -> String {
    let decided = decided(&asked(binds), observed);
    assert_eq!(decided.refusals.len(), 1, "{:?}", decided.refusals);
    decided.refusals[0].clone()
}

#[test]
fn auto_takes_what_the_host_has_to_do_with_a_path_into_account() {
    let paths = ["/srv/a", "/srv/git", "/srv/used", "/srv/file", "/etc/x"];
    let mut observed = mounting(&paths.map(|path| ("web", path)));
    source(&mut observed, "/srv/git", |source| source.in_git = true);
    source(&mut observed, "/srv/used", |source| {
        source.users = vec!["rsync".into()]
    });
    source(&mut observed, "/srv/file", |source| source.is_file = true);
    observed
        .trees
        .get_mut(Path::new("/srv/file"))
        .unwrap()
        .is_directory = false;
    let expected = [
        ("/etc/x", "leave"),
        ("/srv/a", "shift"),
        ("/srv/file", "idmap"),
        ("/srv/git", "idmap"),
        ("/srv/used", "idmap"),
    ];
    let named = decided(&asked(&paths.map(|path| (path, How::Auto))), &observed);
    assert_eq!(named.refusals, Vec::<String>::new());
    assert_eq!(strategies(&named), expected);
    // The system's, git's and the program's.
    assert_eq!(named.warnings.len(), 3);
    let mut wish = asked(&[]);
    wish.other_bind_mounts = Others::Auto;
    assert_eq!(strategies(&decided(&wish, &observed)), expected);
}

#[test]
fn what_is_not_named_is_told_refused_or_decided() {
    let observed = mounting(&[("web", "/srv/a"), ("db", "/srv/b"), ("log", "/srv/b/in")]);
    let of = |others| {
        let mut wish = asked(&[("/srv/a", How::Leave)]);
        wish.other_bind_mounts = others;
        decided(&wish, &observed)
    };
    let (warned, refused) = (of(Others::Warn), of(Others::Refuse));
    assert!(warned.refusals.is_empty() && warned.warnings.len() == 2);
    assert!(refused.refusals.len() == 2 && refused.refusals[0].contains("/srv/b"));
    // What lies in a directory is prepared with it.
    let auto = of(Others::Auto);
    assert_eq!(
        strategies(&auto),
        [("/srv/a", "leave"), ("/srv/b", "shift")]
    );
    assert!(auto.refusals.is_empty() && auto.warnings.is_empty());
}

#[test]
fn what_is_left_is_left_alone_and_not_what_lies_in_it() {
    let mut observed = mounting(&[("monitor", "/"), ("web", "/srv/a")]);
    let auto = || Args {
        other_bind_mounts: Others::Auto,
        ..asked(&[])
    };
    assert_eq!(
        strategies(&decided(&auto(), &observed)),
        [("/", "leave"), ("/srv/a", "shift")]
    );
    assert_eq!(
        decided(&asked(&[("/", How::Leave)]), &observed)
            .warnings
            .len(),
        1
    );
    let bind = json!({"type": "none", "o": "bind", "device": "/srv/a"});
    observed.volumes = vec![volume("bound", bind)];
    let left = decided(&asked(&[("/", How::Leave)]), &observed).mounts;
    let left = left.iter().map(|(mount, _)| mount);
    assert_eq!(volumes(&observed, left, Others::Warn).len(), 1);
}

#[test]
fn paths_that_must_not_be_changed_are_refused_with_the_way_out() {
    let mut observed = mounting(&[
        ("web", "/srv/a"),
        ("home", "/root"),
        ("all", "/var/lib"),
        ("self", "/var/lib/docker/x"),
        ("done", "/srv/done"),
        ("file", "/srv/file"),
    ]);
    exists(&mut observed, "/srv/unused");
    observed.trees.get_mut(Path::new("/srv/done")).unwrap().done = Some("was shifted");
    observed
        .trees
        .get_mut(Path::new("/srv/file"))
        .unwrap()
        .is_directory = false;
    for (path, how, words) in [
        (
            "relative",
            How::Leave,
            "neither an absolute path nor a volume",
        ),
        ("/no/such", How::Leave, "does not exist"),
        ("/srv/unused", How::Shift, "no container mounts it"),
        ("/root", How::Idmap, "allow_dangerous_path"),
        ("/var/lib", How::Shift, "belongs to the system"),
        ("/var/lib/docker/x", How::Shift, "data root"),
        ("/srv/done", How::Idmap, "was shifted already"),
        ("/srv/file", How::Shift, "single file"),
    ] {
        let said = refusal(&[(path, how)], &observed);
        assert!(said.contains(words), "{said}");
    }
    for left in ["/root", "/var/lib", "/srv/done", "/srv/unused"] {
        assert!(
            decided(&asked(&[(left, How::Leave)]), &observed)
                .refusals
                .is_empty()
        );
    }
    assert!(
        decided(&asked(&[("/srv/file", How::Idmap)]), &observed)
            .refusals
            .is_empty()
    );
    let mut insisting = asked(&[("/root", How::Shift)]);
    insisting
        .bind_mounts
        .get_mut("/root")
        .unwrap()
        .allow_dangerous_path = true;
    assert!(decided(&insisting, &observed).refusals.is_empty());
}

#[test]
fn one_path_is_not_prepared_twice() {
    let observed = mounting(&[("web", "/srv/a"), ("db", "/srv/a/in")]);
    for (outer, inner) in [(How::Shift, How::Idmap), (How::Idmap, How::Leave)] {
        let said = refusal(&[("/srv/a", outer), ("/srv/a/in", inner)], &observed);
        assert!(said.contains("/srv/a/in lies in /srv/a"), "{said}");
    }
    let inside = asked(&[("/srv/a", How::Leave), ("/srv/a/in", How::Shift)]);
    assert!(decided(&inside, &observed).refusals.is_empty());
}

#[test]
fn a_path_shared_with_a_container_in_host_mode_is_only_left() {
    let mut observed = mounting(&[
        ("web", "/srv/a"),
        ("vpn", "/srv/a/keys"),
        ("cadvisor", "/srv"),
    ]);
    for name in ["vpn", "cadvisor"] {
        observed = observed.with_host_mode(&[format!("{name}-id")]);
    }
    for how in [How::Shift, How::Idmap, How::Auto] {
        let said = refusal(&[("/srv/a", how)], &observed);
        assert!(said.contains("mounted by vpn too"), "{said}");
    }
    assert!(
        decided(&asked(&[("/srv/a", How::Leave)]), &observed)
            .refusals
            .is_empty()
    );
}

#[test]
fn volumes_with_a_device_have_to_be_named() {
    let mut observed = plain();
    exists(&mut observed, "/srv/x");
    observed.volumes = vec![
        volume(
            "bound",
            json!({"type": "none", "o": "bind", "device": "/srv/x"}),
        ),
        volume(
            "share",
            json!({"type": "nfs", "o": "addr=10.0.0.1", "device": ":/srv"}),
        ),
        volume("memory", json!({"type": "tmpfs", "device": "tmpfs"})),
    ];
    let of = |binds: &[(&str, How)]| {
        let decided = decided(&asked(binds), &observed);
        let mounts = decided.mounts.iter().map(|(mount, _)| mount);
        (volumes(&observed, mounts, Others::Warn), decided.refusals)
    };
    let (unnamed, _) = of(&[]);
    assert!(unnamed.len() == 2 && unnamed[0].contains("/srv/x") && unnamed[1].contains("server's"));
    for share in ["share", ":/srv"] {
        assert_eq!(
            of(&[("/srv/x", How::Shift), (share, How::Leave)]),
            (vec![], vec![])
        );
        assert!(of(&[(share, How::Shift)]).1[0].contains("can only be left"));
    }
}

fn recorded(prepared: Prepared) -> Observed {
    let mut observed = remapped();
    exists(&mut observed, "/srv/a");
    let path = "/srv/a".into();
    observed.record = Some(Record {
        config_file: "/etc/docker/daemon.json".into(),
        bind_mounts: vec![BindMount { path, prepared }],
        ..Record::default()
    });
    observed
}

#[test]
fn a_remapped_engine_has_what_it_has() {
    let shifted = recorded(Prepared::Shift(Wish::default().policy()));
    for fine in [How::Shift, How::Auto] {
        assert!(settled(&asked(&[("/srv/a", fine)]), &shifted).is_empty());
    }
    let other = settled(&asked(&[("/srv/a", How::Idmap)]), &shifted);
    assert!(other[0].contains("was prepared with shift"), "{other:?}");
    let new = |observed: &Observed| settled(&asked(&[("/srv/new", How::Shift)]), observed);
    assert!(new(&shifted)[0].contains("volume_rechown"));
    let mut by_hand = shifted;
    exists(&mut by_hand, "/srv/new");
    by_hand.trees.get_mut(Path::new("/srv/new")).unwrap().done = Some("was shifted");
    assert!(new(&by_hand).is_empty());
}

#[test]
fn the_way_back_takes_what_was_remembered_by_the_data_root_s_rules() {
    let allowed: Wish = serde_json::from_value(json!({"immutable": "lift"})).unwrap();
    let observed = recorded(Prepared::Shift(allowed.policy()));
    let (binds, warnings) = back(&observed, &maps().invert());
    assert!(warnings.is_empty());
    let survey = binds.survey_policy(Path::new("/srv/a")).unwrap();
    assert_eq!(
        (survey.unmapped, survey.immutable),
        (Unknown::Refuse, Immutable::Lift)
    );
    assert_eq!(
        (survey.strays, survey.outside_links),
        (Strays::Leave, OutsideLinks::Shift)
    );
    let [crate::step::Step::ShiftBindMount { policy, .. }] = &binds.steps()[..] else {
        panic!("{:?}", binds.steps())
    };
    assert_eq!(policy.unmapped, Unknown::Keep);
    let mut gone = observed;
    gone.trees = BTreeMap::new();
    let (binds, warnings) = back(&gone, &maps().invert());
    assert!(binds.steps().is_empty() && warnings[0].contains("/srv/a was shifted and is gone"));
}

#[test]
fn each_shift_has_a_journal_of_its_own_and_what_is_left_has_no_step() {
    let observed = mounting(&[("web", "/srv/a"), ("db", "/srv/b"), ("log", "/srv/c")]);
    let wish = asked(&[
        ("/srv/a", How::Shift),
        ("/srv/b", How::Leave),
        ("/srv/c", How::Shift),
    ]);
    let binds = Binds {
        mounts: decided(&wish, &observed).mounts,
        maps: maps(),
        direction: Direction::ToRemapped,
    };
    let journals = binds.steps().into_iter().map(|step| match step {
        crate::step::Step::ShiftBindMount { path, journal, .. } => (path, journal),
        other => panic!("{other:?}"),
    });
    let expected = [("/srv/a", "bind-0"), ("/srv/c", "bind-2")];
    assert_eq!(
        journals.collect::<Vec<_>>(),
        expected.map(|(path, name)| (path.into(), name.into()))
    );
    assert_eq!(
        binds.paths().collect::<Vec<_>>(),
        [Path::new("/srv/a"), Path::new("/srv/c")]
    );
}
