//! The unit that mounts a tree again at boot, before whatever must not start without it.

use super::record::Record;
use anyhow::{Context, Result, ensure};
use host::{boot, files, systemd};
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The subcommand that the unit calls, with the name of the record.
pub const MOUNT: &str = "mount";

/// What undoes an interrupted change of the engine at boot, mounts too: it must not find one half made.
const RECOVERY: &str = "bulkhead-recover.service";

/// How long it may take to start: the mount is there already, or made within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A unit, as it shall be.
#[derive(Debug)]
pub struct Unit {
    name: String,
    text: String,
    links: Vec<PathBuf>,
    executable: PathBuf,
}

impl Unit {
    /// The one that a record needs.
    ///
    /// # Errors
    /// When a path has letters that a unit cannot name, or nothing could be called at boot.
    pub fn of(record: &Record) -> Result<Self> {
        let executable = record.executable()?;
        let name = name(&record.path)?;
        let services = record.services.iter();
        let requires = services.map(|service| boot::link(service, "requires", &name));
        Ok(Self {
            text: text(record, &executable)?,
            // Also where none of the services starts.
            links: requires
                .chain([boot::link("multi-user.target", "wants", &name)])
                .collect(),
            name,
            executable,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether all of it is in place as it shall be, with this executable.
    ///
    /// # Errors
    /// With the path and what the system said.
    pub fn is_installed(&self) -> Result<bool> {
        let file = boot::unit(&self.name);
        let this = || fs::read("/proc/self/exe").context("cannot read /proc/self/exe");
        Ok(self.links.iter().all(|link| link.exists())
            && files::read_optional(&file)?.as_deref() == Some(self.text.as_bytes())
            && files::read_optional(&self.executable)? == Some(this()?)
            && systemd::active_state(&self.name)? == "active")
    }

    /// Puts it in place, and takes away what requires the `old` one alone.
    pub(super) fn install(&self, old: Option<&Self>) -> Result<()> {
        boot::install_executable(&self.executable)?;
        files::write_atomic(&boot::unit(&self.name), self.text.as_bytes(), 0o644)?;
        for link in &self.links {
            boot::write_link(link)?;
        }
        let old = old.into_iter().flat_map(|old| &old.links);
        for link in old.filter(|link| !self.links.contains(link)) {
            boot::remove_with_parent(link)?;
        }
        systemd::daemon_reload()
    }

    /// Starts it, which with the mount in place shows that it can.
    pub(super) fn start(&self) -> Result<()> {
        systemd::start(&[&self.name], TIMEOUT).with_context(|| {
            let said = systemd::journal_tail(&self.name, 5);
            format!("the unit {} does not start: {}", self.name, said.trim())
        })
    }

    /// What required it stays up while it stops, for the links are gone by then.
    pub(super) fn remove(&self) -> Result<()> {
        for link in &self.links {
            boot::remove_with_parent(link)?;
        }
        files::remove_optional(&boot::unit(&self.name))?;
        systemd::daemon_reload()?;
        systemd::reset_failed(&[&self.name])?;
        if systemd::active_state(&self.name)? == "active" {
            systemd::stop(&[&self.name], TIMEOUT)?;
        }
        Ok(())
    }
}

fn text(record: &Record, executable: &Path) -> Result<String> {
    let path = boot::quoted(&record.path)?;
    let services: String = (record.services.iter())
        .map(|service| format!("{service} "))
        .collect();
    Ok(format!(
        "[Unit]\n\
         Description=Show {} with other owners\n\
         DefaultDependencies=no\n\
         RequiresMountsFor={path} {} {}\n\
         After=local-fs.target\n\
         Before={services}{RECOVERY} shutdown.target\n\
         Conflicts=shutdown.target\n\
         StartLimitIntervalSec=0\n\n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart={} {MOUNT} {}\n",
        path.trim_matches('"'),
        boot::quoted(&record.mount_at)?,
        boot::quoted(executable)?,
        executable.display(),
        record.name()
    ))
}

/// The path in it is written as systemd-escape(1) does.
fn name(path: &Path) -> Result<String> {
    let mut name = "bulkhead-idmap-".to_owned();
    let path = path.to_str().context("not UTF-8")?;
    for (at, byte) in path.trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if at == 0 => name.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => {
                name.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(name, "\\x{byte:02x}")),
        }
    }
    name.push_str(".service");
    ensure!(
        name.len() <= 255,
        "{path} is too long for the name of a systemd unit"
    );
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use idmap::IdMaps;

    fn record(path: &str) -> Record {
        Record {
            path: path.into(),
            mount_at: path.into(),
            maps: IdMaps::parse(&["0:100000:10"]).unwrap(),
            services: vec!["docker.service".into()],
            executable: "volume_rechown".into(),
        }
    }

    #[test]
    fn a_unit_is_named_as_systemd_would() {
        let name = |path: &str| name(path.as_ref());
        assert_eq!(
            name("/srv/my-www").unwrap(),
            r"bulkhead-idmap-srv-my\x2dwww.service"
        );
        assert_eq!(
            name("/.a b/ö").unwrap(),
            r"bulkhead-idmap-\x2ea\x20b-\xc3\xb6.service"
        );
        assert!(name(&"/long".repeat(60)).is_err());
    }

    #[test]
    fn the_unit_is_ordered_before_its_services_and_names_its_paths() {
        let text = |path: &str| text(&record(path), "/x/exe".as_ref());
        let unit = text("/srv/a b%").unwrap();
        for line in [
            "Description=Show /srv/a b%% with other owners",
            "Before=docker.service bulkhead-recover.service shutdown.target",
            "RequiresMountsFor=\"/srv/a b%%\" \"/srv/a b%%\" \"/x/exe\"",
        ] {
            assert!(unit.lines().any(|found| found == line), "{unit}");
        }
        for odd in ["/srv/a\nExecStart=/bin/sh", "/srv/\"", "/srv/\\"] {
            assert!(text(odd).is_err());
        }
    }
}
