//! One account, and what is done with its rights.

use anyhow::{Result, bail, ensure};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use std::{path::PathBuf, thread};

/// One account of passwd(5).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Home directory.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
}

impl Account {
    /// What `XDG_RUNTIME_DIR` is in its sessions, pam_systemd(8).
    #[must_use]
    pub fn runtime_directory(&self) -> PathBuf {
        runtime_directory(self.uid)
    }

    /// Runs `act` with the account's rights on files, and none of root's: where it may write, whatever names and links
    /// it put there lead nowhere else than it could go itself. What is made is its own.
    ///
    /// # Errors
    /// Those of `act`; also when it panics.
    pub fn with_its_rights<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        // They are a thread's own, setfsuid(2), and end with it.
        let done = thread::scope(|scope| {
            let acting = scope.spawn(|| {
                setfsgid(Gid::from_raw(self.gid));
                setfsuid(Uid::from_raw(self.uid));
                // The only way to learn whether it was set is to ask for another one that cannot be.
                let is = setfsuid(Uid::from_raw(u32::MAX));
                ensure!(is.as_raw() == self.uid, "cannot act as {}", self.name);
                act()
            });
            acting.join()
        });
        done.unwrap_or_else(|_| bail!("a change made as {} ended badly", self.name))
    }
}

/// What `XDG_RUNTIME_DIR` is in the sessions of the account with this uid, pam_systemd(8).
#[must_use]
pub fn runtime_directory(uid: u32) -> PathBuf {
    format!("/run/user/{uid}").into()
}

pub(crate) fn parse(text: &str) -> impl Iterator<Item = Account> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        let home = fields.nth(1).unwrap_or("/").into();
        let shell = fields.next().unwrap_or_default().into();
        Some(Account {
            name,
            uid,
            gid,
            home,
            shell,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, chown},
    };

    #[test]
    fn with_an_accounts_rights_roots_files_are_out_of_reach() {
        if !crate::process::is_root() {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let (own, roots) = (scratch.path().join("own"), scratch.path().join("roots"));
        let account = Account {
            name: "somebody".into(),
            uid: 4321,
            gid: 4322,
            home: own.clone(),
            shell: "/bin/sh".into(),
        };
        fs::write(&roots, "secret").unwrap();
        fs::set_permissions(&roots, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::create_dir(&own).unwrap();
        chown(&own, Some(4321), Some(4322)).unwrap();
        std::os::unix::fs::symlink(&roots, own.join("link")).unwrap();
        let read = |path: PathBuf| account.with_its_rights(|| Ok(fs::read(path)?));
        assert!(read(own.join("link")).is_err());
        let write = || Ok(fs::write(own.join("file"), "own")?);
        account.with_its_rights(write).unwrap();
        assert_eq!(fs::metadata(own.join("file")).unwrap().uid(), 4321);
        assert_eq!(read(own.join("file")).unwrap(), b"own");
        assert_eq!(fs::read(&roots).unwrap(), b"secret");
    }
}
