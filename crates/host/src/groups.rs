//! Groups: read from group(5) directly, changed through the shadow programs, which hold the locks.

use crate::command::run;
use anyhow::{Context, Result};
use std::fs;

/// One line of group(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its id.
    pub gid: u32,
    /// The accounts for which it is one more beside their primary one.
    pub members: Vec<String>,
}

/// Every group of /etc/group.
///
/// # Errors
/// When it cannot be read.
pub fn all() -> Result<Vec<Group>> {
    let bytes = fs::read("/etc/group").context("cannot read /etc/group")?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// The name of the group with this gid.
///
/// # Errors
/// When `getent` cannot be run.
pub fn name_of(gid: u32) -> Result<Option<String>> {
    let answer = run(["getent", "group", &gid.to_string()]).finish()?;
    let name = answer.stdout.split(':').next().map(str::to_owned);
    Ok(name.filter(|name| answer.status.success() && !name.is_empty()))
}

/// Makes a group.
///
/// # Errors
/// With groupadd's words.
pub fn add(name: &str, gid: u32) -> Result<()> {
    run(["groupadd", "--gid", &gid.to_string(), name])
        .stdout()
        .map(drop)
}

/// Removes a group; one that is not there, or is another by that name, is well.
///
/// # Errors
/// With groupdel's words.
pub fn remove(name: &str, gid: u32) -> Result<()> {
    let there = all()?
        .iter()
        .any(|group| group.name == name && group.gid == gid);
    match there {
        true => run(["groupdel", name]).stdout().map(drop),
        false => Ok(()),
    }
}

fn parse(text: &str) -> Vec<Group> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let gid = fields.nth(1)?.parse().ok()?;
        let members = fields.next().unwrap_or_default().split(',');
        let members = members.filter(|member| !member.is_empty());
        Some(Group {
            name,
            gid,
            members: members.map(str::to_owned).collect(),
        })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_listed_and_lines_that_are_none_passed_over() {
        let groups = parse("root:x:0:\nstaff:x:50:ann,bob\nbroken\n+::::\n");
        let names: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names, ["root", "staff"]);
        assert_eq!(groups[1].members, ["ann", "bob"]);
        assert!(groups[0].members.is_empty());
    }

    #[test]
    fn a_group_has_its_name() {
        assert_eq!(name_of(0).unwrap().as_deref(), Some("root"));
        assert_eq!(name_of(u32::MAX - 7).unwrap(), None);
    }
}
