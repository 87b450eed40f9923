//! What the user asks for. The only place that names options.

use ansible_module::{Kind, Opt, Spec};
use rechown::{Immutable, OutsideLinks, Policy, Strays, Unknown};
use serde::Deserialize;
use std::path::PathBuf;

/// The options, as plan and apply see them.
#[derive(Debug, Clone, Deserialize)]
pub struct Args {
    pub path: PathBuf,
    pub map: Option<Vec<String>>,
    pub from: Option<Side>,
    pub to: Option<Side>,
    pub state: State,
    pub strategy: Strategy,
    pub mount_at: Option<PathBuf>,
    pub services: Option<Vec<String>>,
    pub unmapped: OrKeep,
    pub immutable: OrLift,
    pub outside_links: OrKeep,
    pub allow_dangerous_path: bool,
    pub allow_exposed_path: bool,
    pub verify: Verify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrKeep {
    Fail,
    Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrLift {
    Fail,
    Lift,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    Full,
    Root,
}

/// Whose ids a tree has, or shall have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Side {
    pub engine: Engine,
    pub user: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    Docker,
    Podman,
    Host,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Shifted,
    Verified,
    Restored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    Shift,
    Idmap,
}

impl Args {
    /// What the engine is allowed.
    pub fn policy(&self) -> Policy {
        Policy {
            unmapped: match self.unmapped {
                OrKeep::Fail => Unknown::Refuse,
                OrKeep::Keep => Unknown::Keep,
            },
            immutable: match self.immutable {
                OrLift::Fail => Immutable::Refuse,
                OrLift::Lift => Immutable::Lift,
            },
            outside_links: match self.outside_links {
                OrKeep::Fail => OutsideLinks::Refuse,
                OrKeep::Keep => OutsideLinks::Keep,
            },
            strays: Strays::Refuse,
        }
    }
}

pub fn spec() -> Spec {
    Spec::new("volume_rechown")
        .about("Translate the owners of a directory tree by an id map, and take it back")
        .option(
            Opt::path("path")
                .required()
                .help("The directory whose tree is shifted, itself included"),
        )
        .option(
            Opt::list("map", Kind::Str)
                .help("Extents [u:|g:|b:]FROM:TO:SIZE of ids before and after"),
        )
        .option(
            Opt::dict("from")
                .suboptions(side())
                .help("Whose ids the tree has now"),
        )
        .option(
            Opt::dict("to")
                .suboptions(side())
                .help("Whose ids the tree shall have"),
        )
        .option(
            Opt::str("state")
                .choices(["shifted", "verified", "restored"])
                .default("shifted")
                .help("Shift, only look whether all is shifted, or take the last shift back"),
        )
        .option(
            Opt::str("strategy")
                .choices(["shift", "idmap"])
                .default("shift")
                .help("Change the owners on disk, or mount the tree so that it shows them changed"),
        )
        .option(
            Opt::path("mount_at")
                .help("With idmap, the directory that shows the tree; path itself if unset"),
        )
        .option(
            Opt::list("services", Kind::Str)
                .help("With idmap, units that must not start without the mount; docker.service if unset and to is docker"),
        )
        .option(
            Opt::str("unmapped")
                .choices(["fail", "keep"])
                .default("fail")
                .help("Fail on ids that the map does not cover, or leave them as they are"),
        )
        .option(
            Opt::str("immutable")
                .choices(["fail", "lift"])
                .default("fail")
                .help("Fail on immutable and append-only entries, or lift the flag for the change"),
        )
        .option(
            Opt::str("outside_links")
                .choices(["fail", "keep"])
                .default("fail")
                .help("Fail on files with hard links from outside the tree, or leave them as they are"),
        )
        .option(
            Opt::bool("allow_dangerous_path")
                .default(false)
                .help("Shift even a directory of the system, or somebody's home"),
        )
        .option(
            Opt::bool("allow_exposed_path")
                .default(false)
                .help("With idmap, take even a tree that is in reach of local users on disk"),
        )
        .option(
            Opt::str("verify")
                .choices(["full", "root"])
                .default("full")
                .help("Look at every entry, or trust the record of a shift whose root is the same"),
        )
        .mutually_exclusive(&["map", "from"])
        .mutually_exclusive(&["map", "to"])
        .required_together(&["from", "to"])
        .required_if("state", "shifted", &["map", "from"], true)
        .required_if("state", "verified", &["map", "from"], true)
        .supports_check_mode()
}

fn side() -> Spec {
    Spec::suboptions()
        .option(
            Opt::str("engine")
                .required()
                .choices(["docker", "podman", "host"])
                .help("A remapped Docker engine, rootless Podman, or no user namespace at all"),
        )
        .option(
            Opt::str("user").help(
                "The account whose subordinate ids are meant; with docker, dockremap if unset",
            ),
        )
}
