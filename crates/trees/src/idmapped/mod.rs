//! A directory, or a single file, mounted so that it shows other owners than it has on disk, now and at every
//! boot: the mount, its record, its unit. How the mount is made is in [`rechown::idmapped`].

mod apply;
mod check;
mod observe;
mod record;
mod unit;

pub use apply::{check_unused, hide, raw_copies, show, view};
pub use check::{check_exposure, check_place, check_source};
pub use observe::{Ancestor, Shown, Source, directory, has_systemd, mounted_at, shown, source};
pub use record::Record;
pub use unit::{MOUNT, Unit};

use anyhow::{Result, ensure};

/// What the unit calls: an executable that makes such mounts has to, when [`MOUNT`] and the name of a record are
/// its arguments.
///
/// # Errors
/// When there is no such record, or the mount cannot be made.
pub fn mount_at_boot(name: &str) -> Result<()> {
    apply::mount(&Record::named(name)?)
}

/// Without systemd a mount could not be made again at the next boot.
///
/// # Errors
/// Where systemd does not run the machine.
pub fn check_systemd() -> Result<()> {
    ensure!(
        has_systemd(),
        "systemd does not run this machine: the mount could not be made again at the next boot"
    );
    Ok(())
}

/// Tries out, without a trace, whether a tree that is shown nowhere yet can be shown over itself.
///
/// # Errors
/// Whatever would be refused, each with its way out.
pub fn check(wanted: &Record, allow_exposed: bool, keep_unmapped: bool) -> Result<()> {
    check_systemd()?;
    let source = source(&wanted.path, None)?;
    if !allow_exposed {
        check_exposure(wanted, &source.ancestors)?;
    }
    check_source(wanted, &source, keep_unmapped)?;
    view(wanted).map(drop)
}
