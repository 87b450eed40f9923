//! From what is asked and what is there to what is done, or why not. Pure.

use super::{
    observe::{Ancestor, Shown, Source},
    record::Record,
};
use crate::args::{Engine, Side};
use anyhow::{Result, anyhow, bail, ensure};
use idmap::IdMaps;
use rechown::{Owner, idmapped};
use std::path::Path;

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

/// Refuses places that cannot be mounted on beside the tree.
pub fn check_place(path: &Path, place: &Path, is_mount: bool) -> Result<()> {
    let (shown, on) = (path.display(), place.display());
    if path == place {
        return Ok(());
    }
    ensure!(
        !path.starts_with(place) && !place.starts_with(path),
        "mount_at: one of {shown} and {on} lies in the other"
    );
    ensure!(!is_mount, "mount_at: something is mounted on {on} already");
    Ok(())
}

/// Refuses trees that would not be shown right.
pub fn check_source(wanted: &Record, source: &Source, keep_unmapped: bool) -> Result<()> {
    let path = wanted.path.display();
    ensure!(
        !source.is_idmapped,
        "{path} is on an idmapped mount already, which is none of ours"
    );
    if let Some(point) = source.mounts.first() {
        bail!(
            "{} is mounted inside {path} and would not be seen; mount a tree of one file system at a time",
            point.display()
        );
    }
    let Some(Owner { uid, gid }) = source.owner else {
        return Ok(());
    };
    for (kind, id, map) in [
        ("uid", uid, &wanted.maps.uid),
        ("gid", gid, &wanted.maps.gid),
    ] {
        if map.to_host(id).is_some() {
            continue;
        }
        ensure!(
            map.to_container(id).is_none(),
            "{path} has the {kind} {id} on disk, which the map yields: the tree is shifted already \
             (or new and empty: chown it to what it shall have on disk)"
        );
        ensure!(
            keep_unmapped,
            "{path} has the {kind} {id} on disk, which the map does not cover: it would be seen as nobody's"
        );
    }
    Ok(())
}

/// Refuses trees that local users can reach on disk. Through the mount a container's root owns files of root's:
/// a set-user-id program that it makes is only harmless there, where such programs are without effect.
pub fn check_exposure(wanted: &Record, ancestors: &[Ancestor]) -> Result<()> {
    // Its own ids are no local user's; and while containers run, the mount hides the tree from them.
    let of_containers =
        |gid| wanted.is_over_itself() && wanted.maps.gid.to_container(gid).is_some();
    let keeps_out = |above: &Ancestor| {
        let group_is_safe = above.mode & 0o010 == 0
            || (!above.has_acl && (above.gid == 0 || of_containers(above.gid)));
        above.uid == 0 && above.mode & 0o001 == 0 && group_is_safe
    };
    ensure!(
        ancestors.iter().any(keeps_out),
        "local users can reach {} on disk, where a container's root can leave set-user-id programs of the \
         host's root: put it below a directory that only root may enter (chmod 0700), or insist with \
         allow_exposed_path",
        wanted.path.display()
    );
    Ok(())
}

/// Why the kernel does not make the mount, in words that tell the way out.
pub fn refusal(error: idmapped::Error, file_system: &str, kernel: &str) -> anyhow::Error {
    let instead = "use strategy=shift";
    match error {
        idmapped::Error::OldKernel => {
            anyhow!("{error}, and this is {kernel}: {instead}")
        }
        idmapped::Error::Unsupported(path) => {
            let path = path.display();
            match since(file_system) {
                Some(since) => anyhow!(
                    "{path} is on {file_system}, which can be idmapped from Linux {since} on, and this is \
                     {kernel}: {instead}"
                ),
                None => anyhow!("{path} is on {file_system}, which cannot be idmapped: {instead}"),
            }
        }
        error => error.into(),
    }
}

/// The kernel that was the first to idmap a file system, by mount_setattr(2).
fn since(file_system: &str) -> Option<&'static str> {
    Some(match file_system.split('.').next()? {
        "ext4" | "vfat" | "msdos" | "xfs" => "5.12",
        "btrfs" | "ntfs3" => "5.15",
        "f2fs" => "5.18",
        "erofs" => "5.19",
        "squashfs" => "6.2",
        "tmpfs" => "6.3",
        "ceph" => "6.7",
        "fuse" | "fuseblk" | "virtiofs" => "6.12 (where its program allows it)",
        _ => return None,
    })
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
