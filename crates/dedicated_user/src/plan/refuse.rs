//! Why an account is not made.

use super::Refusals;
use crate::{
    args::{Args, HOMES},
    name,
    observed::{Entry, Observed},
};
use std::path::{Component, Path, PathBuf};

/// Directories below the homes that Podman as root uses (containers-storage.conf(5), containers.conf(5)).
const ROOTFUL: [&str; 3] = [
    "/var/lib/containers/storage",
    "/var/lib/containers/cache",
    "/var/lib/containers/sigstore",
];
/// The home of accounts that have none (Debian Policy, 9.2.3).
const NO_HOME: &str = "/nonexistent";

/// What is wrong with the options, whatever the account will be; `home` is the one that it will have.
pub fn present(args: &Args, observed: &Observed, home: &Path) -> Refusals {
    let mut found = names(args);
    found.extend(foreign_account(observed));
    found.extend(missing_groups(args, observed));
    for (option, path) in [
        ("home", Some(home)),
        ("shell", args.shell.as_deref()),
        ("secrets_dir", Some(&*args.secrets_dir())),
    ] {
        found.extend(path.and_then(|path| bad_path(option, path)));
    }
    if let Some(store) = ROOTFUL.iter().find(|store| home.starts_with(store)) {
        found.push(format!(
            "the home {} would lie in {store}, which is Podman's own as root; give the account another name, or \
             another home",
            home.display()
        ));
    }
    if home.starts_with(NO_HOME) {
        found.push(format!(
            "{} has {NO_HOME} for a home, where nothing may be; make an account of another name",
            args.name
        ));
    }
    if let Some(comment) = &args.comment
        && comment.contains([':', '\n'])
    {
        found.push(
            "comment holds a colon or a new line, which /etc/passwd has no room for".to_owned(),
        );
    }
    if !observed.has_shell {
        found.push("shell is no program that can be run".to_owned());
    }
    if args.linger && !observed.has_logind {
        found.push("linger needs loginctl, which is not there; set linger to false".to_owned());
    }
    if let Some(secrets) = observed.secrets
        && (!secrets.is_directory || secrets.uid != 0)
    {
        found.push(format!(
            "{} is there, and is no directory of root's; name another secrets_dir",
            args.secrets_dir().display()
        ));
    }
    found
}

/// That it is one of those that the distribution itself brings, with the same uids everywhere, or one of another
/// machine's, which the shadow programs cannot change.
pub fn foreign_account(observed: &Observed) -> Option<String> {
    let account = observed.account.as_ref()?;
    let (name, uid) = (&account.name, account.uid);
    if uid < 100 {
        return Some(format!("{name} belongs to the system itself (uid {uid})"));
    }
    let is_local = observed.accounts.iter().any(|local| local.name == *name);
    (!is_local).then(|| {
        format!("{name} is not in /etc/passwd, and can be changed only where it comes from")
    })
}

/// Why what is where the home shall be is not that.
pub fn home(path: &Path, entry: Entry, uid: u32) -> Option<String> {
    if !entry.is_directory {
        return Some(format!("{} is there, and is no directory", path.display()));
    }
    (entry.uid != uid).then(|| {
        format!(
            "{} is there and belongs to uid {}, not {uid}: somebody else's files would be the account's; name another \
             home, move that one away, or change its owner first",
            path.display(),
            entry.uid
        )
    })
}

/// Why the account could not come to its home; what is ours to open is opened.
pub fn closed<'o>(closed: impl Iterator<Item = &'o (PathBuf, Entry)>) -> Refusals {
    let foreign = closed.filter(|(path, _)| path != Path::new(HOMES));
    foreign
        .map(|(path, _)| {
            let path = path.display();
            format!("{path} is closed to the account, whose home lies below; open it (chmod o+x {path}) or name another home")
        })
        .collect()
}

/// Names that not every program takes, with what they should be called.
pub fn names(args: &Args) -> Refusals {
    let illegal = args.names().filter(|(_, name)| !name::is_legal(name));
    illegal
        .map(|(option, name)| {
            let advice = match name::proposal(name) {
                Some(proposal) => format!("call it {proposal}"),
                None => "choose another".to_owned(),
            };
            format!(
                "{option} \"{name}\" is not a name that every program takes (at most 31 of a-z, 0-9, _ and -, a \
                 letter first); {advice}"
            )
        })
        .collect()
}

fn missing_groups(args: &Args, observed: &Observed) -> Option<String> {
    let wished = args.groups.iter().flatten();
    let missing: Vec<_> = wished
        .filter(|group| observed.group(group).is_none())
        .map(String::as_str)
        .collect();
    (!missing.is_empty())
        .then(|| format!("there is no group {}; make it first", missing.join(", ")))
}

fn bad_path(option: &str, path: &Path) -> Option<String> {
    let plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
    let text = path.to_str().filter(|text| {
        !text.contains(|letter: char| letter.is_control() || matches!(letter, ':' | '"' | '\\'))
    });
    (!plain || text.is_none() || path.parent().is_none()).then(|| {
        format!(
            "{option} has to be an absolute path without .. and colons, not {}",
            path.display()
        )
    })
}
