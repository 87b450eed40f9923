//! What the user asks for. The only place that names options.

use ansible_module::{Kind, Opt, Spec};
use anyhow::{Result, ensure};
use rechown::{Immutable, OutsideLinks, Policy, Strays, Unknown};
use serde::Deserialize;
use std::{path::PathBuf, time::Duration};

/// The options, as plan and apply see them.
#[derive(Debug, Clone, Deserialize)]
pub struct Args {
    pub name: String,
    pub from: String,
    pub to: String,
    pub state: State,
    pub units: Option<Vec<String>>,
    pub data_directories: Option<Vec<PathBuf>>,
    pub volumes: Option<Vec<String>>,
    pub secrets_from: Option<PathBuf>,
    pub secrets_to: Option<PathBuf>,
    pub keep_secrets: Switch,
    pub images: Images,
    pub unmapped: OrKeep,
    pub ports: Option<Vec<u16>>,
    pub urls: Option<Vec<String>>,
    pub health: bool,
    pub check_log: bool,
    pub timeout: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Moved,
    Returned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    Auto,
    #[serde(rename = "true")]
    On,
    #[serde(rename = "false")]
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Images {
    Save,
    Pull,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrKeep {
    Fail,
    Keep,
}

impl Args {
    /// Names of units, with or without their kind.
    pub fn units(&self) -> Vec<String> {
        match &self.units {
            Some(units) => units.clone(),
            None => vec![self.name.clone()],
        }
    }

    pub fn secrets_from(&self) -> PathBuf {
        let usual = || format!("/run/secrets-{}", self.from).into();
        self.secrets_from.clone().unwrap_or_else(usual)
    }

    pub fn secrets_to(&self) -> PathBuf {
        let usual = || format!("/run/secrets-{}", self.to).into();
        self.secrets_to.clone().unwrap_or_else(usual)
    }

    /// What the shift engine is allowed.
    pub fn policy(&self) -> Policy {
        Policy {
            unmapped: match self.unmapped {
                OrKeep::Fail => Unknown::Refuse,
                OrKeep::Keep => Unknown::Keep,
            },
            immutable: Immutable::Refuse,
            outside_links: OutsideLinks::Refuse,
            strays: Strays::Refuse,
        }
    }

    /// How long the service may take to come up.
    pub fn timeout(&self) -> Result<Duration> {
        let seconds = u64::try_from(self.timeout).unwrap_or(0);
        ensure!(seconds > 0, "timeout must be a positive number of seconds");
        Ok(Duration::from_secs(seconds))
    }

    /// What no type says.
    pub fn check(&self) -> Result<()> {
        ensure!(self.from != self.to, "from and to are the same account");
        // It is part of file names.
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.@".contains(letter);
        ensure!(
            !self.name.is_empty() && self.name.chars().all(fits) && !self.name.starts_with('.'),
            "name may have letters, digits and any of -_.@"
        );
        let absolute = [&self.secrets_from, &self.secrets_to];
        let mut absolute = absolute.into_iter().flatten();
        let mut data = self.data_directories.iter().flatten();
        ensure!(
            absolute.all(|path| path.is_absolute()) && data.all(|path| path.is_absolute()),
            "paths have to be absolute"
        );
        Ok(())
    }
}

pub fn spec() -> Spec {
    Spec::new("podman_service")
        .about("Move a rootless Podman service from one account to another, whole or not at all")
        .option(Opt::str("name").required().help("The service"))
        .option(
            Opt::str("from")
                .required()
                .help("The account that it runs as before it is moved"),
        )
        .option(
            Opt::str("to")
                .required()
                .help("The account that it shall run as, made by dedicated_user"),
        )
        .option(
            Opt::str("state")
                .choices(["moved", "returned"])
                .default("moved")
                .help("Move it, or take it back with what was written since"),
        )
        .option(
            Opt::list("units", Kind::Str)
                .help("Its units, as `litellm` or `litellm.container`; its name if unset"),
        )
        .option(
            Opt::list("data_directories", Kind::Path)
                .help("Its trees beside those that its containers mount and its account owns"),
        )
        .option(
            Opt::list("volumes", Kind::Str)
                .help("Its named volumes beside those that its containers mount"),
        )
        .option(
            Opt::path("secrets_from")
                .help("The directory of the old account's secrets; /run/secrets-FROM if unset"),
        )
        .option(
            Opt::path("secrets_to")
                .help("The directory of the new account's secrets; /run/secrets-TO if unset"),
        )
        .option(
            Opt::str("keep_secrets")
                .choices(["auto", "true", "false"])
                .default("auto")
                .help("Keep a copy that brings the secrets back at every boot; auto: not on NixOS"),
        )
        .option(
            Opt::str("images")
                .choices(["save", "pull"])
                .default("save")
                .help("Carry the images over, or pull those that have a registry"),
        )
        .option(
            Opt::str("unmapped")
                .choices(["fail", "keep"])
                .default("fail")
                .help("Fail on ids that are not the old account's, or leave them as they are"),
        )
        .option(
            Opt::list("ports", Kind::Int).help("TCP ports that have to answer on 127.0.0.1 then"),
        )
        .option(
            Opt::list("urls", Kind::Str)
                .help("http addresses that have to answer with a status below 400 then"),
        )
        .option(
            Opt::bool("health")
                .default(true)
                .help("Wait until the containers' health checks are content"),
        )
        .option(Opt::bool("check_log").default(true).help(
            "Take a complaint of permissions in the log that was not there before for a failure",
        ))
        .option(
            Opt::int("timeout")
                .default(300)
                .help("Seconds for the service to come up before all is taken back"),
        )
        .supports_check_mode()
}
