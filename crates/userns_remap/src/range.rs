//! Which subordinate ids the remapped containers get. Pure.

use crate::{args::Args, observed::Ids};
use anyhow::{Context, Result, bail, ensure};
use host::accounts::Kind;
use idmap::{
    IdMap, IdMaps, SubRange, docker,
    subid::{self, Subids},
};

/// What images need, for their `nobody` (65534) among others, whatever login.defs gives to people.
const LEAST_COUNT: u32 = 65_536;

/// The ids to use, and what has to be added to the files for that.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    pub maps: IdMaps,
    pub add: Vec<(Kind, SubRange)>,
}

impl Choice {
    /// Host uid and gid of container root, which name the remapped root.
    pub fn ids(&self) -> (u32, u32) {
        root_ids(&self.maps)
    }
}

/// Host uid and gid of container root; 0 where it has none.
pub fn root_ids(maps: &IdMaps) -> (u32, u32) {
    let first = |map: &IdMap| map.to_host(0).unwrap_or_default();
    (first(&maps.uid), first(&maps.gid))
}

/// What the account has, in file order, or a range of its own for it.
pub fn choose(args: &Args, ids: &Ids) -> Result<Choice> {
    let own = own(ids)?;
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

/// The account's ranges as every engine reads them, in file order. Before 28 an engine takes those under the uid
/// and only without any those under the name (pkg/idtools/idtools_unix.go), since then both
/// (daemon/internal/usergroup/lookup_unix.go).
fn own(ids: &Ids) -> Result<[Vec<SubRange>; 2]> {
    let uid = ids.account.as_ref().map(|account| account.uid);
    let of = |kind: Kind, subids: &Subids| {
        let (named, all) = (
            subids.ranges_of(&ids.name, None),
            subids.ranges_of(&ids.name, uid),
        );
        ensure!(
            named.is_empty() || named.len() == all.len(),
            "{} has lines for both {} and its uid, of which the engine's version decides what it takes; keep one kind",
            kind.path(),
            ids.name
        );
        Ok(all)
    };
    Ok([of(Kind::Uid, &ids.subuid)?, of(Kind::Gid, &ids.subgid)?])
}

/// What the engine makes of the files for the account.
pub fn of_files(ids: &Ids) -> Result<IdMaps> {
    let [uids, gids] = own(ids)?;
    Ok(IdMaps {
        uid: docker(&uids)?,
        gid: docker(&gids)?,
    })
}

/// Lines at which engines before 28 stop.
pub fn unreadable(ids: &Ids) -> Vec<String> {
    let of = |(kind, subids): (Kind, &Subids)| {
        let rejected = subids.rejected.clone();
        rejected.into_iter().map(move |(line, text)| {
            format!(
                "line {line} of {} is not owner:start:count, and the engine would not start: {text}",
                kind.path()
            )
        })
    };
    let files = [(Kind::Uid, &ids.subuid), (Kind::Gid, &ids.subgid)];
    files.into_iter().flat_map(of).collect()
}

/// Whether the files, read again after `added` was put in, give the account just that where it had nothing, and
/// nobody else any of it: another program may have been quicker.
pub fn check_added(ids: &Ids, added: &[(Kind, SubRange)]) -> Result<()> {
    let ranges: Vec<_> = added.iter().map(|(_, range)| *range).collect();
    check_free(ids, &ranges)?;
    for (kind, found) in [Kind::Uid, Kind::Gid].into_iter().zip(own(ids)?) {
        let added = added.iter().filter(|(of, _)| *of == kind);
        let added: Vec<_> = added.map(|(_, range)| *range).collect();
        ensure!(
            added.is_empty() || added == found,
            "{} was changed meanwhile: {} has other ranges than were added; run it again",
            kind.path(),
            ids.name
        );
    }
    Ok(())
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
    let usual = ids.rules.count.max(LEAST_COUNT);
    let wanted = args.subid_count.unwrap_or(usual.into());
    let Some(count) = u32::try_from(wanted).ok().filter(|count| *count > 0) else {
        bail!("subid_count must be between 1 and 4294967295, not {wanted}")
    };
    let Some(start) = args.subid_start else {
        return lowest_free(ids, count);
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

fn lowest_free(ids: &Ids, count: u32) -> Result<SubRange> {
    let bounds = &ids.rules.bounds;
    let found = subid::allocate(&ids.subuid, &ids.subgid, &ids.taken, bounds, count);
    found.with_context(|| {
        let entries = ids.subuid.entries.iter().chain(&ids.subgid.entries);
        let within = entries.filter(|entry| {
            entry.range.start <= *bounds.end()
                && u64::from(entry.range.start) + u64::from(entry.range.count) > u64::from(*bounds.start())
        });
        let mut holders: Vec<_> = within
            .map(|entry| format!("{}:{}", entry.owner, entry.range))
            .collect();
        holders.sort();
        holders.dedup();
        format!(
            "between {} and {} (SUB_UID_MIN and so on in /etc/login.defs) no {count} ids are free that neither \
             /etc/subuid nor /etc/subgid gives to anybody: they give {}; raise SUB_UID_MAX and SUB_GID_MAX there, or \
             choose a range with subid_start and subid_count",
            bounds.start(),
            bounds.end(),
            if holders.is_empty() { "none".to_owned() } else { holders.join(", ") }
        )
    })
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
mod tests;
