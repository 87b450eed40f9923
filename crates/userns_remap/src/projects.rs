//! The compose projects that the operator names. Reads, and changes nothing.

use crate::workload::Workload;
use anyhow::{Context, Result};
use host::{
    compose::{self, Project},
    files,
};
use std::path::{Path, PathBuf};

/// A compose project.
#[derive(Clone)]
pub struct ComposeProject {
    pub directory: PathBuf,
    pub services: Vec<Workload>,
    /// Its override file, there or not.
    pub path: PathBuf,
    pub text: Option<String>,
    /// Its client can take a key away in an override.
    pub knows_reset: bool,
}

/// The base files that compose looks for, in its order, and the override of each.
const COMPOSE_FILES: [(&str, &str); 4] = [
    ("compose.yaml", "compose.override.yaml"),
    ("compose.yml", "compose.override.yml"),
    ("docker-compose.yml", "docker-compose.override.yml"),
    ("docker-compose.yaml", "docker-compose.override.yaml"),
];

/// Reads a project through the host's own compose.
pub fn read(directory: &Path) -> Result<ComposeProject> {
    let project = Project {
        directory: directory.to_owned(),
        files: vec![],
    };
    let context = || {
        format!(
            "{} cannot be used as a compose project",
            directory.display()
        )
    };
    let resolved = compose::resolve(&project).with_context(context)?;
    let is_there = |name: &str| directory.join(name).exists();
    let there = COMPOSE_FILES.iter().find(|(_, name)| is_there(name));
    let of_base = || COMPOSE_FILES.iter().find(|(base, _)| is_there(base));
    let (_, path) = there.or_else(of_base).with_context(context)?;
    let path = directory.join(path);
    Ok(ComposeProject {
        services: Workload::of_project(&resolved).collect(),
        directory: directory.to_owned(),
        knows_reset: compose::knows_reset(),
        text: files::read_text_optional(&path)?,
        path,
    })
}
