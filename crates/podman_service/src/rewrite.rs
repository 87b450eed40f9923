//! A unit's text for another account. Pure; what is not the account's is left to the letter.

use crate::{
    unit_text::{UnitText, paths_in},
    units::Place,
};
use std::path::PathBuf;

/// What is another for the other account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrites {
    /// Directories before and after: homes, runtime directories, those of secrets.
    pub paths: Vec<(PathBuf, PathBuf)>,
    /// User and group inside, for `keep-id`: those of the account before, so that nothing changes there.
    pub keep_id: (u32, u32),
    /// The accounts' names, before and after.
    pub users: (String, String),
    /// The names of the accounts' groups.
    pub groups: (String, String),
    /// The units of their user managers.
    pub managers: (String, String),
}

impl Rewrites {
    /// The text of a file for its new place.
    pub fn apply(&self, text: &str, place: Place) -> String {
        let mut lines = vec![];
        let mut section = "";
        for line in text.split_inclusive('\n') {
            if line.trim_start().starts_with('[') {
                section = line.trim();
            }
            if let Some(line) = self.account(line, section, place) {
                let line = keep_id(&line, self.keep_id);
                let line = line.replace(&self.managers.0, &self.managers.1);
                lines.push(self.paths.iter().fold(line, |line, (from, to)| {
                    replace_path(&line, &from.to_string_lossy(), &to.to_string_lossy())
                }));
            }
        }
        lines.concat()
    }

    /// The account's own paths that a text still has: such as `/run//secrets`, which no replacement finds.
    pub fn missed(&self, text: &str) -> Vec<PathBuf> {
        let is_before = |path: &PathBuf| {
            let mut pairs = self.paths.iter().filter(|(from, to)| from != to);
            pairs.any(|(from, _)| path.starts_with(from))
        };
        let paths = UnitText::parse(text).paths();
        paths.into_iter().filter(is_before).collect()
    }

    /// A user manager runs everything as its account, and has other targets than the system's.
    fn account(&self, line: &str, section: &str, place: Place) -> Option<String> {
        let Some((key, value)) = line.split_once('=') else {
            return Some(line.to_owned());
        };
        let (key, value) = (key.trim(), value.trim());
        let is = |names: &(String, String)| value == names.0;
        match (place, section, key) {
            (Place::SystemQuadlet, "[Service]", "User") if is(&self.users) => None,
            (Place::SystemQuadlet, "[Service]", "Group") if is(&self.groups) => None,
            (Place::SystemQuadlet, "[Install]", "WantedBy") => {
                Some(line.replace("multi-user.target", "default.target"))
            }
            (Place::System, "[Service]", "User") if is(&self.users) => {
                Some(format!("User={}\n", self.users.1))
            }
            (Place::System, "[Service]", "Group") if is(&self.groups) => {
                Some(format!("Group={}\n", self.groups.1))
            }
            _ => Some(line.to_owned()),
        }
    }
}

/// `keep-id` shows the account's own ids inside; with these, those of the account before.
pub fn keep_id(line: &str, (uid, gid): (u32, u32)) -> String {
    let mut done = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("keep-id") {
        let (before, mode) = rest.split_at(at);
        let end = mode
            .find(|letter: char| letter.is_whitespace() || "\"'\\".contains(letter))
            .unwrap_or(mode.len());
        let (mode, after) = mode.split_at(end);
        done.push_str(before);
        let is_mode = [
            "UserNS=",
            "--userns=",
            "--userns ",
            "--userns=\"",
            "--userns \"",
        ]
        .iter()
        .any(|setting| before.ends_with(setting));
        match is_mode && (mode == "keep-id" || mode.starts_with("keep-id:")) {
            true => done.push_str(&with_ids(mode, uid, gid)),
            false => done.push_str(mode),
        }
        rest = after;
    }
    done + rest
}

fn with_ids(mode: &str, uid: u32, gid: u32) -> String {
    let given = mode.split_once(':').map_or("", |(_, options)| options);
    let mut options: Vec<String> = given
        .split(',')
        .filter(|option| !option.is_empty())
        .map(str::to_owned)
        .collect();
    for (name, id) in [("uid=", uid), ("gid=", gid)] {
        if !options.iter().any(|option| option.starts_with(name)) {
            options.push(format!("{name}{id}"));
        }
    }
    format!("keep-id:{}", options.join(","))
}

/// Replaces a path, and the beginning of one below it, but not of another that merely begins alike.
pub fn replace_path(text: &str, from: &str, to: &str) -> String {
    let mut done = String::new();
    let mut copied = 0;
    for (begin, path) in paths_in(text) {
        let below = path.strip_prefix(from);
        if below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
            done.push_str(&text[copied..begin]);
            done.push_str(to);
            copied = begin + from.len();
        }
    }
    done + &text[copied..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrites() -> Rewrites {
        Rewrites {
            paths: vec![
                (
                    "/var/lib/containers/db".into(),
                    "/var/lib/containers/shop".into(),
                ),
                ("/run/secrets-db".into(), "/run/secrets-shop".into()),
            ],
            keep_id: (1001, 1002),
            users: ("db".into(), "shop".into()),
            groups: ("db".into(), "shop".into()),
            managers: ("user@990.service".into(), "user@989.service".into()),
        }
    }

    #[test]
    fn only_the_accounts_own_paths_change() {
        let text = "Volume=/var/lib/containers/db/x:/var/lib/containers/db2:ro\n\
            EnvironmentFile=-/run/secrets-db/env\nVolume=/mnt/run/secrets-db/a:/b\nExec=x /var/lib/containers/db\n";
        let new = "Volume=/var/lib/containers/shop/x:/var/lib/containers/db2:ro\n\
            EnvironmentFile=-/run/secrets-shop/env\nVolume=/mnt/run/secrets-db/a:/b\nExec=x /var/lib/containers/shop\n";
        assert_eq!(rewrites().apply(text, Place::Quadlet), new);
    }

    #[test]
    fn a_path_is_one_however_it_is_framed() {
        let text = "ExecStartPre=-+/run/secrets-db/x\nExecStart=sh -c 'cat </run/secrets-db/a>/run/secrets-db!/b'\n";
        let new = "ExecStartPre=-+/run/secrets-shop/x\nExecStart=sh -c 'cat </run/secrets-shop/a>/run/secrets-db!/b'\n";
        assert_eq!(rewrites().apply(text, Place::User), new);
    }

    #[test]
    fn a_path_that_is_written_in_another_way_is_told() {
        let text = "[Container]\nVolume=/run/secrets-db/a:/a\nVolume=/run/./secrets-db//b:/b\nVolume=/run/secrets-db2:/c\n";
        let text = rewrites().apply(text, Place::Quadlet);
        assert_eq!(
            rewrites().missed(&text),
            [PathBuf::from("/run/secrets-db/b")]
        );
    }

    #[test]
    fn keep_id_keeps_the_ids_of_the_account_before() {
        let keep = |text: &str| keep_id(text, (1001, 1002));
        assert_eq!(
            keep("UserNS=keep-id\n"),
            "UserNS=keep-id:uid=1001,gid=1002\n"
        );
        assert_eq!(
            keep("UserNS=keep-id:uid=5"),
            "UserNS=keep-id:uid=5,gid=1002"
        );
        assert_eq!(
            keep("UserNS=keep-id:gid=5,uid=6"),
            "UserNS=keep-id:gid=5,uid=6"
        );
        assert_eq!(
            keep("podman run --userns keep-id --name keep-id x\n"),
            "podman run --userns keep-id:uid=1001,gid=1002 --name keep-id x\n"
        );
        assert_eq!(
            keep("--userns=keep-id \\\n"),
            "--userns=keep-id:uid=1001,gid=1002 \\\n"
        );
        assert_eq!(keep("UserNS=keep-idle"), "UserNS=keep-idle");
    }

    #[test]
    fn a_quadlet_of_the_system_becomes_the_accounts() {
        let text = "[Container]\nUser=db\n[Service]\nUser=db\nGroup=db\nNice=5\n[Install]\nWantedBy=multi-user.target\n";
        let new = "[Container]\nUser=db\n[Service]\nNice=5\n[Install]\nWantedBy=default.target\n";
        assert_eq!(rewrites().apply(text, Place::SystemQuadlet), new);
        let text = "[Container]\nUser=db\n[Install]\nWantedBy=multi-user.target\n";
        assert_eq!(rewrites().apply(text, Place::Quadlet), text);
    }

    #[test]
    fn a_unit_of_the_system_stays_one() {
        let text = "[Unit]\nAfter=user@990.service\n[Service]\nUser = db\nGroup=other\n[Install]\nWantedBy=multi-user.target\n";
        let new = "[Unit]\nAfter=user@989.service\n[Service]\nUser=shop\nGroup=other\n[Install]\nWantedBy=multi-user.target\n";
        assert_eq!(rewrites().apply(text, Place::System), new);
    }
}
