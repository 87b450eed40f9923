//! What the user asks for. The only place that names options.

use ansible_module::{Failure, Kind, Opt, Spec};
use host::accounts::Account;
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Where accounts of services have their homes.
pub const HOMES: &str = "/var/lib/containers";

/// The options, as plan and apply see them.
#[derive(Debug, Clone, Deserialize)]
pub struct Args {
    pub name: String,
    pub state: State,
    pub group: Option<String>,
    pub uid: Option<i64>,
    pub gid: Option<i64>,
    pub home: Option<PathBuf>,
    pub shell: Option<PathBuf>,
    pub groups: Option<Vec<String>>,
    pub comment: Option<String>,
    pub linger: bool,
    pub subid_count: i64,
    pub subid_start: Option<i64>,
    pub secrets_dir: Option<PathBuf>,
    pub remove_home: bool,
    /// Seconds.
    pub timeout: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Present,
    Absent,
}

impl Args {
    /// The names that the user has given, and the options that have them.
    pub fn names(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let group = self.group.as_deref().map(|group| ("group", group));
        [("name", self.name.as_str())].into_iter().chain(group)
    }

    /// The primary group of a new account.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(&self.name)
    }

    /// The home of a new account.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        let usual = || Path::new(HOMES).join(&self.name);
        self.home.clone().unwrap_or_else(usual)
    }

    /// The home of the account, which keeps its own unless another is asked for.
    #[must_use]
    pub fn home_of(&self, account: Option<&Account>) -> PathBuf {
        match (account, &self.home) {
            (Some(account), None) => account.home.clone(),
            _ => self.home(),
        }
    }

    /// Where its secrets are.
    #[must_use]
    pub fn secrets_dir(&self) -> PathBuf {
        let usual = || format!("/run/secrets-{}", self.name).into();
        self.secrets_dir.clone().unwrap_or_else(usual)
    }
}

/// `timeout`, once it is known to be a time.
///
/// # Errors
/// When it is not positive.
pub fn patience(timeout: i64) -> Result<Duration, Failure> {
    match u64::try_from(timeout) {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(Failure::new("timeout must be a positive number of seconds")),
    }
}

/// The options of `dedicated_user`.
#[must_use]
pub fn spec() -> Spec {
    Spec::new("dedicated_user")
        .about("Give a service an account of its own for rootless Podman, or remove it")
        .option(Opt::str("name").required().help("The account's name"))
        .option(
            Opt::str("state")
                .choices(["present", "absent"])
                .default("present")
                .help("Make the account, or remove it"),
        )
        .option(Opt::str("group").help("Its primary group; one of the same name if unset"))
        .option(Opt::int("uid").help("Its uid; the next that is free if unset"))
        .option(Opt::int("gid").help("The gid of its primary group, where that is made"))
        .option(
            Opt::path("home")
                .help("Its home directory; /var/lib/containers/NAME if unset and it is new"),
        )
        .option(Opt::path("shell").help("Its login shell; nologin if unset and it is new"))
        .option(
            Opt::list("groups", Kind::Str)
                .help("All its further groups; podman and docker are as good as root"),
        )
        .option(Opt::str("comment").help("What the account is for"))
        .option(
            Opt::bool("linger")
                .default(true)
                .help("Whether its services start at boot, without a login"),
        )
        .option(
            Opt::int("subid_count")
                .default(65_536)
                .help("How many subordinate ids it has at least"),
        )
        .option(Opt::int("subid_start").help("The first of them; the lowest free range if unset"))
        .option(Opt::path("secrets_dir").help(
            "A directory of root's that only the account's group reads; /run/secrets-NAME if unset",
        ))
        .option(
            Opt::bool("remove_home")
                .default(false)
                .help("With state=absent, remove the home directory and all that is in it"),
        )
        .option(
            Opt::int("timeout")
                .default(300)
                .help("Seconds that state=absent may look for files of the account's"),
        )
        .supports_check_mode()
}
