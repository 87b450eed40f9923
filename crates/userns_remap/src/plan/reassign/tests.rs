//! From one range to another: what is planned for which host and wish.

use super::*;
use crate::{
    args::State,
    plan::{plan, tests::STAMP},
    record::{BindMount, Kept, Prepared},
    samples::{args, container, entry, ids, remapped},
};
use host::accounts::Account;
use idmap::subid::Subids;
use serde_json::json;
use std::path::Path;
use trees::idmapped;

const B: &str = "/var/lib/docker/400000.500000";

/// The engine runs as dockremap; wanted is an account with two ranges of user ids and another of group ids.
fn to_shop() -> (Args, Observed) {
    let mut observed = remapped();
    observed.ids = crate::observed::Ids {
        name: "shop".to_owned(),
        account: Some(Account {
            name: "shop".to_owned(),
            uid: 1005,
            gid: 1005,
            home: "/".into(),
            shell: "/".into(),
        }),
        has_group: true,
        subuid: Subids::parse(b"dockremap:165536:65536\nshop:400000:10\nshop:600000:65526\n"),
        subgid: Subids::parse(b"dockremap:165536:65536\nshop:500000:65536\n"),
        ..ids()
    };
    let mut args = args(State::Enabled);
    args.user = "shop".to_owned();
    (args, observed)
}

fn maps(uids: &str, gids: &str) -> IdMaps {
    IdMaps::parse(&[format!("u:{uids}"), format!("g:{gids}")]).unwrap()
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(Step::name).collect()
}

fn done(args: &Args, observed: &Observed) -> Plan {
    let plan = plan(args, observed, STAMP).unwrap();
    assert_eq!(plan.refusals, Vec::<String>::new());
    plan
}

#[test]
fn another_account_takes_everything_over_by_the_composed_map() {
    let (args, observed) = to_shop();
    let plan = done(&args, &observed);
    assert_eq!(
        names(&plan)[1..9],
        [
            "stop_containers",
            "stop_engine",
            "hold",
            "prove_stopped",
            "move_root",
            "own",
            "shift",
            "rewrite_containers"
        ]
    );
    assert_eq!(plan.data_root, Path::new(B));
    let shift = plan.shift.as_ref().unwrap();
    assert_eq!(
        shift.engine_root,
        Path::new("/var/lib/docker/165536.165536")
    );
    assert_eq!(shift.direction, Direction::Between);
    let to = |id| (shift.maps.uid.to_host(id), shift.maps.gid.to_host(id));
    assert_eq!(to(165_536 + 9), (Some(400_009), Some(500_009)));
    assert_eq!(to(165_536 + 10), (Some(600_000), Some(500_010)));
    // The host's own files stay the host's, and what is nobody's is nobody's.
    assert_eq!(to(33), (Some(33), Some(33)));
    assert_eq!(to(70_000), (None, None));
    let own = plan.steps.iter().find_map(|step| match step {
        Step::Own { before, after, .. } => Some((*before, *after)),
        _ => None,
    });
    assert_eq!(own, Some(((165_536, 165_536), (400_000, 500_000))));
    assert!(plan.steps.iter().any(|step| matches!(
        step,
        Step::StartContainers { maps, .. } if Some(maps) == plan.maps.as_ref()
    )));
}

#[test]
fn what_was_before_the_first_time_stays_known() {
    let (args, mut observed) = to_shop();
    let first = Record {
        config_file: "/etc/docker/daemon.json".into(),
        original: Some("{ }".to_owned()),
        written: observed.config.clone(),
        host_mode: vec!["vpn-id".to_owned()],
        kept: Some(crate::record::Kept {
            entries: vec!["volumes".to_owned()],
            running: vec![],
        }),
        ..Record::default()
    };
    observed.record = Some(first.clone());
    let kept = |observed: &Observed| {
        let steps = done(&args, observed).steps.into_iter();
        let mut records = steps.filter_map(|step| match step {
            Step::Configure(change) => change.record_after,
            _ => None,
        });
        records.next().unwrap()
    };
    let record = kept(&observed);
    assert_eq!(
        (record.original, record.host_mode, record.kept),
        (first.original, first.host_mode, first.kept)
    );
    assert!(record.written.unwrap().contains("shop"));
    assert_eq!(range::root_ids(&record.maps.unwrap()), (400_000, 500_000));
    // Changed by hand since, or remapped by hand: what it says now, without the key.
    observed.config = Some("{\"userns-remap\": \"default\", \"b\": 2}".to_owned());
    assert_eq!(
        kept(&observed).original.as_deref(),
        Some("{\n    \"b\": 2\n}\n")
    );
}

#[test]
fn a_kept_root_and_shifted_bind_mounts_go_along_and_idmapped_ones_are_refused() {
    let (args, mut observed) = to_shop();
    let shifted = BindMount {
        path: "/srv/a".into(),
        prepared: Prepared::Shift(Direction::ToRemapped.policy()),
    };
    observed.root.push(entry("volumes"));
    observed.record = Some(Record {
        kept: Some(Kept {
            entries: vec!["volumes".to_owned()],
            running: vec![],
        }),
        bind_mounts: vec![shifted],
        ..Record::default()
    });
    let steps = done(&args, &observed).steps;
    assert!(!steps.iter().any(|step| step.name() == "set_aside"));
    let by = steps.iter().find_map(|step| match step {
        Step::ShiftBindMount { maps, .. } => Some(maps.uid.to_host(165_536)),
        _ => None,
    });
    assert_eq!(by, Some(Some(400_000)));
    let maps = maps("0:165536:65536", "0:165536:65536");
    let shown = idmapped::Record {
        path: "/srv/b".into(),
        mount_at: "/srv/b".into(),
        maps,
        services: vec![],
        executable: String::new(),
    };
    if let Some(record) = &mut observed.record {
        record.bind_mounts[0].prepared = Prepared::Idmap(shown);
    }
    let refused = plan(&args, &observed, STAMP).unwrap().refusals;
    assert!(
        refused[0].contains("/srv/a is shown by an idmapped mount"),
        "{refused:?}"
    );
}

#[test]
fn the_same_ids_under_another_name_only_change_the_file() {
    let (mut args, mut observed) = to_shop();
    observed.ids = remapped().ids;
    args.user = "dockremap".to_owned();
    assert_eq!(names(&done(&args, &observed)), ["configure"]);
    args.user = "default".to_owned();
    assert!(done(&args, &observed).steps.is_empty());
    // What would stop the engine stands in the way of a change only.
    observed.ids.has_group = false;
    assert!(done(&args, &observed).steps.is_empty());
    args.user = "dockremap".to_owned();
    let said = plan(&args, &observed, STAMP).unwrap().refusals;
    assert!(said[0].contains("a group dockremap"), "{said:?}");
}

#[test]
fn lines_that_are_gone_are_put_back_without_a_stop() {
    let mut observed = remapped();
    observed.ids.subgid = Subids::parse(b"alice:100000:65536\n");
    observed.container_maps = Some(maps("0:165536:65536", "0:165536:65536"));
    assert_eq!(names(&done(&args(State::Enabled), &observed)), ["account"]);
}

#[test]
fn ids_that_begin_as_before_are_moved_where_they_lie() {
    let mut observed = remapped();
    observed.container_maps = Some(maps("0:165536:65536", "0:165536:65536"));
    observed.ids.subuid = Subids::parse(b"dockremap:165536:10\ndockremap:300000:65526\n");
    let mut wish = args(State::Enabled);
    let plan = done(&wish, &observed);
    assert!(names(&plan).contains(&"shift") && !names(&plan).contains(&"move_root"));
    let shift = plan.shift.unwrap().maps;
    assert_eq!(shift.uid.to_host(165_545), Some(165_545));
    assert_eq!(shift.uid.to_host(165_546), Some(300_000));
    wish.carry_over = CarryOver::None;
    let said = crate::plan::plan(&wish, &observed, STAMP).unwrap().refusals;
    assert!(said[0].contains("carry_over=in_place"), "{said:?}");
}

#[test]
fn the_maps_in_use_are_read_from_a_container_the_files_or_the_record() {
    let mut observed = remapped();
    let ours = maps("0:165536:65536", "0:165536:65536");
    let longer = maps("0:165536:65536", "0:165536:131072");
    assert_eq!(in_use(&observed).unwrap(), ours);
    observed.record = Some(Record {
        config_file: "/etc/docker/daemon.json".into(),
        maps: Some(longer.clone()),
        ..Record::default()
    });
    let said = in_use(&observed).unwrap_err().to_string();
    assert!(said.contains("start one"), "{said}");
    observed.container_maps = Some(ours.clone());
    assert_eq!(in_use(&observed).unwrap(), ours);
    observed.container_maps = None;
    observed.in_use.as_mut().unwrap().subuid = Subids::parse(b"dockremap:900000:65536\n");
    assert_eq!(in_use(&observed).unwrap(), longer);
    observed.record = None;
    let said = in_use(&observed).unwrap_err().to_string();
    assert!(
        said.contains("165536:165536") && said.contains("put the old ranges back"),
        "{said}"
    );
    assert_eq!(
        plan(&args(State::Enabled), &observed, STAMP)
            .unwrap()
            .refusals,
        [said]
    );
}

#[test]
fn what_stands_in_the_way_is_refused() {
    let said = |change: &dyn Fn(&mut Args, &mut Observed)| {
        let (mut args, mut observed) = to_shop();
        change(&mut args, &mut observed);
        plan(&args, &observed, STAMP).unwrap().refusals.join("\n")
    };
    let full = said(&|_, observed| {
        let inside = vec![entry("overlay2")];
        observed
            .remapped_roots
            .insert("400000.500000".to_owned(), inside);
    });
    assert!(full.contains("400000.500000 already holds"), "{full}");
    let groupless = said(&|_, observed| observed.ids.has_group = false);
    assert!(groupless.contains("a group shop"), "{groupless}");
    let paused = said(&|_, observed| {
        observed.containers = vec![container("web", |c| c["State"]["Status"] = json!("paused"))];
    });
    assert!(paused.contains("web is paused"), "{paused}");
}
