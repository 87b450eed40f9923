//! Accounts and their subordinate ids. The files are read directly, since a static executable cannot
//! load name-service libraries; they are changed through the shadow programs, which hold the locks.

pub use crate::account::{Account, runtime_directory};

use crate::{
    account::parse,
    command::{run, until},
};
use anyhow::{Context, Result, bail};
use idmap::{SubRange, subid};
use nix::{sys::signal::kill, unistd::Pid};
use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    path::PathBuf,
    time::Duration,
};

/// How long to wait for a lock.
const LOCKED: Duration = Duration::from_secs(15);

/// Which of the two subordinate id files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// /etc/subuid
    Uid,
    /// /etc/subgid
    Gid,
}

impl Kind {
    /// The file, subuid(5) or subgid(5).
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Kind::Uid => "/etc/subuid",
            Kind::Gid => "/etc/subgid",
        }
    }
}

/// The account of this name or uid: from /etc/passwd, else from whatever `getent` knows.
///
/// # Errors
/// When neither can be read.
pub fn find(name_or_uid: &str) -> Result<Option<Account>> {
    let uid = name_or_uid.parse::<u32>().ok();
    let wanted = |account: &Account| account.name == name_or_uid || Some(account.uid) == uid;
    let text = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    if let Some(account) = parse(&text).find(wanted) {
        return Ok(Some(account));
    }
    let answer = run(["getent", "passwd", "--", name_or_uid]).finish()?;
    Ok(parse(&answer.stdout).find(wanted))
}

/// Every account of /etc/passwd.
///
/// # Errors
/// When it cannot be read.
pub fn all() -> Result<Vec<Account>> {
    let bytes = fs::read("/etc/passwd").context("cannot read /etc/passwd")?;
    Ok(parse(&String::from_utf8_lossy(&bytes)).collect())
}

/// The comment field of an account in /etc/passwd; empty where it has none.
///
/// # Errors
/// When /etc/passwd cannot be read.
pub fn comment(name: &str) -> Result<String> {
    let bytes = fs::read("/etc/passwd").context("cannot read /etc/passwd")?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().map(|line| line.split(':'));
    let field = lines.find_map(|mut fields| {
        (fields.next() == Some(name)).then(|| fields.nth(3).unwrap_or_default().to_owned())
    });
    Ok(field.unwrap_or_default())
}

/// Whether there is a group of this name or gid: in /etc/group, else among those that `getent` knows.
///
/// # Errors
/// When neither can be read.
pub fn has_group(name_or_gid: &str) -> Result<bool> {
    let gid = name_or_gid.parse::<u32>().ok();
    let wanted = |line: &str| {
        let mut fields = line.split(':');
        fields.next() == Some(name_or_gid)
            || gid.is_some() && fields.nth(1).and_then(|field| field.parse().ok()) == gid
    };
    let text = fs::read_to_string("/etc/group").context("cannot read /etc/group")?;
    if text.lines().any(wanted) {
        return Ok(true);
    }
    let answer = run(["getent", "group", "--", name_or_gid]).finish()?;
    Ok(answer.stdout.lines().any(wanted))
}

/// Every uid or gid that /etc/passwd or /etc/group gives to somebody.
///
/// # Errors
/// When the file cannot be read.
pub fn taken(kind: Kind) -> Result<Vec<u32>> {
    let path = match kind {
        Kind::Uid => "/etc/passwd",
        Kind::Gid => "/etc/group",
    };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(':').nth(2)?.parse().ok())
        .collect())
}

/// The content of /etc/subuid or /etc/subgid, empty where there is no such file.
///
/// # Errors
/// When it is there and cannot be read.
pub fn subids(kind: Kind) -> Result<subid::Subids> {
    let bytes = crate::files::read_optional(kind.path().as_ref())?.unwrap_or_default();
    Ok(subid::Subids::parse(&bytes))
}

/// The files that the shadow programs lock, each on its own.
const LOCKABLE: [&str; 6] = [
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/subuid",
    "/etc/subgid",
];

/// Waits until none of the accounts' files is locked, as long as shadow's own programs try. They call a lock stale, and
/// take it away, when the process whose id it holds is gone (shadow's lib/commonio.c).
///
/// # Errors
/// Names the process that keeps the lock.
pub fn wait_for_locks() -> Result<()> {
    until(LOCKED, "the accounts' files stay locked", || {
        LOCKABLE.into_iter().try_for_each(unlocked)?;
        Ok(Some(()))
    })
}

fn unlocked(file: &str) -> Result<()> {
    let path = format!("{file}.lock");
    let Some(text) = crate::files::read_optional(path.as_ref())? else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&text);
    let Ok(pid) = text.trim_end_matches('\0').parse() else {
        bail!("{path} names no process; remove it if no program is changing accounts")
    };
    if kill(Pid::from_raw(pid), None).is_ok() {
        bail!("{path} is held by process {pid}");
    }
    Ok(())
}

/// What an account is like, apart from its name and uid.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Traits {
    /// Its primary group.
    pub group: String,
    /// Its home directory.
    pub home: PathBuf,
    /// Its login shell.
    pub shell: PathBuf,
    /// Its further groups.
    pub groups: Vec<String>,
    /// The comment field, which holds a full name or a purpose.
    pub comment: String,
}

/// Makes an account without a password and without subordinate ids, and not its home directory.
///
/// # Errors
/// With useradd's words.
pub fn add(name: &str, uid: u32, traits: &Traits) -> Result<()> {
    // Else useradd gives it ranges of its own choice.
    let none = ["--key", "SUB_UID_COUNT=0", "--key", "SUB_GID_COUNT=0"];
    let shape = ["--no-create-home", "--no-user-group", "--no-log-init"];
    let uid = uid.to_string();
    let command = run(["useradd", "--uid", &uid]
        .into_iter()
        .chain(none)
        .chain(shape)
        .chain(["--home-dir"])
        .map(OsString::from)
        .chain([traits.home.clone().into()])
        .chain(traits.flags())
        .chain([name.into()]));
    command.stdout().map(drop)
}

/// Gives an account these traits in place of those it has, but for its home directory.
///
/// # Errors
/// With usermod's words.
pub fn change(name: &str, traits: &Traits) -> Result<()> {
    let command = run([OsString::from("usermod")]
        .into_iter()
        .chain(traits.flags())
        .chain([name.into()]));
    command.stdout().map(drop)
}

impl Traits {
    fn flags(&self) -> impl Iterator<Item = OsString> {
        let flags: [(&str, OsString); 4] = [
            ("--gid", self.group.as_str().into()),
            ("--shell", self.shell.as_os_str().into()),
            ("--groups", self.groups.join(",").into()),
            ("--comment", self.comment.as_str().into()),
        ];
        flags
            .into_iter()
            .flat_map(|(flag, value)| [OsString::from(flag), value])
    }
}

/// Makes a system account that nobody can log in to, with a group of its own.
///
/// # Errors
/// With useradd's words.
pub fn add_system(name: &str) -> Result<()> {
    let comment = ["--comment", "Docker user namespaces"];
    let shape = [
        "--system",
        "--user-group",
        "--no-create-home",
        "--shell",
        "/usr/sbin/nologin",
    ];
    run(["useradd"]
        .into_iter()
        .chain(shape)
        .chain(comment)
        .chain([name]))
    .stdout()
    .map(drop)
}

/// Removes an account and its group; one that is not there is well.
///
/// # Errors
/// With userdel's words.
pub fn remove(name: &str) -> Result<()> {
    if find(name)?.is_none() {
        return Ok(());
    }
    run(["userdel", name]).stdout().map(drop)
}

/// Gives a subordinate range to an account.
///
/// # Errors
/// With usermod's words.
pub fn add_range(name: &str, kind: Kind, range: SubRange) -> Result<()> {
    change_range(
        name,
        range,
        match kind {
            Kind::Uid => "--add-subuids",
            Kind::Gid => "--add-subgids",
        },
    )
}

/// Takes a subordinate range from an account.
///
/// # Errors
/// With usermod's words.
pub fn remove_range(name: &str, kind: Kind, range: SubRange) -> Result<()> {
    change_range(
        name,
        range,
        match kind {
            Kind::Uid => "--del-subuids",
            Kind::Gid => "--del-subgids",
        },
    )
}

fn change_range(name: &str, range: SubRange, flag: &str) -> Result<()> {
    // usermod refuses where there is no file at all.
    for kind in [Kind::Uid, Kind::Gid] {
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(kind.path())
            .with_context(|| kind.path())?;
    }
    let Some(last) = range
        .count
        .checked_sub(1)
        .and_then(|rest| range.start.checked_add(rest))
    else {
        bail!("{}:{} is not a range of ids", range.start, range.count)
    };
    run(["usermod", flag, &format!("{}-{last}", range.start), name])
        .stdout()
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_and_nobody_else_by_that_id() {
        let root = find("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(root.home, PathBuf::from("/root"));
        assert_eq!(find("0").unwrap(), Some(root));
        assert_eq!(find("no such account").unwrap(), None);
        assert!(has_group("root").unwrap() && has_group("0").unwrap());
        assert!(!has_group("no such group").unwrap() && !has_group("").unwrap());
        assert!(taken(Kind::Uid).unwrap().contains(&0) && taken(Kind::Gid).unwrap().contains(&0));
    }
}
