use super::*;
use crate::samples::{args, vm};
use host::libvirt::domain::Nvram;
use serde_json::json;

fn decided(options: serde_json::Value, observed: &Observed) -> (Kind, bool, Quiesce) {
    let decision = decide(&args(options), observed).unwrap();
    assert_eq!(decision.reasons.len(), 3, "{:?}", decision.reasons);
    (decision.kind, decision.memory, decision.quiesce)
}

fn refused(options: serde_json::Value, observed: &Observed) -> String {
    decide(&args(options), observed).unwrap_err().join("; ")
}

#[test]
fn auto_is_external_without_memory_and_quiesced_where_an_agent_answers() {
    let mut observed = vm(&["/i/a"]);
    assert_eq!(
        decided(json!({}), &observed),
        (Kind::External, false, Quiesce::No)
    );
    observed.agent = Agent::Silent;
    assert_eq!(
        decided(json!({}), &observed),
        (Kind::External, false, Quiesce::No)
    );
    observed.agent = Agent::Answers;
    assert_eq!(
        decided(json!({}), &observed),
        (Kind::External, false, Quiesce::Try)
    );
    observed.domain.state = State::ShutOff;
    assert_eq!(
        decided(json!({}), &observed),
        (Kind::External, false, Quiesce::No)
    );
}

#[test]
fn auto_keeps_to_the_kind_that_is_there() {
    let observed = vm(&["/i/a"]).with_internal("one");
    assert_eq!(
        decided(json!({}), &observed),
        (Kind::Internal, true, Quiesce::No)
    );
    let observed = vm(&["/i/a.s", "/i/a"]).with_external("s", &["/i/a"], "/i/a.s");
    assert_eq!(decided(json!({}), &observed).0, Kind::External);
    assert!(refused(json!({"kind": "internal"}), &observed).contains("not to be mixed"));
}

#[test]
fn a_block_device_leaves_only_internal() {
    let mut observed = vm(&["/dev/vg/a"]);
    observed.domain.disks[0].kind = "block".to_owned();
    assert_eq!(decided(json!({}), &observed).0, Kind::Internal);
    observed.domain.disks[0].format = "raw".to_owned();
    let refused = refused(json!({}), &observed);
    assert!(
        refused.contains("is no file") && refused.contains("is raw"),
        "{refused}"
    );
}

#[test]
fn uefi_decides_what_internal_needs() {
    let mut observed = vm(&["/i/a"]);
    observed.nvram_there = true;
    observed.domain.uefi = true;
    assert!(
        refused(json!({"kind": "internal"}), &observed).contains("from 10.9 on, and here is 9.0.0")
    );
    observed.libvirt = INTERNAL_WITH_UEFI;
    assert!(refused(json!({"kind": "internal"}), &observed).contains("are not in qcow2"));
    observed.domain.nvram = Some(Nvram {
        file: "/n".to_owned(),
        format: "qcow2".to_owned(),
    });
    assert_eq!(
        decided(json!({"kind": "internal"}), &observed).0,
        Kind::Internal
    );
}

#[test]
fn wishes_are_granted_or_refused_with_the_reason() {
    let mut observed = vm(&["/i/a"]);
    assert_eq!(
        decided(json!({"memory": "true"}), &observed),
        (Kind::External, true, Quiesce::No)
    );
    let internal = json!({"kind": "internal", "memory": "false"});
    assert!(refused(internal, &observed).contains("always has its memory"));
    assert!(refused(json!({"quiesce": "true"}), &observed).contains("no guest agent"));
    observed.agent = Agent::Answers;
    assert_eq!(
        decided(json!({"quiesce": "true"}), &observed).2,
        Quiesce::Must
    );
    assert_eq!(
        decided(json!({"quiesce": "false"}), &observed).2,
        Quiesce::No
    );
    let both = json!({"quiesce": "true", "memory": "true"});
    assert!(refused(both, &observed).contains("quiesce=true, but the memory"));
    observed.domain.state = State::ShutOff;
    assert!(refused(json!({"memory": "true"}), &observed).contains("it is off"));
}

#[test]
fn room_is_needed_for_what_will_be_written() {
    let mut observed = vm(&["/i/a"]);
    observed.free = [("/i/a".to_owned(), LEAST_FREE - 1)].into();
    assert!(
        refused(json!({}), &observed)
            .contains("63 MiB left, and an external snapshot needs 64 MiB")
    );
    observed.free = [("/i/a".to_owned(), 1 << 30)].into();
    assert!(decide(&args(json!({})), &observed).is_ok());
    assert!(refused(json!({"memory": "true"}), &observed).contains("needs 1088 MiB"));
}

#[test]
fn all_that_stands_in_the_way_is_told_at_once() {
    let mut observed = vm(&["/i/a"]);
    observed.job = Some("Outgoing migration".to_owned());
    observed.domain.managed_save = true;
    observed.domain.state = State::Paused;
    observed.domain.lasting = None;
    observed.domain.disks[0].busy = true;
    observed.domain.disks[0].shareable = true;
    observed.chains = [("vda".to_owned(), Err("no /i/a".to_owned()))].into();
    let refused = refused(json!({}), &observed);
    for word in [
        "Outgoing migration",
        "managedsave",
        "paused",
        "transient",
        "block job",
        "shared",
        "no /i/a",
    ] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
}
