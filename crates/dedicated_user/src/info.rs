//! The module that only tells.

use crate::{args, disk, present, remains};
use ansible_module::{Failure, Invocation, Kind as Elements, Module, Opt, Outcome, Spec};
use anyhow::{Context, Result};
use host::{
    accounts::{self, Account, Kind},
    cgroups::{self, Usage},
    logind,
    podman::store::store,
    systemd,
};
use idmap::{SubRange, subid::Subids};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

/// The module `dedicated_user_info`.
pub fn main() -> ExitCode {
    Module::new(spec())
        .version(env!("CARGO_PKG_VERSION"))
        .run(run)
}

#[derive(Debug, Deserialize)]
struct Asked {
    names: Option<Vec<String>>,
    directories: Option<BTreeMap<String, Vec<PathBuf>>>,
    timeout: i64,
}

fn spec() -> Spec {
    Spec::new("dedicated_user_info")
        .about("Tell which accounts run rootless containers, and what each of them uses")
        .option(Opt::list("names", Elements::Str).help(
            "The accounts; if unset, all that have a subordinate range or a store of rootless Podman",
        ))
        .option(
            Opt::dict("directories")
                .help("By account, a list of directories of its data outside its home"),
        )
        .option(
            Opt::int("timeout")
                .default(300)
                .help("Seconds that the files of one account may take to be counted"),
        )
        .read_only()
}

fn run(invocation: &mut Invocation) -> Result<Outcome, Failure> {
    let asked: Asked = invocation.parse()?;
    let patience = args::patience(asked.timeout)?;
    // Homes are closed to everybody else.
    if !host::process::is_root() {
        return Err(Failure::new(
            "dedicated_user_info has to run as root; use become: true",
        ));
    }
    let files = [accounts::subids(Kind::Uid)?, accounts::subids(Kind::Gid)?];
    let mut chosen = match &asked.names {
        Some(names) => named(names)?,
        None => of_containers(&files)?,
    };
    chosen.sort_by(|one, other| one.name.cmp(&other.name));
    chosen.dedup();
    let directories = asked.directories.unwrap_or_default();
    if let Some(name) = directories
        .keys()
        .find(|name| !chosen.iter().any(|account| account.name == **name))
    {
        return Err(Failure::new(format!(
            "directories names {name}, which is none of the accounts"
        )));
    }
    let told = chosen.iter().map(|account| {
        let data = directories
            .get(&account.name)
            .map_or(&[][..], Vec::as_slice);
        tell(account, &files, data, patience, invocation)
    });
    let told = told.collect::<Result<Vec<_>>>()?;
    Ok(Outcome::new(false).returning("accounts", told))
}

fn named(names: &[String]) -> Result<Vec<Account>> {
    let one = |name: &String| {
        accounts::find(name)?.with_context(|| format!("there is no account {name}"))
    };
    names.iter().map(one).collect()
}

/// Every account that has a range in one of the files, or a store.
fn of_containers(files: &[Subids; 2]) -> Result<Vec<Account>> {
    let has_range = |account: &Account| files.iter().any(|subids| !of(subids, account).is_empty());
    let mut found = vec![];
    for account in accounts::all()? {
        if has_range(&account) || store(&account)?.is_dir() {
            found.push(account);
        }
    }
    Ok(found)
}

fn of(subids: &Subids, account: &Account) -> Vec<SubRange> {
    subids.ranges_of(&account.name, Some(account.uid))
}

fn tell(
    account: &Account,
    files: &[Subids; 2],
    data: &[PathBuf],
    patience: Duration,
    invocation: &mut Invocation,
) -> Result<Value> {
    let runtime = account.runtime_directory();
    Ok(json!({
        "name": account.name,
        "uid": account.uid,
        "gid": account.gid,
        "home": account.home,
        "linger": logind::lingers(&account.name),
        "runtime_dir": runtime.exists().then_some(runtime),
        "subuid": present::ranges(&of(&files[0], account)),
        "subgid": present::ranges(&of(&files[1], account)),
        "usage": usage(account, data, patience, invocation)?,
    }))
}

fn usage(
    account: &Account,
    data: &[PathBuf],
    patience: Duration,
    invocation: &mut Invocation,
) -> Result<Value> {
    let own = [account.home.clone(), store(account)?];
    let trees = [&own[..], data].concat();
    let taken = disk::measure(&trees, Instant::now() + patience);
    let taken = taken.map_err(|error| invocation.warn(format!("{}: {error:#}", account.name)));
    let taken = taken.ok();
    let bytes = |at: usize| taken.as_ref().map(|taken| taken.each[at]);
    let data = data.iter().enumerate();
    let data = data.map(|(at, path)| (path.display().to_string(), json!(bytes(own.len() + at))));
    let work = work(account)?;
    Ok(json!({
        "home": bytes(0),
        "storage": bytes(1),
        "data": Value::Object(data.collect()),
        "disk": taken.as_ref().map(|taken| taken.all),
        "memory": work.memory,
        "memory_peak": work.memory_peak,
        "cpu": work.cpu.map(|cpu| cpu.as_secs_f64()),
        "processes": work.processes,
    }))
}

/// What its sessions and user manager use, and the host's units that run as the account.
fn work(account: &Account) -> Result<Usage> {
    let mut groups = vec![cgroups::usage(&cgroups::of_account(account.uid))];
    for unit in remains::of_host(account)? {
        let group = systemd::property(&unit, "ControlGroup")?;
        if !group.is_empty() {
            groups.push(cgroups::usage(&cgroups::at(&group)));
        }
    }
    Ok(sum(&groups))
}

/// Peaks of several groups may not have come at the same time: then there is none to tell.
fn sum(groups: &[Usage]) -> Usage {
    let groups: Vec<_> = groups.iter().filter(|group| group.cpu.is_some()).collect();
    let memory: Option<Vec<_>> = groups.iter().map(|group| group.memory).collect();
    Usage {
        memory: memory
            .filter(|all| !all.is_empty())
            .map(|all| all.iter().sum()),
        memory_peak: match groups[..] {
            [one] => one.memory_peak,
            _ => None,
        },
        cpu: groups
            .iter()
            .filter_map(|group| group.cpu)
            .reduce(|one, other| one + other),
        processes: groups.iter().map(|group| group.processes).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_add_up_but_for_peaks_and_what_is_not_known() {
        let group = |memory, seconds| Usage {
            memory,
            memory_peak: memory,
            cpu: Some(Duration::from_secs(seconds)),
            processes: 2,
        };
        assert_eq!(sum(&[Usage::default()]), Usage::default());
        assert_eq!(
            sum(&[group(Some(5), 1), Usage::default()]),
            group(Some(5), 1)
        );
        let both = sum(&[group(Some(5), 1), group(Some(7), 2)]);
        assert_eq!((both.memory, both.memory_peak), (Some(12), None));
        assert_eq!(
            (both.cpu, both.processes),
            (Some(Duration::from_secs(3)), 4)
        );
        assert_eq!(sum(&[group(None, 1), group(Some(7), 2)]).memory, None);
    }
}
