//! What keeps the engine from starting on half-moved data: a condition on its units, and two units that
//! finish or undo an interrupted change at the next boot, one before the engine and one after.

use crate::paths::{HOLD, IN_PROGRESS, STATE};
use anyhow::Result;
use host::{boot, docker, files, systemd};
use std::path::{Path, PathBuf};

const EARLY: &str = "bulkhead-recover.service";
const LATE: &str = "bulkhead-restart.service";

fn drop_in(unit: &str) -> PathBuf {
    boot::unit(&format!("{unit}.d/50-bulkhead.conf"))
}

fn wants() -> [PathBuf; 2] {
    [
        boot::link("sysinit.target", "wants", EARLY),
        boot::link("multi-user.target", "wants", LATE),
    ]
}

fn early(executable: &Path, needs: &[PathBuf]) -> Result<String> {
    let needs: Vec<_> = needs
        .iter()
        .map(|path| boot::quoted(path))
        .collect::<Result<_>>()?;
    Ok(format!(
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
    ))
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
    let executable = boot::executable(STATE.as_ref(), "userns_remap")?;
    boot::install_executable(&executable)?;
    for unit in docker::UNITS {
        let path = drop_in(unit);
        boot::make_parent(&path)?;
        files::write_atomic(
            &path,
            format!("[Unit]\nConditionPathExists=!{HOLD}\n").as_bytes(),
            0o644,
        )?;
    }
    let early = early(&executable, needs)?;
    files::write_atomic(&boot::unit(EARLY), early.as_bytes(), 0o644)?;
    let late = late(&executable);
    files::write_atomic(&boot::unit(LATE), late.as_bytes(), 0o644)?;
    for link in wants() {
        boot::write_link(&link)?;
    }
    systemd::daemon_reload()
}

/// Takes all of it away again.
pub fn remove() -> Result<()> {
    for link in wants() {
        boot::remove_with_parent(&link)?;
    }
    for unit in [EARLY, LATE] {
        files::remove_optional(&boot::unit(unit))?;
    }
    for unit in docker::UNITS {
        boot::remove_with_parent(&drop_in(unit))?;
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
