//! Which ids are chosen, and which are refused.

use super::*;
use crate::{
    args::State,
    samples::{args, ids},
};
use host::{accounts::Account, login_defs::SubidRules};

fn with(change: impl FnOnce(&mut Args)) -> Args {
    let mut args = args(State::Enabled);
    change(&mut args);
    args
}

fn refusal(args: &Args, ids: &Ids) -> String {
    choose(args, ids).unwrap_err().to_string()
}

fn owning(subuid: &str, subgid: &str) -> Ids {
    let add = |mine: &str| Subids::parse(format!("alice:100000:65536\n{mine}\n").as_bytes());
    Ids {
        subuid: add(subuid),
        subgid: add(subgid),
        ..ids()
    }
}

#[test]
fn a_new_account_gets_the_lowest_range_that_is_free_in_both_files() {
    let choice = choose(&args(State::Enabled), &ids()).unwrap();
    assert_eq!(choice.ids(), (165_536, 165_536));
    let range = SubRange {
        start: 165_536,
        count: 65_536,
    };
    assert_eq!(choice.add, [(Kind::Uid, range), (Kind::Gid, range)]);
}

#[test]
fn what_the_account_has_is_used_in_file_order() {
    let ids = owning(
        "dockremap:400000:10\ndockremap:300000:65536",
        "dockremap:500000:65546",
    );
    let choice = choose(&args(State::Enabled), &ids).unwrap();
    assert_eq!(choice.ids(), (400_000, 500_000));
    assert_eq!(choice.maps.uid.to_host(10), Some(300_000));
    assert!(choice.add.is_empty());
}

#[test]
fn a_file_that_does_not_name_the_account_gets_what_the_other_has() {
    let choice = choose(&args(State::Enabled), &owning("dockremap:300000:65536", "")).unwrap();
    assert_eq!(
        choice.add,
        [(
            Kind::Gid,
            SubRange {
                start: 300_000,
                count: 65_536
            }
        )]
    );
    let clash = owning("dockremap:300000:65536", "carol:300100:1");
    assert!(refusal(&args(State::Enabled), &clash).contains("carol"));
}

#[test]
fn a_range_that_overlaps_anothers_in_either_file_is_refused_by_name() {
    for ids in [
        owning("carol:300000:65536", ""),
        owning("", "carol:300000:65536"),
    ] {
        let said = refusal(&with(|args| args.subid_start = Some(299_999)), &ids);
        assert!(said.contains("carol") && said.contains("300000"), "{said}");
    }
    let mine = owning("dockremap:100001:65536", "dockremap:100001:65536");
    assert!(refusal(&args(State::Enabled), &mine).contains("alice"));
}

#[test]
fn what_is_no_range_of_ids_is_refused() {
    for (start, count) in [
        (-1, 65_536),
        (0, 65_536),
        (4_294_967_290, 65_536),
        (i64::MAX, 1),
    ] {
        let said = refusal(
            &with(|args| (args.subid_start, args.subid_count) = (Some(start), Some(count))),
            &ids(),
        );
        assert!(said.contains(&format!("subid_start={start}")), "{said}");
    }
    for count in [0, -1, 4_294_967_296] {
        let said = refusal(&with(|args| args.subid_count = Some(count)), &ids());
        assert!(said.contains(&format!("not {count}")), "{said}");
    }
}

#[test]
fn a_range_that_holds_an_accounts_own_id_is_refused() {
    let said = refusal(
        &with(|args| (args.subid_start, args.subid_count) = (Some(60_000), Some(20_000))),
        &ids(),
    );
    assert!(said.contains("65534"), "{said}");
}

#[test]
fn a_range_over_the_ids_it_stands_for_is_refused() {
    let said = refusal(
        &args(State::Enabled),
        &owning("dockremap:2000:65536", "dockremap:2000:65536"),
    );
    assert!(said.contains("overlap the container ids"), "{said}");
}

#[test]
fn login_defs_bounds_a_range_that_nobody_chose() {
    let within = |bounds, count| Ids {
        rules: SubidRules { bounds, count },
        ..ids()
    };
    let added = |args: &Args, ids: &Ids| choose(args, ids).unwrap().add[0].1;
    let free = |start, count| SubRange { start, count };
    let usual = args(State::Enabled);
    assert_eq!(
        added(&usual, &within(300_000..=900_000, 100_000)),
        free(300_000, 100_000)
    );
    // Fewer would do for people's own, not for images.
    assert_eq!(
        added(&usual, &within(300_000..=900_000, 10)),
        free(300_000, 65_536)
    );
    let two = with(|args| args.subid_count = Some(2));
    assert_eq!(added(&two, &within(231_072..=296_609, 1)), free(296_608, 2));
    let chosen = with(|args| args.subid_start = Some(2_000_000));
    assert_eq!(
        added(&chosen, &within(300_000..=400_000, 1)).start,
        2_000_000
    );
    let full = refusal(&usual, &within(90_000..=250_000, 70_000));
    for word in [
        "alice:100000:65536, bob:231072:65536",
        "90000 and 250000",
        "subid_start",
    ] {
        assert!(full.contains(word), "{full}");
    }
    assert!(refusal(&usual, &within(20_000..=20_001, 1)).contains("none"));
}

#[test]
fn an_account_named_both_ways_is_refused_since_engines_differ() {
    let account = |ids: Ids| Ids {
        account: Some(Account {
            name: "dockremap".to_owned(),
            uid: 999,
            gid: 999,
            home: "/".into(),
            shell: "/".into(),
        }),
        ..ids
    };
    let by_uid = account(owning("999:300000:65536", "dockremap:300000:65536"));
    assert_eq!(
        choose(&args(State::Enabled), &by_uid).unwrap().ids(),
        (300_000, 300_000)
    );
    let both = account(owning("999:300000:65536\ndockremap:400000:65536", ""));
    assert!(refusal(&args(State::Enabled), &both).contains("both dockremap and its uid"));
}

#[test]
fn what_came_between_choosing_and_adding_is_found() {
    let range = SubRange {
        start: 300_000,
        count: 65_536,
    };
    let added = [(Kind::Uid, range), (Kind::Gid, range)];
    let mine = "dockremap:300000:65536";
    let check = |subuid, subgid| check_added(&owning(subuid, subgid), &added);
    assert!(check(mine, mine).is_ok());
    let taken = check(mine, "carol:365535:1\ndockremap:300000:65536");
    assert!(taken.unwrap_err().to_string().contains("carol"));
    let more = check("dockremap:300000:65536\ndockremap:500000:9", mine);
    assert!(
        more.unwrap_err()
            .to_string()
            .contains("/etc/subuid was changed")
    );
}

#[test]
fn another_start_than_the_accounts_is_refused() {
    let mine = owning("dockremap:300000:65536", "dockremap:300000:65536");
    let said = refusal(&with(|args| args.subid_start = Some(400_000)), &mine);
    assert!(
        said.contains("300000") && said.contains("subid_start=400000"),
        "{said}"
    );
}
