//! Which trees may be shown with other owners, and why not. Pure.

use super::{
    observe::{Ancestor, Source},
    record::Record,
};
use anyhow::{Result, anyhow, bail, ensure};
use rechown::{Owner, idmapped};
use std::path::Path;

/// Refuses places that cannot be mounted on beside the tree.
///
/// # Errors
/// The refusal.
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
///
/// # Errors
/// The refusal.
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
///
/// # Errors
/// The refusal, with the way out.
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

#[cfg(test)]
mod tests;
