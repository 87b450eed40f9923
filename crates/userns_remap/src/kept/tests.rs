//! What becomes of a kept root, for each wish.

use super::*;
use crate::{
    args::{Args, CarryOver, State},
    plan::{Plan, plan},
    record::Record,
    samples::{args, container, entry, plain, remapped, volume},
    step::Step,
};
use serde_json::Value;

fn planned(observed: &Observed, change: impl FnOnce(&mut Args)) -> Plan {
    let mut wish = args(State::Disabled);
    change(&mut wish);
    plan(&wish, observed, "").unwrap()
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(Step::name).collect()
}

fn copied() -> Plan {
    planned(&plain(), |wish| {
        (wish.state, wish.carry_over) = (State::Enabled, CarryOver::Copy);
    })
}

/// Remapped with a kept root; since then `web` has stopped, `old` was removed, `new` and a volume came.
fn with_kept_root() -> Observed {
    let mut record = copied().steps.iter().find_map(|step| match step {
        Step::Configure(change) => change.record_after.clone(),
        _ => None,
    });
    let kept = record.as_mut().and_then(|record| record.kept.as_mut());
    kept.unwrap().running.push("old-id".to_owned());
    let mut observed = Observed {
        record,
        containers: vec![
            container("web", |web| web["State"]["Status"] = "exited".into()),
            container("new", |_| {}),
        ],
        in_kept_root: Inventory {
            images: vec!["sha256:1".to_owned()],
            containers: vec!["old-id".to_owned(), "web-id".to_owned()],
            volumes: vec!["data".to_owned()],
            ..Inventory::default()
        },
        ..remapped()
    };
    observed.volumes.push(volume("fresh", Value::Null));
    observed.root.extend(plain().root);
    observed
}

#[test]
fn a_copy_takes_what_it_can_before_the_stop_and_remembers_what_it_leaves() {
    let plan = copied();
    assert_eq!(plan.refusals, Vec::<String>::new());
    assert_eq!(
        names(&plan),
        [
            "guard",
            "account",
            "copy_layers",
            "stop_containers",
            "stop_engine",
            "hold",
            "prove_stopped",
            "copy_rest",
            "own",
            "rewrite_containers",
            "configure",
            "use_copy",
            "release",
            "start_engine",
            "verify_inventory",
            "start_containers",
        ]
    );
    assert!(plan.shift.is_some());
    let kept = with_kept_root().kept().unwrap().clone();
    assert_eq!(kept.entries, ["image", "overlay2", "volumes"]);
    assert_eq!(kept.running, ["web-id", "old-id"]);
}

#[test]
fn a_second_copy_changes_nothing() {
    let plan = planned(&with_kept_root(), |wish| {
        (wish.state, wish.carry_over) = (State::Enabled, CarryOver::Copy);
    });
    assert!(plan.steps.is_empty() && plan.refusals.is_empty());
}

#[test]
fn what_came_since_is_carried_back_past_the_kept_root() {
    for carry_over in [CarryOver::InPlace, CarryOver::Copy] {
        let plan = planned(&with_kept_root(), |wish| wish.carry_over = carry_over);
        assert_eq!(plan.refusals, Vec::<String>::new());
        let at = names(&plan).iter().position(|name| *name == "move_root");
        let Step::SetAside { names, .. } = &plan.steps[at.unwrap() - 1] else {
            panic!("{:?}", plan.steps)
        };
        assert_eq!(names, &["image", "overlay2", "volumes"]);
    }
}

#[test]
fn data_beside_the_kept_root_is_still_refused() {
    let mut observed = with_kept_root();
    observed.root.push(entry("buildkit"));
    let said = planned(&observed, |_| {}).refusals;
    assert!(
        said[0].contains("buildkit; move it away, or it would be mixed with what is carried over"),
        "{said:?}"
    );
}

#[test]
fn falling_back_moves_no_data_and_says_what_is_lost() {
    let plan = planned(&with_kept_root(), |wish| wish.discard_new_data = true);
    assert_eq!(plan.refusals, Vec::<String>::new());
    let said = plan
        .warnings
        .iter()
        .find(|said| said.contains("discard_new_data"))
        .unwrap();
    assert!(
        said.contains("1 containers, 1 volumes and 0 images"),
        "{said}"
    );
    assert_eq!(
        names(&plan)[4..],
        [
            "prove_stopped",
            "set_aside",
            "configure",
            "release",
            "start_engine",
            "verify_inventory",
            "start_containers"
        ]
    );
    let Some(Step::SetAside {
        names,
        data_root,
        aside,
    }) = plan.steps.get(5)
    else {
        panic!()
    };
    assert_eq!(names, &["165536.165536"]);
    assert_eq!(*aside, data_root.join(ASIDE));
    // What ran then runs again, what was removed since stays down.
    let Some(Step::StartContainers {
        running,
        idle,
        maps,
    }) = plan.steps.last()
    else {
        panic!()
    };
    assert_eq!(
        running
            .iter()
            .map(|container| &*container.id)
            .collect::<Vec<_>>(),
        ["web-id"]
    );
    assert_eq!(**idle, ["old-id".to_owned()]);
    assert_eq!(*maps, idmap::IdMaps::identity());
    let Some(Step::VerifyInventory(inventory)) = plan.steps.get(9) else {
        panic!()
    };
    assert_eq!(inventory.containers, ["old-id", "web-id"]);
}

#[test]
fn discarding_is_refused_where_there_is_nothing_to_fall_back_to() {
    let discard =
        |observed: &Observed| planned(observed, |wish| wish.discard_new_data = true).refusals;
    assert!(discard(&remapped())[0].contains("none is on record"));
    let mut observed = with_kept_root();
    observed.root.retain(|entry| entry.name != "volumes");
    assert!(discard(&observed)[0].contains("lacks volumes"));
    let mut observed = with_kept_root();
    observed.irregular.push(("/v".into(), "a mount of its own"));
    assert!(discard(&observed)[0].contains("/v is a mount of its own"));
    let mut observed = with_kept_root();
    observed.root.push(entry(ASIDE));
    assert!(discard(&observed)[0].contains("bulkhead-aside"));
    // It is so already.
    let plan = planned(&plain(), |wish| wish.discard_new_data = true);
    assert!(plan.refusals.is_empty() && plan.steps.is_empty());
    let plan = planned(&plain(), |wish| {
        (wish.state, wish.discard_new_data) = (State::Enabled, true)
    });
    assert!(plan.refusals[0].contains("state=disabled"));
}

#[test]
fn leaving_all_behind_does_not_fall_back_by_the_way() {
    let said = planned(&with_kept_root(), |wish| wish.carry_over = CarryOver::None).refusals;
    assert!(said[0].contains("say discard_new_data=true"), "{said:?}");
}

#[test]
fn a_record_without_a_kept_root_reads_as_one() {
    let old = r#"{"config_file": "/c", "original": null, "written": null}"#;
    assert_eq!(serde_json::from_str::<Record>(old).unwrap().kept, None);
}
