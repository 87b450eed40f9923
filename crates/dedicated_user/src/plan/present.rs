//! An account that is to be there.

use super::{Plan, Refusals, refuse};
use crate::{
    args::Args,
    observed::{Entry, Observed, Shape},
    step::{PASS, PRIVATE, SHARED, Secrets, Step, What},
};
use host::{
    accounts::{Account, Traits},
    subids::Choice,
    tmpfiles,
};
use std::path::{Path, PathBuf};

/// Membership of these is as good as being root: their members tell an engine that is root what to do.
const ROOT_BY_GROUP: [&str; 2] = ["docker", "podman"];

/// # Errors
/// With everything that stands in the way.
pub fn present(args: &Args, observed: &Observed) -> Result<Plan, Refusals> {
    let home = args.home_of(observed.account.as_ref());
    let mut refusals = refuse::present(args, observed, &home);
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let (uid, gid) = ids(args, observed).map_err(|refusal| vec![refusal])?;
    if let Some(entry) = observed.home {
        refusals.extend(refuse::home(&home, entry, uid));
    }
    refusals.extend(refuse::closed(closed(observed, uid, gid)));
    let traits = traits(args, observed, &home);
    let chosen = choice(args, observed, uid, gid);
    let line = tmpfiles::directory(&args.secrets_dir(), &traits.group);
    let (chosen, line) = match (chosen, line) {
        (Ok(chosen), Ok(line)) if refusals.is_empty() => (chosen, line),
        (chosen, line) => {
            let errors = [chosen.err(), line.err()];
            refusals.extend(
                errors
                    .into_iter()
                    .flatten()
                    .map(|error| format!("{error:#}")),
            );
            return Err(refusals);
        }
    };
    let after = Shape {
        name: args.name.clone(),
        uid,
        gid,
        traits,
        linger: args.linger,
        secrets_dir: Some(args.secrets_dir()),
        subuid: chosen.uids.clone(),
        subgid: chosen.gids.clone(),
    };
    let steps = [
        account(observed, &after),
        ranges(&chosen),
        open(observed, &after),
        home_step(args, observed, &after),
        secrets(args, observed, &after, line),
        (observed.linger != args.linger)
            .then_some(What::Linger { on: args.linger })
            .into_iter()
            .collect(),
    ];
    let step = |what| Step {
        name: args.name.clone(),
        uid,
        gid,
        what,
    };
    Ok(Plan {
        steps: steps.into_iter().flatten().map(step).collect(),
        warnings: warnings(observed, &after),
        after: Some(after),
    })
}

/// The uid, and the gid of the primary group.
fn ids(args: &Args, observed: &Observed) -> Result<(u32, u32), String> {
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

fn traits(args: &Args, observed: &Observed, home: &Path) -> Traits {
    let now = observed.traits.as_ref();
    let mut groups = match (&args.groups, now) {
        (Some(groups), _) => groups.clone(),
        (None, Some(now)) => now.groups.clone(),
        (None, None) => vec![],
    };
    groups.sort();
    groups.dedup();
    let group = match (&args.group, now) {
        (None, Some(now)) => now.group.clone(),
        _ => args.group().to_owned(),
    };
    let shell = args
        .shell
        .clone()
        .or_else(|| now.map(|now| now.shell.clone()));
    let comment = args
        .comment
        .clone()
        .or_else(|| now.map(|now| now.comment.clone()));
    Traits {
        group,
        home: home.to_owned(),
        shell: shell.unwrap_or_else(|| observed.nologin.clone()),
        groups,
        comment: comment.unwrap_or_default(),
    }
}

fn choice(args: &Args, observed: &Observed, uid: u32, gid: u32) -> anyhow::Result<Choice> {
    let taken = observed.taken(&[uid, gid]);
    let files = observed.files(&args.name, Some(uid), &taken);
    let own = observed.ranges(&args.name, Some(uid));
    let chosen = files.choose(own, args.subid_start, args.subid_count)?;
    for (file, ranges) in [("/etc/subuid", &chosen.uids), ("/etc/subgid", &chosen.gids)] {
        let count: u64 = ranges.iter().map(|range| u64::from(range.count)).sum();
        anyhow::ensure!(
            i64::try_from(count).is_ok_and(|count| count >= args.subid_count),
            "{file} gives {} {count} ids, fewer than subid_count={}; change the file, or ask for no more",
            args.name,
            args.subid_count
        );
        idmap::rootless_podman(uid, ranges)?;
    }
    Ok(chosen)
}

fn account(observed: &Observed, after: &Shape) -> Vec<What> {
    let traits = after.traits.clone();
    if let Some(before) = &observed.traits {
        let change = || What::Change {
            before: before.clone(),
            after: traits.clone(),
        };
        return (traits != *before).then(change).into_iter().collect();
    }
    let group_stays = observed.group(&traits.group).is_some();
    let group = (!group_stays).then(|| What::Group {
        group: traits.group.clone(),
    });
    group
        .into_iter()
        .chain([What::Account {
            traits,
            group_stays,
        }])
        .collect()
}

fn ranges(chosen: &Choice) -> Vec<What> {
    let add = chosen.add.clone();
    (!add.is_empty())
        .then_some(What::Ranges { add })
        .into_iter()
        .collect()
}

/// The directories above the home that the account cannot pass.
fn closed(observed: &Observed, uid: u32, gid: u32) -> impl Iterator<Item = &(PathBuf, Entry)> {
    observed.above_home.iter().filter(move |(_, above)| {
        // As the kernel looks: the owner's permission, else the group's, else everybody's.
        let shift = match above {
            _ if above.uid == uid => 6,
            _ if above.gid == gid => 3,
            _ => 0,
        };
        above.mode >> shift & PASS == 0
    })
}

/// Podman as root makes the directory of our homes, too, and closes it; its own store in there is closed by itself.
fn open(observed: &Observed, after: &Shape) -> Vec<What> {
    let closed = closed(observed, after.uid, after.gid);
    closed
        .map(|(path, above)| What::Open {
            path: path.clone(),
            mode: above.mode,
        })
        .collect()
}

/// The mode of a home that nobody asked for, as one in /home, is left as it is.
fn home_step(args: &Args, observed: &Observed, after: &Shape) -> Vec<What> {
    let path = &after.traits.home;
    let wanted = match observed.home {
        None => true,
        Some(entry) => *path == args.home() && entry.mode != PRIVATE,
    };
    let step = || What::Home {
        path: path.clone(),
        first_missing: observed.first_missing.clone(),
        mode: observed.home.map(|entry| entry.mode),
    };
    wanted.then(step).into_iter().collect()
}

fn secrets(args: &Args, observed: &Observed, after: &Shape, line: String) -> Vec<What> {
    let right = observed
        .secrets
        .is_some_and(|entry| (entry.gid, entry.mode) == (after.gid, SHARED));
    if right && observed.tmpfiles_line.as_ref() == Some(&line) {
        return vec![];
    }
    vec![What::Secrets(Secrets {
        directory: args.secrets_dir(),
        before: observed
            .secrets
            .map(|entry| (entry.uid, entry.gid, entry.mode)),
        file: observed.tmpfiles.clone(),
        line_before: observed.tmpfiles_line.clone(),
        line,
    })]
}

fn warnings(observed: &Observed, after: &Shape) -> Vec<String> {
    let groups = [&after.traits.group]
        .into_iter()
        .chain(&after.traits.groups);
    let as_root = groups.filter(|group| ROOT_BY_GROUP.contains(&group.as_str()));
    let mut found: Vec<_> = as_root
        .map(|group| {
            format!(
                "{} is in the group {group}, whose members are as good as root: they tell an engine that is root what \
                 to mount; rootless Podman needs no such group",
                after.name
            )
        })
        .collect();
    if observed.selinux && observed.home.is_none() {
        found.push(format!(
            "SELinux enforces its policy here; give {} the labels of a home before the account runs containers: \
             semanage fcontext -a -e /home/user {0} && restorecon -R {0}",
            after.traits.home.display()
        ));
    }
    for (file, subids) in [
        ("/etc/subuid", &observed.subuid),
        ("/etc/subgid", &observed.subgid),
    ] {
        found.extend(subids.rejected.iter().map(|(line, text)| {
            format!("line {line} of {file} is not owner:start:count, and ids it means to give are not known: {text}")
        }));
    }
    found
}
