//! An account that is to go.

use super::{Plan, Refusals, refuse};
use crate::{
    args::Args,
    observed::Observed,
    remains::Remains,
    search::Found,
    step::{Removal, Step, What},
};
use std::path::Path;

/// How many of a kind are named.
const NAMED: usize = 20;

/// # Errors
/// With everything of the account's that would be left behind.
pub fn absent(args: &Args, observed: &Observed) -> Result<Plan, Refusals> {
    let refusals = refusals(args, observed);
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let nothing = Plan {
        steps: vec![],
        after: None,
        warnings: vec![],
    };
    let line = observed.tmpfiles_line.is_some();
    if observed.account.is_none() && !line {
        return Ok(nothing);
    }
    let account = observed.account.as_ref();
    let ids = account.map_or((0, 0), |account| (account.uid, account.gid));
    let removal = Removal {
        account: account.is_some(),
        group: private_group(observed),
        home: account
            .filter(|_| args.remove_home)
            .map(|account| account.home.clone()),
        secrets_dir: observed
            .secrets
            .filter(|_| line)
            .map(|_| args.secrets_dir()),
        tmpfiles: line.then(|| observed.tmpfiles.clone()),
        ranges: observed.ranges(&args.name, account.map(|account| account.uid))[0].clone(),
    };
    let warnings = match (account, &removal.home) {
        (Some(account), None) if observed.home.is_some() => vec![format!(
            "{} stays, and will belong to whoever gets uid {} next; remove it, or run with remove_home",
            account.home.display(),
            account.uid
        )],
        _ => vec![],
    };
    let linger = observed.linger.then_some(What::Linger { on: false });
    let step = |what| Step {
        name: args.name.clone(),
        uid: ids.0,
        gid: ids.1,
        what,
    };
    let steps = linger.into_iter().chain([What::Remove(removal)]);
    Ok(Plan {
        steps: steps.map(step).collect(),
        warnings,
        ..nothing
    })
}

/// The account's primary group, where it is of the same name and has nobody else in it.
pub fn private_group(observed: &Observed) -> Option<String> {
    let account = observed.account.as_ref()?;
    let group = observed
        .groups
        .iter()
        .find(|group| group.gid == account.gid)?;
    let others = observed
        .accounts
        .iter()
        .any(|other| other.gid == group.gid && other.name != account.name);
    let alone = group.members.iter().all(|member| *member == account.name);
    (group.name == account.name && alone && !others).then(|| group.name.clone())
}

fn refusals(args: &Args, observed: &Observed) -> Refusals {
    let mut found = vec![];
    let Some(account) = &observed.account else {
        return found;
    };
    found.extend(refuse::foreign_account(observed));
    found.extend(observed.remains.iter().flat_map(left));
    let secrets = &observed.secrets_files;
    if !secrets.is_empty() {
        found.push(format!(
            "secrets in {}: {}",
            args.secrets_dir().display(),
            names(secrets.iter().map(|path| path.display()))
        ));
    }
    if args.remove_home {
        let holds = |other: &&host::accounts::Account| {
            other.name != account.name && other.home.starts_with(&account.home)
        };
        if let Some(other) = observed.accounts.iter().find(holds) {
            found.push(format!(
                "{} holds the home of {}; leave remove_home out",
                account.home.display(),
                other.name
            ));
        }
        if !observed.mounts_in_home.is_empty() {
            let mounts = names(observed.mounts_in_home.iter().map(|path| path.display()));
            found.push(format!(
                "mounts in its home, whose content would go with it: {mounts}"
            ));
        }
        let own = observed
            .home
            .is_none_or(|home| home.uid == account.uid && home.is_directory);
        if !own || account.home == Path::new("/") {
            found.push(format!(
                "{} is not its own; leave remove_home out",
                account.home.display()
            ));
        }
    }
    found
}

fn left(remains: &Remains) -> Refusals {
    let Remains {
        processes,
        units,
        containers,
        files,
    } = remains;
    let mut found = vec![];
    for (what, left) in [
        ("processes", processes),
        ("units", units),
        ("containers", containers),
    ] {
        if !left.is_empty() {
            found.push(format!("{what} of its own: {}", names(left)));
        }
    }
    let Found { count, paths, .. } = files;
    if *count > 0 {
        let paths = names(paths.iter().map(|path| path.display()));
        found.push(format!(
            "{count} files outside its home that belong to it or to its subordinate ids: {paths}"
        ));
    }
    if !files.whole {
        found.push(format!(
            "the search for its files was not done in time, after {} of them; give it longer with timeout",
            files.entries
        ));
    }
    found
}

/// The first of them, one after the other.
fn names(all: impl IntoIterator<Item = impl ToString>) -> String {
    let all: Vec<_> = all.into_iter().map(|one| one.to_string()).collect();
    let more = all.len().saturating_sub(NAMED);
    let first = all[..all.len() - more].join(", ");
    match more {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
