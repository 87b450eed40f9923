//! Runs the plan: the mount, its record, its unit. What fails half-way is taken back; what is killed half-way the
//! next run puts right, for the record tells at any time what is, or shall be, mounted.

use super::{
    check,
    observe::{self, Shown},
    record::Record,
    unit::Unit,
};
use anyhow::{Context, Result, bail};
use host::{mounts, user_namespace};
use rechown::idmapped::{self, View};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// What is made of the tree, without making it visible to anybody.
///
/// # Errors
/// Why the kernel does not make it, with the way out.
pub fn view(record: &Record) -> Result<View> {
    let namespace = user_namespace::with_maps(&record.maps)?;
    View::new(&record.path, &record.maps, namespace.as_fd()).map_err(|error| {
        let kind = mounts::of_path(&record.path).map(|mount| mount.kind);
        let kind = kind.unwrap_or_else(|_| "an unknown file system".to_owned());
        check::refusal(error, &kind, &observe::kernel_release())
    })
}

/// Mounts what is recorded, unless it is.
pub fn mount(record: &Record) -> Result<()> {
    if observe::shown(record)? == Shown::Yes {
        return Ok(());
    }
    Ok(view(record)?.attach(&record.mount_at)?)
}

/// Makes `new` of what is there, which is the mount of `old` where it `is_shown`.
///
/// # Errors
/// When it could not be made, or its unit does not start; the change was taken back then.
pub fn show(new: &Record, old: Option<&Record>, is_shown: bool) -> Result<()> {
    if let Some(old) = old.filter(|old| is_shown && !old.shows_as(new)) {
        unmount(old)?;
    }
    establish(new, old).map_err(|error| match go_back(new, old) {
        Ok(()) => error.context("the change was taken back"),
        Err(worse) => error.context(format!("taking it back failed too, {worse:#}")),
    })
}

/// The unit is in place before the mount is made: from then on nothing that needs it starts without it, whatever
/// becomes of this run.
fn establish(new: &Record, old: Option<&Record>) -> Result<()> {
    let (unit, old) = (Unit::of(new)?, old.map(Unit::of).transpose()?);
    new.save()?;
    unit.install(old.as_ref())?;
    mount(new)?;
    unit.start()
}

fn go_back(new: &Record, old: Option<&Record>) -> Result<()> {
    let is_shown = observe::shown(new)? == Shown::Yes;
    let Some(old) = old else {
        return hide(new, is_shown);
    };
    if is_shown && !old.shows_as(new) {
        unmount(new)?;
    }
    establish(old, Some(new))
}

/// Takes the mount away where it `is_shown`, and what would make it again. May be repeated.
///
/// # Errors
/// When it is in use, with who uses it.
pub fn hide(record: &Record, is_shown: bool) -> Result<()> {
    if is_shown {
        unmount(record)?;
    }
    Unit::of(record)?.remove()?;
    record.remove()
}

fn unmount(record: &Record) -> Result<()> {
    let place = &record.mount_at;
    let mount = observe::mounted_at(place)?.context("not mounted")?;
    match idmapped::detach(place) {
        Err(idmapped::Error::Io {
            source: Errno::BUSY,
            ..
        }) => {
            let users = observe::users(&mount)?;
            bail!("{} is in use by {}", place.display(), listed(&users))
        }
        result => Ok(result?),
    }
}

/// Refuses where something of a mount that is to go or to change is mounted in a container, or elsewhere.
///
/// # Errors
/// The refusal.
pub fn check_unused(record: &Record) -> Result<()> {
    let Some(mount) = observe::mounted_at(&record.mount_at)? else {
        return Ok(());
    };
    match observe::copies(&mount, true)?.as_slice() {
        [] => Ok(()),
        held => bail!(
            "{} is in use, mounted on {}; stop what uses it first",
            record.mount_at.display(),
            held.join(", ")
        ),
    }
}

/// Where the tree itself is mounted, by those who do not notice that it is now shown otherwise.
///
/// # Errors
/// When mounts cannot be read.
pub fn raw_copies(record: &Record) -> Result<Vec<String>> {
    observe::copies(&mounts::of_path(&record.mount_at)?, false)
}

fn listed(users: &[u32]) -> String {
    if users.is_empty() {
        return "the kernel itself (a mount below it, a loop device, an export)".to_owned();
    }
    let users: Vec<_> = users.iter().map(|pid| observe::process(*pid)).collect();
    users.join(", ")
}
