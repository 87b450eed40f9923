//! What the user asks for. The only place that names options.

mod wish;

use ansible_module::{Kind, Opt, Spec};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf};

pub use wish::{How, OrKeep, Others, Wish};

/// The options, as plan and apply see them.
#[derive(Debug, Clone, Deserialize)]
pub struct Args {
    pub state: State,
    pub user: String,
    pub subid_start: Option<i64>,
    pub subid_count: Option<i64>,
    pub carry_over: CarryOver,
    pub discard_new_data: bool,
    /// Names of containers.
    pub host_mode: Vec<String>,
    /// Directories.
    pub compose_projects: Vec<PathBuf>,
    /// By path, or by a volume's name or device.
    #[serde(deserialize_with = "wish::by_path")]
    pub bind_mounts: BTreeMap<String, Wish>,
    pub other_bind_mounts: Others,
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
    Copy,
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
                .choices(["in_place", "copy", "none"])
                .default("in_place")
                .help("Take images, containers, volumes and networks along, or leave them behind"),
        )
        .option(
            Opt::bool("discard_new_data")
                .default(false)
                .help("With disabled: fall back to the root that carry_over=copy kept, and lose all that came since"),
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
            Opt::dict("bind_mounts")
                .default(json!({}))
                .help("How each bind mount is prepared: shift, idmap, leave or auto, by path"),
        )
        .option(
            Opt::str("other_bind_mounts")
                .choices(["warn", "refuse", "auto"])
                .default("warn")
                .help("What becomes of bind mounts that are not named and need to be prepared"),
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
            .help("How many ids to allocate; unset: as login.defs says, but at least 65536"),
    )
    .option(
        Opt::path("config_file")
            .default("/etc/docker/daemon.json")
            .help("The engine's configuration file"),
    )
}
