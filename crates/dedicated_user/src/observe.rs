//! What is there. Reads the host and changes nothing.

use crate::{
    args::{Args, State, patience},
    observed::{Entry, NixOs, Observed},
    plan,
    remains::{self, Ids, Remains},
};
use anyhow::{Context, Result};
use host::{
    accounts::{self, Account, Kind, Traits},
    command, files,
    groups::{self, Group},
    login_defs::{self, SubidRules},
    logind, mounts, tmpfiles,
};
use idmap::SubRange;
use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The mark by which NixOS is known.
const NIXOS: &str = "/etc/NIXOS";
/// The accounts that its configuration declares, with spaces between them (nixpkgs, update-users-groups.pl).
const DECLARED: &str = "/var/lib/nixos/declarative-users";
const NOLOGIN: [&str; 3] = [
    "/usr/sbin/nologin",
    "/sbin/nologin",
    "/run/current-system/sw/bin/nologin",
];

/// The host, for one account.
///
/// # Errors
/// With what cannot be read.
pub fn host(args: &Args) -> Result<Observed> {
    let account = accounts::find(&args.name)?.filter(|account| account.name == args.name);
    let groups = groups::all()?;
    let traits = account.as_ref().map(|account| traits(account, &groups));
    let home = args.home_of(account.as_ref());
    let tmpfiles = tmpfiles::file(&format!("bulkhead-secrets-{}", args.name));
    let secrets_dir = args.secrets_dir();
    let mut observed = Observed {
        nixos: nixos(&args.name)?,
        traits: traits.transpose()?,
        accounts: accounts::all()?,
        groups,
        ids: login_defs::account_ids()?,
        rules: SubidRules::read()?,
        subuid: accounts::subids(Kind::Uid)?,
        subgid: accounts::subids(Kind::Gid)?,
        first_missing: first_missing(&home),
        above_home: above(&home)?,
        mounts_in_home: mounts_in(&home)?,
        home: entry(&home)?,
        linger: logind::lingers(&args.name),
        has_logind: command::exists("loginctl"),
        nologin: (NOLOGIN.map(PathBuf::from).into_iter())
            .find(|path| path.exists())
            .unwrap_or_else(|| "/bin/false".into()),
        has_shell: args.shell.as_deref().is_none_or(is_executable),
        tmpfiles_line: files::read_text_optional(&tmpfiles)?,
        tmpfiles,
        secrets: entry(&secrets_dir)?,
        secrets_files: listed(&secrets_dir)?,
        selinux: fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim() == "1"),
        account,
        remains: None,
    };
    if args.state == State::Absent && observed.nixos.is_none() {
        observed.remains = remains_of(args, &observed, &home, &secrets_dir)?;
    }
    Ok(observed)
}

/// Whether the files give the account just what was added.
///
/// # Errors
/// When another program was quicker.
pub fn check_ranges(name: &str, uid: u32, added: &[(Kind, SubRange)]) -> Result<()> {
    let (subuid, subgid) = (accounts::subids(Kind::Uid)?, accounts::subids(Kind::Gid)?);
    let own = [&subuid, &subgid].map(|subids| subids.ranges_of(name, Some(uid)));
    let files = host::subids::Files {
        name,
        uid: Some(uid),
        rules: &SubidRules::read()?,
        subuid: &subuid,
        subgid: &subgid,
        taken: &[],
    };
    files.check_added(&own, added)
}

fn traits(account: &Account, groups: &[Group]) -> Result<Traits> {
    let primary = groups.iter().find(|group| group.gid == account.gid);
    let further = groups
        .iter()
        .filter(|group| group.members.contains(&account.name));
    let mut further: Vec<_> = further.map(|group| group.name.clone()).collect();
    further.sort();
    Ok(Traits {
        group: primary.map_or_else(|| account.gid.to_string(), |group| group.name.clone()),
        home: account.home.clone(),
        shell: account.shell.clone(),
        groups: further,
        comment: accounts::comment(&account.name)?,
    })
}

fn nixos(name: &str) -> Result<Option<NixOs>> {
    if !Path::new(NIXOS).exists() {
        return Ok(None);
    }
    let list = files::read_text_optional(DECLARED.as_ref())?;
    let declared = list.map(|list| list.split_whitespace().any(|declared| declared == name));
    Ok(Some(NixOs { declared }))
}

fn remains_of(
    args: &Args,
    observed: &Observed,
    home: &Path,
    secrets: &Path,
) -> Result<Option<Remains>> {
    let Some(account) = &observed.account else {
        return Ok(None);
    };
    let [subuid, subgid] = observed.ranges(&account.name, Some(account.uid));
    let ids = Ids {
        account,
        subuid: &subuid,
        subgid: &subgid,
        private_group: plan::private_group(observed).is_some(),
    };
    let patience = patience(args.timeout).map_err(|failure| anyhow::anyhow!(failure.msg))?;
    remains::of(&ids, &[home, secrets], patience).map(Some)
}

fn entry(path: &Path) -> Result<Option<Entry>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(Entry {
            is_directory: found.is_dir(),
            uid: found.uid(),
            gid: found.gid(),
            mode: found.mode() & 0o7777,
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

fn first_missing(path: &Path) -> Option<PathBuf> {
    let missing = path.ancestors().take_while(|path| !path.exists());
    missing.last().map(Path::to_owned)
}

fn above(path: &Path) -> Result<Vec<(PathBuf, Entry)>> {
    let found = path
        .ancestors()
        .skip(1)
        .map(|above| Ok(entry(above)?.map(|found| (above.to_owned(), found))));
    found.filter_map(Result::transpose).collect()
}

fn mounts_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let mounts = mounts::of_process("self")?.into_iter();
    let points = mounts.map(|mount| mount.point);
    Ok(points
        .filter(|point| point.starts_with(directory))
        .collect())
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(vec![])
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", directory.display())),
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
