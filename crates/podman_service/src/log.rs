//! What a service's log says of permissions.

use anyhow::Result;
use host::{
    accounts::Account,
    command::run,
    podman::{Container, Podman},
};
use std::{collections::BTreeSet, time::Duration};

/// How much of a log is looked at.
const LINES: &str = "2000";
const PATIENCE: Duration = Duration::from_secs(30);

/// Lines that tell of something that was not permitted, with their numbers taken out, sorted.
///
/// `since` is in seconds since 1970.
///
/// # Errors
/// When journalctl cannot be run.
pub fn complaints(
    account: &Account,
    units: &[String],
    containers: &[Container],
    since: Option<i64>,
) -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for unit in units {
        let (owner, own) = (
            format!("_SYSTEMD_OWNER_UID={}", account.uid),
            format!("_SYSTEMD_USER_UNIT={unit}"),
        );
        let of_system = format!("_SYSTEMD_UNIT={unit}");
        let fields = ["--output=cat", "--no-pager", "--quiet", "--lines", LINES];
        let since = format!("--since=@{}", since.unwrap_or(0));
        let words = fields.iter().copied().chain([
            since.as_str(),
            owner.as_str(),
            own.as_str(),
            "+",
            of_system.as_str(),
        ]);
        let said = run(["journalctl"].into_iter().chain(words)).finish()?;
        found.extend(said.stdout.lines().filter_map(complaint));
    }
    let podman = Podman {
        account,
        timeout: PATIENCE,
    };
    for container in containers {
        // One that ended meanwhile has no log any more.
        let said = podman
            .call(&["logs", "--tail", LINES, &container.id])
            .finish()?;
        let lines = said.stdout.lines().chain(said.stderr.lines());
        found.extend(lines.filter_map(complaint));
    }
    Ok(found.into_iter().collect())
}

/// Numbers are times, processes and the like: the same complaint has others the next time.
fn complaint(line: &str) -> Option<String> {
    let lower = line.to_lowercase();
    let words = [
        "permission denied",
        "operation not permitted",
        "eacces",
        "eperm",
    ];
    let is = words.iter().any(|words| lower.contains(words));
    is.then(|| line.replace(|letter: char| letter.is_ascii_digit(), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_permissions_are_complaints_and_numbers_make_none_new() {
        let one = complaint("12:01 [3] mkdir /data: Permission denied");
        assert!(one.is_some());
        assert_eq!(one, complaint("14:22 [77] mkdir /data: Permission denied"));
        assert_eq!(complaint("ready for connections"), None);
    }
}
