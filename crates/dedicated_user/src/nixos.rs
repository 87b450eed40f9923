//! NixOS, where the system's configuration declares accounts and nothing else may make them: what it lacks, and the
//! lines that add it. Pure.
//!
//! Options are those of nixpkgs' nixos/modules/config/users-groups.nix and system/boot/systemd/tmpfiles.nix, of 23.11
//! (where `linger` came) and later.

use crate::{
    args::{Args, State},
    observed::{Observed, Shape},
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
    let mut missing = Missing::default();
    let mut user = vec![];
    let shape = Shape::of(observed, &args.secrets_dir());
    let shape = shape.as_ref();
    let is_new = shape.is_none()
        || observed
            .nixos
            .as_ref()
            .is_some_and(|nixos| nixos.declared == Some(false));
    let mut wish = |wanted: bool, what: String, line: String| {
        if wanted {
            missing.what.push(what);
            user.push(line);
        }
    };
    let traits = shape.map(|shape| &shape.traits);
    let group = traits.map_or(args.group(), |traits| &traits.group);
    let group = args.group.as_deref().unwrap_or(group);
    wish(
        is_new,
        format!("the account {}", args.name),
        "isSystemUser = true;".to_owned(),
    );
    let other_group = traits.is_none_or(|traits| traits.group != group);
    wish(
        is_new || other_group,
        format!("its group {group}"),
        format!("group = {};", quoted(group)),
    );
    if let Some(uid) = args.uid {
        let other = shape.is_none_or(|shape| i64::from(shape.uid) != uid);
        wish(
            is_new || other,
            format!("its uid {uid}"),
            format!("uid = {uid};"),
        );
    }
    let home = args.home_of(observed.account.as_ref());
    let other_home = traits.is_none_or(|traits| traits.home != home);
    let home = home.to_string_lossy();
    wish(
        is_new || other_home || observed.home.is_none(),
        format!("its home {home}"),
        format!(
            "home = {}; createHome = true; homeMode = \"700\";",
            quoted(&home)
        ),
    );
    if let Some(shell) = &args.shell {
        let other = traits.is_none_or(|traits| traits.shell != *shell);
        let text = shell.to_string_lossy();
        wish(
            is_new || other,
            format!("its shell {text}"),
            format!("shell = {};", quoted(&text)),
        );
    }
    if let Some(groups) = &args.groups {
        let mut sorted = groups.clone();
        sorted.sort();
        let other = traits.is_none_or(|traits| traits.groups != sorted);
        let list: Vec<_> = groups.iter().map(|group| quoted(group)).collect();
        let line = format!("extraGroups = [ {} ];", list.join(" "));
        wish(
            (is_new || other) && (!groups.is_empty() || !is_new),
            "its further groups".to_owned(),
            line,
        );
    }
    if let Some(comment) = &args.comment {
        let other = traits.is_none_or(|traits| traits.comment != *comment);
        wish(
            is_new || other,
            "its comment".to_owned(),
            format!("description = {};", quoted(comment)),
        );
    }
    if is_new && args.linger || shape.is_some_and(|shape| shape.linger != args.linger) {
        let word = if args.linger {
            "its lingering"
        } else {
            "the end of its lingering"
        };
        wish(true, word.to_owned(), format!("linger = {};", args.linger));
    }
    match ranges(args, observed) {
        Ok(Some(line)) => wish(true, "its subordinate ids".to_owned(), line),
        Ok(None) => {}
        Err(error) => missing.what.push(format!("{error:#}")),
    }
    missing.lines = lines(args, observed, group, &user);
    let secrets = args.secrets_dir();
    let gid = observed.group(group).map(|group| group.gid);
    if observed
        .secrets
        .is_none_or(|entry| !entry.is_directory || Some(entry.gid) != gid || entry.mode != 0o750)
    {
        missing.what.push(format!(
            "the directory {} for its secrets",
            secrets.display()
        ));
        let rule = quoted(&format!("d {} 0750 root {group} -", secrets.display()));
        // Writing to a string cannot fail.
        let _ = writeln!(missing.lines, "systemd.tmpfiles.rules = [ {rule} ];");
    }
    missing
}

/// The line that gives it subordinate ids, unless it has them.
///
/// # Errors
/// When somebody else has some of those, as NixOS before 25.05 could hand them out (NixOS/nixpkgs#259588).
fn ranges(args: &Args, observed: &Observed) -> anyhow::Result<Option<String>> {
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
    if chosen.add.is_empty() {
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
