//! What keeps the engine from starting on half-moved data: a condition on its units, and two units that
//! finish or undo an interrupted change at the next boot, one before the engine and one after.

use crate::paths::{HOLD, IN_PROGRESS, STATE};
use anyhow::{Context, Result, bail};
use host::{docker, files, systemd};
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

const UNITS: &str = "/etc/systemd/system";
const EARLY: &str = "bulkhead-recover.service";
const LATE: &str = "bulkhead-restart.service";

/// Where the executable lies for the boot units: the one that Ansible shipped may be gone by then.
/// A file system mounted `noexec` (a hardened /var) is passed over.
fn executable() -> Result<PathBuf> {
    for directory in [STATE, "/usr/local/libexec/bulkhead"] {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {directory}"))?;
        if !statvfs(directory)?
            .f_flag
            .contains(StatVfsMountFlags::NOEXEC)
        {
            return Ok(Path::new(directory).join("userns_remap"));
        }
    }
    bail!(
        "{STATE} and /usr/local/libexec are both mounted noexec: a reboot in the middle could not be recovered"
    )
}

fn drop_in(unit: &str) -> PathBuf {
    Path::new(UNITS).join(format!("{unit}.d/50-bulkhead.conf"))
}

fn wants() -> [(PathBuf, &'static str); 2] {
    let link = |target: &str, unit| {
        Path::new(UNITS)
            .join(format!("{target}.target.wants"))
            .join(unit)
    };
    [
        (link("sysinit", EARLY), EARLY),
        (link("multi-user", LATE), LATE),
    ]
}

fn early(executable: &Path, needs: &[PathBuf]) -> String {
    let needs: Vec<_> = needs
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    format!(
        "[Unit]\n\
         Description=Undo an interrupted change of the container engine's data\n\
         DefaultDependencies=no\n\
         ConditionPathExists={IN_PROGRESS}\n\
         RequiresMountsFor={STATE} {}\n\
         After=local-fs.target systemd-remount-fs.service\n\
         Before=docker.socket docker.service shutdown.target\n\
         Conflicts=shutdown.target\n\n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart={} recover --boot\n\
         TimeoutStartSec=infinity\n",
        needs.join(" "),
        executable.display()
    )
}

fn late(executable: &Path) -> String {
    format!(
        "[Unit]\n\
         Description=Bring back what ran before an interrupted change of the container engine\n\
         ConditionPathExists={IN_PROGRESS}\n\
         After=docker.socket docker.service {EARLY}\n\n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart={} recover\n\
         TimeoutStartSec=infinity\n",
        executable.display()
    )
}

/// Puts the condition and the boot units in place. `needs` are paths that have to be mounted before the
/// recovery can run.
pub fn install(needs: &[PathBuf]) -> Result<()> {
    let executable = executable()?;
    files::write_atomic(&executable, &fs::read("/proc/self/exe")?, 0o700)?;
    for unit in docker::UNITS {
        let path = drop_in(unit);
        make_parent(&path)?;
        files::write_atomic(
            &path,
            format!("[Unit]\nConditionPathExists=!{HOLD}\n").as_bytes(),
            0o644,
        )?;
    }
    let units = Path::new(UNITS);
    files::write_atomic(
        &units.join(EARLY),
        early(&executable, needs).as_bytes(),
        0o644,
    )?;
    files::write_atomic(&units.join(LATE), late(&executable).as_bytes(), 0o644)?;
    for (link, unit) in wants() {
        make_parent(&link)?;
        files::remove_optional(&link)?;
        symlink(units.join(unit), &link)
            .with_context(|| format!("cannot make {}", link.display()))?;
    }
    systemd::daemon_reload()
}

/// Takes all of it away again.
pub fn remove() -> Result<()> {
    for (link, _) in wants() {
        remove_with_parent(&link)?;
    }
    for unit in [EARLY, LATE] {
        files::remove_optional(&Path::new(UNITS).join(unit))?;
    }
    for unit in docker::UNITS {
        remove_with_parent(&drop_in(unit))?;
    }
    systemd::daemon_reload()
}

/// From here on the engine's units are skipped when something starts them.
pub fn hold() -> Result<()> {
    files::write_atomic(HOLD.as_ref(), b"", 0o600)
}

/// The engine may start again.
pub fn release() -> Result<()> {
    files::remove_optional(HOLD.as_ref())
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().context("no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))
}

/// The directory goes too where nothing else is in it.
fn remove_with_parent(path: &Path) -> Result<()> {
    files::remove_optional(path)?;
    if let Some(parent) = path.parent() {
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}
