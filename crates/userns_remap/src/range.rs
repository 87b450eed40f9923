//! Which subordinate ids the remapped containers get. Pure.

use crate::{args::Args, observed::Ids};
use anyhow::{Result, ensure};
use host::accounts::Kind;
use idmap::{IdMap, IdMaps, SubRange, docker, subid::Subids};

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
    let usual = ids.rules.count.max(LEAST_COUNT);
    let count = args.subid_count.unwrap_or(usual.into());
    let chosen = ids.files().choose(own(ids)?, args.subid_start, count)?;
    Ok(Choice {
        maps: maps(ids, &chosen.uids, &chosen.gids)?,
        add: chosen.add,
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

/// Whether the files, read again after `added` was put in, have just that.
pub fn check_added(ids: &Ids, added: &[(Kind, SubRange)]) -> Result<()> {
    ids.files().check_added(&own(ids)?, added)
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
