//! Whose subordinate ids are wanted, as dockerd reads it (moby's daemon/daemon_unix.go, `parseRemappedRoot`, the same
//! in 20.10, 26.1 and 29). Pure.

use crate::{observed::Ids, range};

/// What Docker calls its own account.
const DOCKREMAP: &str = "dockremap";

/// A value of `userns-remap`, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting<'s> {
    /// A login name, or a uid.
    pub user: &'s str,
    /// The name or gid of a group that dockerd wants to exist. It takes no ids from it.
    pub group: &'s str,
    /// Docker's own account, which may be made.
    pub is_default: bool,
}

impl<'s> Setting<'s> {
    /// `None` where it is none of `default`, `user`, `user:group`, `uid` and `uid:gid`.
    pub fn parse(value: &'s str) -> Option<Self> {
        let (user, group) = match value.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (value, None),
        };
        if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return None;
        }
        let is_default = user == "default";
        let user = if is_default { DOCKREMAP } else { user };
        Some(Self {
            user,
            // One of the same name or, for a uid, the same number.
            group: group.unwrap_or(user),
            is_default,
        })
    }
}

/// Why dockerd would not take the setting as it is meant.
pub fn refusals(value: &str, ids: &Ids) -> Vec<String> {
    let Some(setting) = Setting::parse(value) else {
        return vec![format!(
            "user={value} is none of default, user, user:group, uid and uid:gid"
        )];
    };
    let mut found = vec![];
    match &ids.account {
        Some(account) if account.name == "root" => found.push(format!(
            "user={value} is root, with which the engine turns remapping off; name another account"
        )),
        None if !setting.is_default => found.push(format!(
            "there is no account {}; make it first, or leave `user` at default",
            setting.user
        )),
        _ => {}
    }
    // Made together with the account.
    let comes = setting.is_default && ids.account.is_none() && setting.group == DOCKREMAP;
    if comes && ids.has_group {
        found.push(format!(
            "there is a group {DOCKREMAP}, but no account; make that too (useradd --system --gid {DOCKREMAP} \
             {DOCKREMAP}), or remove the group"
        ));
    } else if !comes && !ids.has_group {
        found.push(format!(
            "with user={value} the engine wants a group {}, and there is none; make it, or name one that is there: \
             user={}:GROUP",
            setting.group, setting.user
        ));
    }
    found.extend(range::unreadable(ids));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::ids;
    use host::accounts::Account;
    use idmap::subid::Subids;

    fn named(name: &str, uid: u32) -> Ids {
        Ids {
            name: name.to_owned(),
            account: Some(Account {
                name: name.to_owned(),
                uid,
                gid: uid,
                home: "/".into(),
                shell: "/".into(),
            }),
            has_group: true,
            ..ids()
        }
    }

    #[test]
    fn every_format_is_taken_apart() {
        let parts = |value| Setting::parse(value).map(|setting| (setting.user, setting.group));
        assert_eq!(parts("default"), Some(("dockremap", "dockremap")));
        assert_eq!(parts("default:staff"), Some(("dockremap", "staff")));
        assert_eq!(parts("alice"), Some(("alice", "alice")));
        assert_eq!(parts("alice:staff"), Some(("alice", "staff")));
        assert_eq!(parts("1000"), Some(("1000", "1000")));
        assert_eq!(parts("1000:50"), Some(("1000", "50")));
        for bad in ["", ":", "alice:", ":staff", "a:b:c"] {
            assert_eq!(parts(bad), None, "{bad}");
            assert!(refusals(bad, &named("alice", 1000))[0].contains("uid:gid"));
        }
    }

    #[test]
    fn an_account_and_its_group_have_to_be_there_or_to_come() {
        assert_eq!(refusals("alice", &named("alice", 1000)), [""; 0]);
        assert_eq!(refusals("default", &ids()), [""; 0]);
        let said = |value, ids: &Ids| refusals(value, ids).join("\n");
        let nobody = Ids {
            name: "carol".to_owned(),
            ..ids()
        };
        let found = said("carol", &nobody);
        assert!(found.contains("no account carol"), "{found}");
        let alone = Ids {
            has_group: false,
            ..named("alice", 1000)
        };
        assert!(
            said("1000", &alone).contains("a group 1000")
                && said("alice", &alone).contains("a group alice")
        );
        assert!(said("alice:staff", &alone).contains("a group staff"));
        assert!(said("default:staff", &ids()).contains("a group staff"));
        let left_over = Ids {
            has_group: true,
            ..ids()
        };
        assert!(said("default", &left_over).contains("a group dockremap, but no account"));
    }

    #[test]
    fn root_is_refused_under_every_name() {
        for value in ["root", "0", "root:staff", "0:0"] {
            let said = refusals(value, &named("root", 0));
            assert!(said[0].contains("turns remapping off"), "{said:?}");
        }
    }

    #[test]
    fn a_line_that_stops_older_engines_is_refused() {
        let torn = Ids {
            subgid: Subids::parse(b"alice:100000:65536\nbob:1:2:3\n"),
            ..named("alice", 1000)
        };
        let said = refusals("alice", &torn);
        assert!(
            said[0].contains("line 2 of /etc/subgid") && said[0].contains("bob:1:2:3"),
            "{said:?}"
        );
    }
}
