//! From what is asked and what is there to what is done, or why not. Pure.

use crate::args::{Engine, Side};
use anyhow::{Result, anyhow, bail};
use idmap::IdMaps;
use trees::idmapped::{Record, Shown};

/// What is required by the service of a Docker engine.
const DOCKER: &str = "docker.service";

/// What will be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// All is as it shall be.
    Nothing,
    /// Mount the tree, or put right what is not as it shall be: for these reasons.
    Show(Vec<&'static str>),
    /// Unmount it, and take away what would mount it again.
    Hide,
}

/// What of a mount is as it shall be.
#[derive(Debug)]
pub struct Found {
    pub record: Option<Record>,
    /// Whether the recorded mount is there.
    pub shown: Shown,
    /// Whether the unit of the wanted one is.
    pub is_installed: bool,
}

/// The units that need the mount.
pub fn services(asked: Option<&Vec<String>>, to: Option<&Side>) -> Result<Vec<String>> {
    let of_engine = || match to {
        Some(side) if side.engine == Engine::Docker => vec![DOCKER.to_owned()],
        _ => vec![],
    };
    let services = asked.cloned().unwrap_or_else(of_engine);
    let is_unit = |name: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        name.contains('.') && !name.starts_with('.') && name.bytes().all(letter)
    };
    if let Some(odd) = services.iter().find(|name| !is_unit(name)) {
        bail!("services: {odd:?} is no name of a systemd unit, such as {DOCKER}");
    }
    Ok(services)
}

/// What makes a state of the wanted mount; nothing where it is as it shall be.
pub fn show(wanted: &Record, found: &Found) -> Result<Plan> {
    let mut reasons = vec![];
    match (&found.record, &found.shown) {
        (Some(record), Shown::Otherwise) => return Err(otherwise(record)),
        (Some(record), _) if !record.shows_as(wanted) => {
            reasons.push("it is recorded with another map or place");
        }
        (Some(_), Shown::Yes) => {}
        _ => reasons.push("it is not mounted"),
    }
    if reasons.is_empty() && !found.is_installed {
        reasons.push("its unit is not in place, or not active");
    }
    Ok(match reasons.is_empty() {
        true => Plan::Nothing,
        false => Plan::Show(reasons),
    })
}

pub fn hide(found: &Found) -> Result<Plan> {
    match (&found.record, &found.shown) {
        (None, _) => Ok(Plan::Nothing),
        (Some(record), Shown::Otherwise) => Err(otherwise(record)),
        (Some(_), _) => Ok(Plan::Hide),
    }
}

fn otherwise(record: &Record) -> anyhow::Error {
    anyhow!(
        "what is mounted on {} does not show what was recorded of it: unmount it, then run again",
        record.mount_at.display()
    )
}

/// The ids that a map takes and those it yields, an extent a line.
pub fn describe(maps: &IdMaps) -> String {
    [("uid", &maps.uid), ("gid", &maps.gid)]
        .into_iter()
        .flat_map(|(kind, map)| {
            let line = move |extent: &idmap::Extent| {
                let last = |first: u32| first + (extent.size - 1);
                format!(
                    "{kind} {}-{} seen as {}-{}\n",
                    extent.container,
                    last(extent.container),
                    extent.host,
                    last(extent.host)
                )
            };
            map.extents().iter().map(line)
        })
        .collect()
}

#[cfg(test)]
mod tests;
