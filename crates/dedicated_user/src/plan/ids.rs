//! Which uid and gid an account gets, or keeps. Pure.

use crate::{args::Args, observed::Observed};
use host::accounts::Account;

/// The uid, and the gid of the primary group.
pub fn ids(args: &Args, observed: &Observed) -> Result<(u32, u32), String> {
    let number = |option: &str, wished: Option<i64>| match wished.map(u32::try_from) {
        None => Ok(None),
        // The last one stands for "no id" (chown(2)).
        Some(Ok(id)) if id > 0 && id < u32::MAX => Ok(Some(id)),
        _ => Err(format!("{option} has to lie between 1 and 4294967294")),
    };
    let (wished, wished_gid) = (number("uid", args.uid)?, number("gid", args.gid)?);
    if let Some(account) = &observed.account {
        return kept(args, observed, account, wished, wished_gid);
    }
    let group = observed.group(args.group());
    let free = |id: u32| group.is_some() || !observed.groups.iter().any(|other| other.gid == id);
    let uid = match wished {
        Some(uid) => uid,
        None => next_free(observed, free).ok_or_else(|| {
            format!(
                "no id from {} to {} is free (UID_MIN and so on in /etc/login.defs); give one as uid",
                observed.ids.start(),
                observed.ids.end()
            )
        })?,
    };
    if let Some(other) = observed.accounts.iter().find(|other| other.uid == uid) {
        return Err(format!("uid {uid} is {}'s", other.name));
    }
    let gid = match group {
        Some(group) => group.gid,
        None => wished_gid.unwrap_or(uid),
    };
    if wished_gid.is_some_and(|wished| wished != gid) {
        return Err(format!(
            "the group {} has gid {gid}, not {}",
            args.group(),
            wished_gid.unwrap_or_default()
        ));
    }
    match observed.groups.iter().find(|other| other.gid == gid) {
        Some(other) if other.name != args.group() => Err(format!(
            "gid {gid} is the group {}'s; give another as gid",
            other.name
        )),
        _ => Ok((uid, gid)),
    }
}

/// Those of an account that is there, which are not changed: its files would be nobody's.
fn kept(
    args: &Args,
    observed: &Observed,
    account: &Account,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Result<(u32, u32), String> {
    let name = &account.name;
    if uid.is_some_and(|uid| uid != account.uid) {
        return Err(format!(
            "{name} is there with uid {}; its files would be nobody's with another: leave uid out",
            account.uid
        ));
    }
    if args.home.as_ref().is_some_and(|home| *home != account.home) {
        return Err(format!(
            "{name} is there with the home {}; Podman's store cannot be moved: leave home out",
            account.home.display()
        ));
    }
    let group = match &args.group {
        None => account.gid,
        Some(name) => match observed.group(name) {
            Some(group) => group.gid,
            None => return Err(format!("there is no group {name}; make it first")),
        },
    };
    match gid {
        Some(gid) if gid != group => Err(format!(
            "{name} has the gid {group}, not {gid}; leave gid out"
        )),
        _ => Ok((account.uid, group)),
    }
}

/// The id above all that are given away, as useradd(8) chooses it, else the lowest that is free. One that a line of
/// /etc/subuid or /etc/subgid names would bring ranges with it.
fn next_free(observed: &Observed, also: impl Fn(u32) -> bool) -> Option<u32> {
    let entries = || {
        observed
            .subuid
            .entries
            .iter()
            .chain(&observed.subgid.entries)
    };
    let is_free = |id: &u32| {
        let owner = id.to_string();
        also(*id)
            && !observed.accounts.iter().any(|account| account.uid == *id)
            && !entries().any(|entry| entry.owner == owner || entry.range.contains(*id))
    };
    let uids = observed.accounts.iter().map(|account| account.uid);
    let highest = uids.filter(|uid| observed.ids.contains(uid)).max();
    let above = highest.map_or(*observed.ids.start(), |highest| highest + 1);
    let mut above = above..=*observed.ids.end();
    above
        .find(is_free)
        .or_else(|| observed.ids.clone().find(is_free))
}
