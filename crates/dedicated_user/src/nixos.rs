//! NixOS, where the system's configuration declares accounts and nothing else may make them: what it lacks, and the
//! lines that add it. Pure.
//!
//! Options are those of nixpkgs' nixos/modules/config/users-groups.nix and system/boot/systemd/tmpfiles.nix, of 23.11
//! (where `linger` came) and later.

use crate::{
    args::{Args, State},
    observed::{Observed, Shape},
    step::SHARED,
};
use idmap::SubRange;
use std::fmt::Write;

/// What `autoSubUidGidRange` gives.
const AUTO_COUNT: i64 = 65_536;

/// What the configuration has to say and does not, or says and should not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    pub what: Vec<String>,
    /// To add to the configuration; empty where lines have to go.
    pub lines: String,
}

/// `None` where all is as wished.
pub fn missing(args: &Args, observed: &Observed) -> Option<Missing> {
    let missing = match args.state {
        State::Present => wished(args, observed),
        State::Absent => unwished(args, observed),
    };
    (!missing.what.is_empty()).then_some(missing)
}

fn unwished(args: &Args, observed: &Observed) -> Missing {
    let what = observed.account.as_ref().map(|_| {
        format!(
            "the account {} is there; take users.users.\"{0}\" and users.groups.\"{0}\" out of the configuration",
            args.name
        )
    });
    Missing {
        what: what.into_iter().collect(),
        lines: String::new(),
    }
}

fn wished(args: &Args, observed: &Observed) -> Missing {
    let shape = Shape::of(observed, &args.secrets_dir());
    let undeclared = (observed.nixos.as_ref()).is_some_and(|nixos| nixos.declared == Some(false));
    let mut wishes = Wishes {
        args,
        observed,
        shape: shape.filter(|_| !undeclared),
        what: vec![],
        user: vec![],
    };
    wishes.account();
    wishes.traits();
    wishes.rest();
    wishes.missing()
}

/// What is missing, and the options of `users.users.NAME` that add it.
struct Wishes<'w> {
    args: &'w Args,
    observed: &'w Observed,
    /// `None` where it is not declared: then all of it is missing.
    shape: Option<Shape>,
    what: Vec<String>,
    user: Vec<String>,
}

impl Wishes<'_> {
    /// Wishes for a line unless the account is so already.
    fn wish(&mut self, is_so: impl FnOnce(&Shape) -> bool, what: &str, line: String) {
        if !self.shape.as_ref().is_some_and(is_so) {
            self.what.push(what.to_owned());
            self.user.push(line);
        }
    }

    fn group(&self) -> String {
        let own = self.shape.as_ref().map(|shape| shape.traits.group.clone());
        let own = own.filter(|_| self.args.group.is_none());
        own.unwrap_or_else(|| self.args.group().to_owned())
    }

    fn account(&mut self) {
        let what = format!("the account {}", self.args.name);
        self.wish(|_| true, &what, "isSystemUser = true;".to_owned());
        let group = self.group();
        let line = format!("group = {};", quoted(&group));
        self.wish(|shape| shape.traits.group == group, "its group", line);
        if let Some(uid) = self.args.uid {
            self.wish(
                |shape| i64::from(shape.uid) == uid,
                "its uid",
                format!("uid = {uid};"),
            );
        }
        let home = self.args.home_of(self.observed.account.as_ref());
        let text = quoted(&home.to_string_lossy());
        let line = format!("home = {text}; createHome = true; homeMode = \"700\";");
        let made = self.observed.home.is_some();
        self.wish(|shape| made && shape.traits.home == home, "its home", line);
    }

    fn traits(&mut self) {
        let Args {
            shell,
            groups,
            comment,
            ..
        } = self.args;
        if let Some(shell) = shell {
            let line = format!("shell = {};", quoted(&shell.to_string_lossy()));
            self.wish(|shape| shape.traits.shell == *shell, "its shell", line);
        }
        if let Some(groups) = groups {
            let list: Vec<_> = groups.iter().map(|group| quoted(group)).collect();
            let line = format!("extraGroups = [ {} ];", list.join(" "));
            let mut sorted = groups.clone();
            sorted.sort();
            self.wish(
                |shape| shape.traits.groups == sorted,
                "its further groups",
                line,
            );
        }
        if let Some(comment) = comment {
            let line = format!("description = {};", quoted(comment));
            self.wish(
                |shape| shape.traits.comment == *comment,
                "its comment",
                line,
            );
        }
    }

    fn rest(&mut self) {
        let linger = self.args.linger;
        let line = format!("linger = {linger};");
        self.wish(|shape| shape.linger == linger, "its lingering", line);
        match ranges(self.args, self.observed, self.shape.is_some()) {
            Ok(Some(line)) => self.wish(|_| false, "its subordinate ids", line),
            Ok(None) => {}
            Err(error) => self.what.push(format!("{error:#}")),
        }
    }

    fn missing(self) -> Missing {
        let Wishes { args, observed, .. } = self;
        let (group, secrets) = (self.group(), args.secrets_dir());
        let mut missing = Missing {
            lines: lines(args, observed, &group, &self.user),
            what: self.what,
        };
        let gid = observed.group(&group).map(|group| group.gid);
        let is_so = observed.secrets.is_some_and(|entry| {
            entry.is_directory && Some(entry.gid) == gid && entry.mode == SHARED
        });
        if !is_so {
            missing.what.push(format!(
                "the directory {} for its secrets",
                secrets.display()
            ));
            let rule = quoted(&format!(
                "d {} {SHARED:04o} root {group} -",
                secrets.display()
            ));
            // Writing to a string cannot fail.
            let _ = writeln!(missing.lines, "systemd.tmpfiles.rules = [ {rule} ];");
        }
        missing
    }
}

/// The line that gives it subordinate ids, unless it is declared and has them: a switch takes the others away.
///
/// # Errors
/// When somebody else has some of those, as NixOS before 25.05 could hand them out (NixOS/nixpkgs#259588).
fn ranges(args: &Args, observed: &Observed, declared: bool) -> anyhow::Result<Option<String>> {
    let uid = observed.account.as_ref().map(|account| account.uid);
    let taken = observed.taken(&[]);
    let files = observed.files(&args.name, uid, &taken);
    let own = observed.ranges(&args.name, uid);
    let fresh = own.iter().all(Vec::is_empty);
    if fresh && args.subid_start.is_none() && args.subid_count == AUTO_COUNT {
        return Ok(Some("autoSubUidGidRange = true;".to_owned()));
    }
    let chosen = files.choose(own, args.subid_start, args.subid_count)?;
    let count = |ranges: &[SubRange]| {
        ranges
            .iter()
            .map(|range| i64::from(range.count))
            .sum::<i64>()
    };
    let enough = count(&chosen.uids).min(count(&chosen.gids)) >= args.subid_count;
    anyhow::ensure!(
        enough,
        "{} has fewer subordinate ids than subid_count={}",
        args.name,
        args.subid_count
    );
    if chosen.add.is_empty() && declared {
        return Ok(None);
    }
    let list = |kind: &str, ranges: &[SubRange]| {
        let one = |range: &SubRange| {
            format!(
                "{{ start{kind} = {}; count = {}; }}",
                range.start, range.count
            )
        };
        let all: Vec<_> = ranges.iter().map(one).collect();
        format!("sub{kind}Ranges = [ {} ];", all.join(" "))
    };
    Ok(Some(format!(
        "{} {}",
        list("Uid", &chosen.uids),
        list("Gid", &chosen.gids)
    )))
}

/// The options as an attribute set's content; quoted, for a name may be a keyword.
fn lines(args: &Args, observed: &Observed, group: &str, user: &[String]) -> String {
    let mut text = String::new();
    let undeclared = observed.group(group).is_none();
    // Writing to a string cannot fail.
    if undeclared {
        let gid = args
            .gid
            .map(|gid| format!("gid = {gid}; "))
            .unwrap_or_default();
        let _ = writeln!(text, "users.groups.{} = {{ {gid}}};", quoted(group));
    }
    if !user.is_empty() {
        let _ = writeln!(text, "users.users.{} = {{", quoted(&args.name));
        for line in user {
            let _ = writeln!(text, "  {line}");
        }
        let _ = writeln!(text, "}};");
    }
    text
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace("${", "\\${"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        observed::NixOs,
        samples::{args, host, made},
    };
    use serde_json::json;

    fn on(observed: Observed, declared: Option<bool>) -> Observed {
        Observed {
            nixos: Some(NixOs { declared }),
            tmpfiles_line: None,
            ..observed
        }
    }

    fn lines_for(wish: serde_json::Value, observed: &Observed) -> String {
        missing(&args(wish), observed)
            .map(|missing| missing.lines)
            .unwrap_or_default()
    }

    #[test]
    fn a_new_account_is_declared_whole() {
        let lines = lines_for(json!({}), &on(host(), Some(false)));
        let expected = "users.groups.\"web\" = { };\nusers.users.\"web\" = {\n  isSystemUser = true;\n  \
            group = \"web\";\n  home = \"/var/lib/containers/web\"; createHome = true; homeMode = \"700\";\n  \
            linger = true;\n  autoSubUidGidRange = true;\n};\n\
            systemd.tmpfiles.rules = [ \"d /run/secrets-web 0750 root web -\" ];\n";
        assert_eq!(lines, expected);
    }

    #[test]
    fn of_a_declared_one_only_what_is_missing() {
        let observed = on(made(), Some(true));
        assert_eq!(missing(&args(json!({})), &observed), None);
        // Without a list nobody knows better.
        assert_eq!(missing(&args(json!({})), &on(made(), None)), None);
        let said = lines_for(
            json!({"comment": "a \"${b}\\", "groups": ["podman"], "linger": false}),
            &observed,
        );
        assert!(said.contains(r#"description = "a \"\${b}\\";"#), "{said}");
        assert!(
            said.contains("extraGroups = [ \"podman\" ];") && said.contains("linger = false;"),
            "{said}"
        );
        assert!(
            !said.contains("isSystemUser") && !said.contains("Range"),
            "{said}"
        );
    }

    #[test]
    fn one_that_somebody_made_by_hand_has_to_be_declared() {
        let said = lines_for(json!({}), &on(made(), Some(false)));
        assert!(
            said.contains("isSystemUser") && said.contains("startUid = 165536; count = 65536;"),
            "{said}"
        );
    }

    #[test]
    fn ranges_are_automatic_where_that_gives_what_is_asked_for() {
        let observed = on(host(), Some(false));
        let said = lines_for(json!({"subid_count": 70_000}), &observed);
        assert!(
            said.contains("subGidRanges = [ { startGid = 165536; count = 70000; } ];"),
            "{said}"
        );
        let mut shared = on(made(), Some(true));
        shared.subgid = idmap::subid::Subids::parse(b"ann:165600:1\nweb:165536:65536\n");
        let found = missing(&args(json!({})), &shared).unwrap();
        assert!(
            found.what[0].contains("of ann") && found.lines.is_empty(),
            "{found:?}"
        );
    }

    #[test]
    fn what_shall_go_has_to_be_taken_out() {
        let wish = args(json!({"state": "absent"}));
        assert_eq!(missing(&wish, &on(host(), Some(false))), None);
        let found = missing(&wish, &on(made(), Some(true))).unwrap();
        assert!(found.what[0].contains("users.users.\"web\"") && found.lines.is_empty());
    }
}
