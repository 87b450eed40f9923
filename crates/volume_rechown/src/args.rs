//! What the user asks for. The only place that names options.

use ansible_module::{Kind, Opt, Spec};
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
