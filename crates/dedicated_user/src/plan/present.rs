//! An account that is to be there.

use super::{Plan, Refusals, ids::ids, refuse};
use crate::{
    args::Args,
    observed::{Entry, Observed, Shape},
    step::{PASS, PRIVATE, SHARED, Secrets, Step, What},
};
use host::{
    accounts::{Kind, Traits},
    subids::Choice,
    tmpfiles,
};
use idmap::SubRange;
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
    let line = tmpfiles::directory(&args.secrets_dir(), &traits.group);
    let line = line.map_err(|error| refusals.push(format!("{error:#}")));
    let chosen = choice(args, observed, uid, gid);
    let chosen = chosen.map_err(|error| refusals.push(format!("{error:#}")));
    let (Ok(line), Ok(chosen), true) = (line, chosen, refusals.is_empty()) else {
        return Err(refusals);
    };
    let after = Shape {
        name: args.name.clone(),
        uid,
        gid,
        traits,
        linger: args.linger,
        secrets_dir: Some(args.secrets_dir()),
        subuid: chosen.uids,
        subgid: chosen.gids,
    };
    let step = |what| Step {
        name: args.name.clone(),
        uid,
        gid,
        what,
    };
    let steps = steps(args, observed, &after, chosen.add, line);
    Ok(Plan {
        steps: steps.into_iter().map(step).collect(),
        warnings: warnings(observed, &after),
        after: Some(after),
    })
}

/// In the order in which they need one another; the user manager comes last, for usermod changes no account whose
/// processes run.
fn steps(
    args: &Args,
    observed: &Observed,
    after: &Shape,
    add: Vec<(Kind, SubRange)>,
    line: String,
) -> Vec<What> {
    let mut steps = account(observed, after);
    if !add.is_empty() {
        steps.push(What::Ranges { add });
    }
    steps.extend(open(observed, after));
    steps.extend(home_step(args, observed, after));
    steps.extend(secrets(args, observed, after, line));
    if observed.linger != args.linger {
        steps.push(What::Linger { on: args.linger });
    }
    steps
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
fn home_step(args: &Args, observed: &Observed, after: &Shape) -> Option<What> {
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
    wanted.then(step)
}

fn secrets(args: &Args, observed: &Observed, after: &Shape, line: String) -> Option<What> {
    let right = observed
        .secrets
        .is_some_and(|entry| (entry.gid, entry.mode) == (after.gid, SHARED));
    if right && observed.tmpfiles_line.as_ref() == Some(&line) {
        return None;
    }
    Some(What::Secrets(Secrets {
        directory: args.secrets_dir(),
        before: observed
            .secrets
            .map(|entry| (entry.uid, entry.gid, entry.mode)),
        file: observed.tmpfiles.clone(),
        line_before: observed.tmpfiles_line.clone(),
        line,
    }))
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
