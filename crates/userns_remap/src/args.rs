//! What the user asks for. The only place that names options.

use ansible_module::{Kind, Opt, Spec};
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;

/// The options, as plan and apply see them.
#[derive(Debug, Clone, Deserialize)]
pub struct Args {
    pub state: State,
    pub user: String,
    pub subid_start: Option<i64>,
    pub subid_count: i64,
    pub carry_over: CarryOver,
    /// Names of containers.
    pub host_mode: Vec<String>,
    /// Directories.
    pub compose_projects: Vec<PathBuf>,
    /// Names of containers that their stop may delete.
    pub allow_loss: Vec<String>,
    pub masked_data: MaskedData,
    pub compat_links: bool,
    pub config_file: PathBuf,
    pub backup: bool,
    /// Seconds.
    pub timeout: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Enabled,
    Disabled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CarryOver {
    InPlace,
    None,
}

/// What is done with the data of an earlier attempt, which is out of the engine's sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskedData {
    Refuse,
    Adopt,
    SetAside,
}

pub fn spec() -> Spec {
    let spec = Spec::new("userns_remap")
        .about("Turn Docker's user namespaces on or off on a live host, and carry everything over");
    whose(spec)
        .option(
            Opt::str("state")
                .choices(["enabled", "disabled"])
                .default("enabled")
                .help("Whether containers run in a user namespace of their own"),
        )
        .option(
            Opt::str("carry_over")
                .choices(["in_place", "none"])
                .default("in_place")
                .help("Take images, containers, volumes and networks along, or leave them behind"),
        )
        .option(
            Opt::list("host_mode", Kind::Str)
                .default(Value::Array(vec![]))
                .help("Containers that are set to stay in the host's user namespace, without being made anew"),
        )
        .option(
            Opt::list("compose_projects", Kind::Path)
                .default(Value::Array(vec![]))
                .help("Directories of compose projects whose override files set what needs it to the host's user namespace"),
        )
        .option(
            Opt::list("allow_loss", Kind::Str)
                .default(Value::Array(vec![]))
                .help("Containers run with --rm that the stop may delete"),
        )
        .option(
            Opt::str("masked_data")
                .choices(["refuse", "adopt", "set_aside"])
                .default("refuse")
                .help("What is done with the data of an earlier attempt at remapping"),
        )
        .option(
            Opt::bool("compat_links")
                .default(false)
                .help("Make links at the old places that something on the host names"),
        )
        .option(
            Opt::bool("backup")
                .default(false)
                .help("Keep a dated copy of the configuration file"),
        )
        .option(Opt::int("timeout").default(120).help(
            "Seconds for the engine, and for each container, to come up before all is taken back",
        ))
        .supports_check_mode()
}

/// Whose ids containers get, and where the engine reads it.
pub fn whose(spec: Spec) -> Spec {
    spec.option(
        Opt::str("user")
            .default("default")
            .help("Whose subordinate ids are used; `default` is the account dockremap"),
    )
    .option(
        Opt::int("subid_start")
            .help("First host id; unset: what the account has, else the lowest free range"),
    )
    .option(
        Opt::int("subid_count")
            .default(65536)
            .help("How many ids to allocate"),
    )
    .option(
        Opt::path("config_file")
            .default("/etc/docker/daemon.json")
            .help("The engine's configuration file"),
    )
}
