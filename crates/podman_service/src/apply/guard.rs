//! The unit that undoes an interrupted move at the next boot. Between the stop of the service and its start
//! elsewhere no unit of it is anywhere that systemd looks, so nothing starts on half-moved data meanwhile.

use crate::record::STATE;
use anyhow::Result;
use host::{accounts::Account, boot, files, logind, systemd};
use std::path::Path;

const UNIT: &str = "bulkhead-podman-service.service";

/// The accounts' managers come first: units are started and stopped through them. At boot, when Podman has much to do
/// at once, it may fail where it would not a moment later.
fn text(executable: &Path, accounts: [&Account; 2]) -> String {
    let [old, new] = accounts.map(|account| logind::manager(account.uid));
    format!(
        "[Unit]\n\
         Description=Undo an interrupted move of a Podman service\n\
         ConditionPathExists={STATE}/{}\n\
         RequiresMountsFor={STATE}\n\
         After=systemd-user-sessions.service systemd-logind.service {old} {new}\n\
         StartLimitIntervalSec=1h\n\
         StartLimitBurst=10\n\n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart={} recover\n\
         Restart=on-failure\n\
         RestartSec=15s\n\
         TimeoutStartSec=infinity\n",
        transaction::IN_PROGRESS,
        executable.display()
    )
}

pub fn install(accounts: [&Account; 2]) -> Result<()> {
    let executable = boot::executable(STATE.as_ref(), "podman_service")?;
    boot::install_executable(&executable)?;
    files::write_atomic(
        &boot::unit(UNIT),
        text(&executable, accounts).as_bytes(),
        0o644,
    )?;
    boot::write_link(&boot::link("multi-user.target", "wants", UNIT))?;
    systemd::daemon_reload()
}

pub fn remove() -> Result<()> {
    boot::remove_with_parent(&boot::link("multi-user.target", "wants", UNIT))?;
    files::remove_optional(&boot::unit(UNIT))?;
    systemd::daemon_reload()
}
