//! Which subordinate ids the remapped containers get. Pure.

use crate::{args::Args, observe::Ids};
use anyhow::{Result, bail, ensure};
use host::accounts::Kind;
use idmap::{IdMaps, SubRange, docker, subid};

/// The ids to use, and what has to be added to the files for that.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    pub maps: IdMaps,
    pub add: Vec<(Kind, SubRange)>,
}

impl Choice {
    /// Host uid and gid of container root, which name the remapped root.
    pub fn ids(&self) -> (u32, u32) {
        let first = |map: &idmap::IdMap| map.to_host(0).unwrap_or_default();
        (first(&self.maps.uid), first(&self.maps.gid))
    }
}

/// What the account has, in file order, or a range of its own for it.
pub fn choose(args: &Args, ids: &Ids) -> Result<Choice> {
    let uid = ids.account.as_ref().map(|account| account.uid);
    let own = [
        ids.subuid.ranges_of(&ids.name, uid),
        ids.subgid.ranges_of(&ids.name, uid),
    ];
    let [uids, gids] = match (own[0].is_empty(), own[1].is_empty()) {
        (false, false) => return existing(args, ids, own),
        (true, true) => {
            let range = vec![fresh(args, ids)?];
            [range.clone(), range]
        }
        // Only one of the files names the account: the other gets the same.
        (true, false) => [own[1].clone(), own[1].clone()],
        (false, true) => [own[0].clone(), own[0].clone()],
    };
    wanted_start(args, ids, &uids)?;
    check_free(ids, &[&uids[..], &gids[..]].concat())?;
    let missing = |kind, own: &[SubRange], ranges: &[SubRange]| -> Vec<_> {
        if own.is_empty() {
            ranges.iter().map(|range| (kind, *range)).collect()
        } else {
            vec![]
        }
    };
    let mut add = missing(Kind::Uid, &own[0], &uids);
    add.extend(missing(Kind::Gid, &own[1], &gids));
    Ok(Choice {
        maps: maps(ids, &uids, &gids)?,
        add,
    })
}

fn existing(args: &Args, ids: &Ids, [uids, gids]: [Vec<SubRange>; 2]) -> Result<Choice> {
    wanted_start(args, ids, &uids)?;
    check_free(ids, &[&uids[..], &gids[..]].concat())?;
    Ok(Choice {
        maps: maps(ids, &uids, &gids)?,
        add: vec![],
    })
}

fn wanted_start(args: &Args, ids: &Ids, ranges: &[SubRange]) -> Result<()> {
    let (Some(wanted), Some(first)) = (args.subid_start, ranges.first()) else {
        return Ok(());
    };
    ensure!(
        i64::from(first.start) == wanted,
        "{} already has subordinate ids from {}, not from subid_start={wanted}; leave subid_start out to use \
         them, or change /etc/subuid and /etc/subgid",
        ids.name,
        first.start
    );
    Ok(())
}

fn fresh(args: &Args, ids: &Ids) -> Result<SubRange> {
    let Some(count) = u32::try_from(args.subid_count)
        .ok()
        .filter(|count| *count > 0)
    else {
        bail!(
            "subid_count must be between 1 and 4294967295, not {}",
            args.subid_count
        )
    };
    let Some(start) = args.subid_start else {
        return Ok(subid::allocate(
            &ids.subuid,
            &ids.subgid,
            &ids.taken,
            &subid::DEFAULT_BOUNDS,
            count,
        )?);
    };
    // The last id of all, 4294967295, stands for "no id" (chown(2)).
    let end = start
        .checked_add(i64::from(count))
        .filter(|end| start > 0 && *end <= i64::from(u32::MAX));
    let (Some(_), Ok(start)) = (end, u32::try_from(start)) else {
        bail!(
            "subid_start={start} with subid_count={count} is not a range of ids: they lie between 1 and 4294967294"
        )
    };
    let range = SubRange { start, count };
    if let Some(id) = ids.taken.iter().find(|id| range.contains(**id)) {
        bail!(
            "the range {start}:{count} holds the id {id}, which belongs to an account or group of this host"
        );
    }
    Ok(range)
}

fn check_free(ids: &Ids, ranges: &[SubRange]) -> Result<()> {
    let uid = ids.account.as_ref().map(|account| account.uid.to_string());
    let own: Vec<_> = [Some(ids.name.as_str()), uid.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    for (file, subids) in [(Kind::Uid, &ids.subuid), (Kind::Gid, &ids.subgid)] {
        for range in ranges {
            if let Err(taken) = subids.check_free(*range, &own) {
                bail!(
                    "in {} the {taken}: containers could touch that account's files; leave subid_start \
                     out to get a free range, or give {} another in both files",
                    file.path(),
                    ids.name
                );
            }
        }
    }
    Ok(())
}

fn maps(ids: &Ids, uids: &[SubRange], gids: &[SubRange]) -> Result<IdMaps> {
    let maps = IdMaps {
        uid: docker(uids)?,
        gid: docker(gids)?,
    };
    ensure!(
        maps.is_disjoint(),
        "the subordinate ids of {} overlap the container ids they stand for, so that a shifted file could \
         not be told from one that is not; give it a range that starts above its own size",
        ids.name
    );
    Ok(maps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        args::State,
        samples::{args, ids},
    };
    use idmap::subid::Subids;

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
                &with(|args| (args.subid_start, args.subid_count) = (Some(start), count)),
                &ids(),
            );
            assert!(said.contains(&format!("subid_start={start}")), "{said}");
        }
        for count in [0, -1, 4_294_967_296] {
            let said = refusal(&with(|args| args.subid_count = count), &ids());
            assert!(said.contains(&format!("not {count}")), "{said}");
        }
    }

    #[test]
    fn a_range_that_holds_an_accounts_own_id_is_refused() {
        let said = refusal(
            &with(|args| (args.subid_start, args.subid_count) = (Some(60_000), 20_000)),
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
    fn another_start_than_the_accounts_is_refused() {
        let mine = owning("dockremap:300000:65536", "dockremap:300000:65536");
        let said = refusal(&with(|args| args.subid_start = Some(400_000)), &mine);
        assert!(
            said.contains("300000") && said.contains("subid_start=400000"),
            "{said}"
        );
    }
}
