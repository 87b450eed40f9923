//! What is there: the tree, the accounts' ids, what an earlier run left. Changes nothing.

use crate::args::{Engine, Side};
use anyhow::{Context, Result, bail};
use host::accounts::{self, Account, Kind};
use idmap::SubRange;
use rechown::Record;
use std::{
    fs,
    path::{Path, PathBuf},
};
use trees::records::record_of;

/// Docker's own account under `userns-remap: default`.
const DOCKREMAP: &str = "dockremap";

/// The ids behind a [`Side`], as read from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// No user namespace.
    Host,
    /// A remapped engine's ranges.
    Docker {
        uids: Vec<SubRange>,
        gids: Vec<SubRange>,
    },
    /// An account that runs rootless containers, and its ranges.
    Podman {
        account: Account,
        uids: Vec<SubRange>,
        gids: Vec<SubRange>,
    },
}

/// The tree and its record.
#[derive(Debug)]
pub struct Tree {
    /// Absolute, without symbolic links.
    pub path: PathBuf,
    pub journal: PathBuf,
    pub record: Option<Record>,
}

pub fn ids(side: &Side) -> Result<Ids> {
    let name = match (side.engine, &side.user) {
        (Engine::Host, _) => return Ok(Ids::Host),
        (Engine::Docker, None) => DOCKREMAP,
        (Engine::Podman, None) => bail!("user is required when engine is podman"),
        (_, Some(name)) => name,
    };
    let account = accounts::find(name)?.with_context(|| format!("there is no account {name}"))?;
    // Docker asks for the name only; newuidmap also for the number.
    let uid = (side.engine == Engine::Podman).then_some(account.uid);
    let ranges = |kind: Kind| {
        let ranges = accounts::subids(kind)?.ranges_of(&account.name, uid);
        if ranges.is_empty() {
            bail!("{} has no range in {}", account.name, kind.path());
        }
        Ok(ranges)
    };
    let (uids, gids) = (ranges(Kind::Uid)?, ranges(Kind::Gid)?);
    Ok(match side.engine {
        Engine::Podman => Ids::Podman {
            account,
            uids,
            gids,
        },
        _ => Ids::Docker { uids, gids },
    })
}

/// `state` is the directory with the records.
pub fn tree(path: &Path, state: &Path) -> Result<Tree> {
    let context = || format!("cannot shift {}", path.display());
    let meta = fs::symlink_metadata(path).with_context(context)?;
    if !meta.is_dir() {
        bail!("{} is not a directory", path.display());
    }
    let path = fs::canonicalize(path).with_context(context)?;
    let journal = record_of(&path, state);
    let record = rechown::recorded(&journal)?;
    Ok(Tree {
        path,
        journal,
        record,
    })
}

/// A tree that is gone, of which there may still be records.
pub fn gone(path: &Path, state: &Path) -> Tree {
    Tree {
        path: path.to_owned(),
        journal: record_of(path, state),
        record: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podman_without_an_account_is_an_error() {
        let side = Side {
            engine: Engine::Podman,
            user: None,
        };
        assert!(ids(&side).is_err());
        let side = Side {
            engine: Engine::Host,
            user: None,
        };
        assert_eq!(ids(&side).unwrap(), Ids::Host);
    }
}
