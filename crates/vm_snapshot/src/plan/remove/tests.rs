use super::*;
use crate::{samples::vm, step::Step};

fn removal(plan: &Plan) -> &Removal {
    match plan.steps.as_slice() {
        [
            Step {
                what: What::Remove(removal),
                ..
            },
        ] => removal,
        steps => panic!("{steps:?}"),
    }
}

fn merges(removal: &Removal) -> Vec<(&str, &str)> {
    let merges = removal.merges.iter();
    merges
        .map(|merge| (merge.top.as_str(), merge.base.file.as_str()))
        .collect()
}

/// Two snapshots, one after the other.
fn two() -> Observed {
    vm(&["/i/a.2", "/i/a.1", "/i/a"])
        .with_external("1", &["/i/a"], "/i/a.1")
        .with_external("2", &["/i/a.1", "/i/a"], "/i/a.2")
}

/// And back to the first one.
fn back_to_one() -> Observed {
    let mut observed = vm(&["/i/a.r", "/i/a"])
        .with_external("1", &["/i/a"], "/i/a.1")
        .with_external("2", &["/i/a.1", "/i/a"], "/i/a.2");
    observed.left.abandoned = vec!["/i/a.2".into()];
    observed
}

#[test]
fn what_was_written_next_goes_down() {
    let plan = remove(&two(), "2").unwrap();
    assert_eq!(merges(removal(&plan)), [("/i/a.2", "/i/a.1")]);
    assert_eq!(removal(&plan).frozen["1"]["vda"].file, "/i/a");
    let plan = remove(&two(), "1").unwrap();
    assert_eq!(merges(removal(&plan)), [("/i/a.1", "/i/a")]);
    assert_eq!(removal(&plan).merges[0].above, ["/i/a.2"]);
    // The data of the other snapshot has moved.
    assert_eq!(removal(&plan).frozen["2"]["vda"].file, "/i/a");
    assert!(plan.warnings.is_empty());
}

#[test]
fn nothing_is_merged_where_something_else_stands() {
    let plan = remove(&back_to_one(), "1").unwrap();
    let removal = removal(&plan);
    assert!(removal.merges.is_empty() && removal.abandon.is_empty());
    assert_eq!(removal.unmerged[0].1.file, "/i/a");
    assert_eq!(removal.frozen["2"]["vda"].file, "/i/a.1");
    assert!(
        plan.warnings[0].contains("/i/a.1 stands on it too"),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn a_branch_that_nobody_is_on_is_left_to_the_operator() {
    let plan = remove(&back_to_one(), "2").unwrap();
    let abandoned = &removal(&plan).abandon;
    assert_eq!(
        *abandoned,
        [PathBuf::from("/i/a.2"), PathBuf::from("/i/a.1")]
    );
    assert!(removal(&plan).drop.is_empty());
}

#[test]
fn cleaning_drops_what_nothing_needs_and_merges_what_that_had_kept_apart() {
    let mut observed = vm(&["/i/a.r", "/i/a"]);
    observed.left.abandoned = vec!["/i/a.1".into(), "/s/domain.xml".into()];
    observed.below = [("/i/a.1".to_owned(), Some("/i/a".to_owned()))].into();
    let frozen = Source {
        file: "/i/a".to_owned(),
        format: "raw".to_owned(),
    };
    observed.left.unmerged = vec![("vda".to_owned(), frozen)];
    let plan = clean(&observed).unwrap();
    assert_eq!(
        removal(&plan).drop,
        [PathBuf::from("/i/a.1"), PathBuf::from("/s/domain.xml")]
    );
    assert_eq!(merges(removal(&plan)), [("/i/a.r", "/i/a")]);
    assert_eq!(removal(&plan).merges[0].base.format, "raw");
    // A file that a VM uses is not dropped, whatever the list says.
    observed.left.abandoned = vec!["/i/a.r".into()];
    observed.left.unmerged.clear();
    assert!(clean(&observed).unwrap().steps.is_empty());
    assert!(clean(&vm(&["/i/a"])).unwrap().steps.is_empty());
}

#[test]
fn files_of_other_vms_are_not_written_to() {
    let mut observed = two();
    observed.foreign = [("/i/a".to_owned(), "clone".to_owned())].into();
    let plan = remove(&observed, "1").unwrap();
    assert!(removal(&plan).merges.is_empty());
    assert!(plan.warnings[0].contains("VM \"clone\" uses it too"));
    let plan = remove(&observed, "2").unwrap();
    assert_eq!(merges(removal(&plan)), [("/i/a.2", "/i/a.1")]);
}

#[test]
fn nothing_is_written_to_or_removed_while_the_files_of_another_vm_cannot_be_told() {
    let mut observed = two();
    observed.untold = vec!["which files VM \"x\" uses cannot be told".to_owned()];
    let plan = remove(&observed, "2").unwrap();
    assert!(removal(&plan).merges.is_empty());
    assert!(plan.warnings[0].contains("VM \"x\""));
    assert_eq!(clean(&observed).unwrap(), Plan::default());
    observed.left.abandoned = vec!["/i/x".into()];
    let plan = clean(&observed).unwrap();
    assert!(plan.steps.is_empty() && plan.warnings[0].contains("stays"));
}

#[test]
fn a_merge_needs_room_and_no_snapshot_within() {
    let mut observed = two();
    let chain = observed.chains.get_mut("vda").unwrap().as_mut().unwrap();
    chain[0].actual_size = 100 << 20;
    observed.free.insert("/i/a.1".to_owned(), 99 << 20);
    let refused = remove(&observed, "2").unwrap_err();
    assert!(refused[0].contains("takes in up to 100 MiB") && refused[0].contains("99 MiB left"));
    let chain = observed.chains.get_mut("vda").unwrap().as_mut().unwrap();
    chain[0].snapshots = vec![host::qemu_img::Internal {
        name: "within".to_owned(),
        vm_state_size: 0,
    }];
    let plan = remove(&observed, "2").unwrap();
    assert!(plan.warnings[0].contains("internal snapshot \"within\""));
}

#[test]
fn an_internal_one_below_others_is_out_of_reach() {
    let mut observed =
        vm(&["/i/a.2", "/i/a"])
            .with_internal("1")
            .with_external("2", &["/i/a"], "/i/a.2");
    let chain = observed.chains.get_mut("vda").unwrap().as_mut().unwrap();
    chain[1].snapshots = vec![host::qemu_img::Internal {
        name: "1".to_owned(),
        vm_state_size: 0,
    }];
    assert!(remove(&observed, "1").unwrap_err()[0].contains("remove those first"));
    assert!(removal(&remove(&vm(&["/i/a"]).with_internal("1"), "1").unwrap()).internal);
}

#[test]
fn what_is_not_there_needs_no_removal() {
    assert!(remove(&two(), "3").unwrap().steps.is_empty());
    let mut observed = two();
    observed.forgotten.insert("3".to_owned());
    assert_eq!(
        removal(&remove(&observed, "3").unwrap()).name.as_deref(),
        Some("3")
    );
}

#[test]
fn after_a_revert_by_other_hands_to_a_snapshot_below() {
    // libvirt has brought the VM back to the frozen file itself: the overlay stands on what it is not any more.
    let observed = vm(&["/i/a"]).with_external("2", &["/i/a"], "/i/a.2");
    let plan = remove(&observed, "2").unwrap();
    assert!(removal(&plan).merges.is_empty());
    assert_eq!(removal(&plan).abandon, [PathBuf::from("/i/a.2")]);
}
