//! The host as plan sees it: what is there, and nothing of how it was found.

use crate::remains::Remains;
use host::{
    accounts::{Account, Traits},
    groups::Group,
    login_defs::SubidRules,
    subids::Files,
};
use idmap::{SubRange, subid::Subids};
use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// The host as plan sees it.
#[derive(Debug, Clone)]
pub struct Observed {
    pub nixos: Option<NixOs>,
    pub account: Option<Account>,
    /// The account's; `None` without one.
    pub traits: Option<Traits>,
    /// Every account of /etc/passwd.
    pub accounts: Vec<Account>,
    /// Every group of /etc/group.
    pub groups: Vec<Group>,
    /// Where new uids and gids come from.
    pub ids: RangeInclusive<u32>,
    /// Where new subordinate ranges come from.
    pub rules: SubidRules,
    pub subuid: Subids,
    pub subgid: Subids,
    /// What is where the home is, or is to be.
    pub home: Option<Entry>,
    /// The first directory of the home's path that is not there; the home itself, or one above it.
    pub first_missing: Option<PathBuf>,
    /// The directories above the home that are there.
    pub above_home: Vec<(PathBuf, Entry)>,
    /// Mounts on or below the home.
    pub mounts_in_home: Vec<PathBuf>,
    pub linger: bool,
    pub has_logind: bool,
    /// The program that lets nobody in.
    pub nologin: PathBuf,
    /// The wished shell can be run.
    pub has_shell: bool,
    /// The file of tmpfiles.d that keeps the secrets' directory.
    pub tmpfiles: PathBuf,
    pub tmpfiles_line: Option<String>,
    /// What is where the secrets are, or are to be.
    pub secrets: Option<Entry>,
    /// What is in there.
    pub secrets_files: Vec<PathBuf>,
    /// SELinux enforces its policy.
    pub selinux: bool,
    /// What an account leaves behind that is to be removed. `None` where it is not, or does not exist.
    pub remains: Option<Remains>,
}

/// A file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub is_directory: bool,
    pub uid: u32,
    pub gid: u32,
    /// Permissions alone.
    pub mode: u32,
}

/// What NixOS says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NixOs {
    /// Whether its configuration declares the account. `None` where it keeps no list.
    pub declared: Option<bool>,
}

impl Observed {
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The ids that accounts and groups have, and `more`.
    #[must_use]
    pub fn taken(&self, more: &[u32]) -> Vec<u32> {
        let uids = self.accounts.iter().map(|account| account.uid);
        let gids = self.groups.iter().map(|group| group.gid);
        uids.chain(gids).chain(more.iter().copied()).collect()
    }

    /// What the choice of ranges goes by.
    #[must_use]
    pub fn files<'o>(&'o self, name: &'o str, uid: Option<u32>, taken: &'o [u32]) -> Files<'o> {
        Files {
            name,
            uid,
            rules: &self.rules,
            subuid: &self.subuid,
            subgid: &self.subgid,
            taken,
        }
    }

    /// The ranges of an account, from both files, as newuidmap(1) and newgidmap(1) read them.
    #[must_use]
    pub fn ranges(&self, name: &str, uid: Option<u32>) -> [Vec<SubRange>; 2] {
        [&self.subuid, &self.subgid].map(|subids| subids.ranges_of(name, uid))
    }
}

/// An account's state, as it is or as it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub traits: Traits,
    pub linger: bool,
    /// `None` where there is no line that keeps one.
    pub secrets_dir: Option<PathBuf>,
    pub subuid: Vec<SubRange>,
    pub subgid: Vec<SubRange>,
}

impl Shape {
    /// The account that there is.
    #[must_use]
    pub fn of(observed: &Observed, secrets_dir: &Path) -> Option<Shape> {
        let (account, traits) = (observed.account.as_ref()?, observed.traits.as_ref()?);
        let [subuid, subgid] = observed.ranges(&account.name, Some(account.uid));
        let kept = observed.tmpfiles_line.is_some() || observed.nixos.is_some();
        let kept = kept && observed.secrets.is_some();
        Some(Shape {
            name: account.name.clone(),
            uid: account.uid,
            gid: account.gid,
            traits: traits.clone(),
            linger: observed.linger,
            secrets_dir: kept.then(|| secrets_dir.to_owned()),
            subuid,
            subgid,
        })
    }
}
