//! What is there: the tree, the accounts' ids, what an earlier run left. Changes nothing.

use crate::args::{Engine, Side};
use anyhow::{Context, Result, bail};
use host::accounts::{self, Account, Kind};
use idmap::SubRange;
use rechown::Record;
use sha2::{Digest, Sha256};
use std::{
    fmt::Write,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

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

/// Everybody's home directory.
pub fn homes() -> Result<Vec<PathBuf>> {
    let bytes = fs::read("/etc/passwd").context("cannot read /etc/passwd")?;
    let text = String::from_utf8_lossy(&bytes);
    let homes = text.lines().filter_map(|line| line.split(':').nth(5));
    Ok(homes
        .filter(|home| home.starts_with('/'))
        .map(|home| fs::canonicalize(home).unwrap_or_else(|_| home.into()))
        .collect())
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

/// The file in `state` for a tree. Its name is of fixed length: a path may be longer than a name can be.
pub fn record_of(path: &Path, state: &Path) -> PathBuf {
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    let mut name = String::new();
    for byte in digest {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    state.join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_journal_of_its_own() {
        let state = Path::new("/var/lib/bulkhead/rechown");
        let one = record_of("/srv/www".as_ref(), state);
        assert_eq!(one.parent(), Some(state));
        assert_eq!(one.file_name().unwrap().len(), 64);
        assert_ne!(one, record_of("/srv/www2".as_ref(), state));
    }

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
