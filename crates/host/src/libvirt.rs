//! libvirt through `virsh`: its definitions as trees, its machines by UUID.
//!
//! A name may be a number or look like an option, and `virsh` would take it for an id; so machines are
//! found by their exact name in the list of all, and named by their UUID from there on.

pub mod domain;
pub mod snapshot;
pub mod xml;

use crate::command::{self, Run};
use anyhow::{Context, Result, bail};
use domain::Domain;
use snapshot::Snapshot;
use std::{io::Write, time::Duration};
use tempfile::NamedTempFile;

/// A connection's address, and how long one call may take.
#[derive(Debug, Clone)]
pub struct Libvirt {
    /// Such as `qemu:///system`.
    pub uri: String,
    /// For each call.
    pub timeout: Duration,
}

/// Major, minor and micro version.
pub type Version = (u32, u32, u32);

impl Libvirt {
    /// What `virsh COMMAND WORD…` writes.
    ///
    /// # Errors
    /// With all that virsh said, when it fails or is not done in time.
    pub fn call(&self, words: &[&str]) -> Result<String> {
        self.run(words).stdout()
    }

    /// `virsh COMMAND WORD…`, ready to run.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Run {
        let connect = format!("--connect={}", self.uri);
        let argv = ["virsh", "--quiet", &connect].into_iter();
        command::run(argv.chain(words.iter().copied())).timeout(self.timeout)
    }

    /// The versions of the daemon and of QEMU.
    ///
    /// # Errors
    /// When virsh is missing, the daemon does not answer, or refuses.
    pub fn versions(&self) -> Result<(Version, Version)> {
        if !command::exists("virsh") {
            bail!("there is no virsh on this host; install libvirt's clients");
        }
        let said = self
            .call(&["version", "--daemon"])
            .with_context(|| format!("libvirt does not answer at {}", self.uri))?;
        let find = |label: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(label));
            line.and_then(|rest| version(rest.rsplit(' ').next()?))
                .with_context(|| format!("`virsh version` does not tell \"{label}\": {said}"))
        };
        Ok((
            find("Running against daemon:")?,
            find("Running hypervisor:")?,
        ))
    }

    /// UUID and name of every machine, running or not.
    ///
    /// # Errors
    /// As [`Libvirt::call`].
    pub fn list(&self) -> Result<Vec<(String, String)>> {
        let listed = self.call(&["list", "--all", "--uuid", "--name"])?;
        let pairs = listed.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs
            .map(|(uuid, name)| (uuid.to_owned(), name.trim_start().to_owned()))
            .collect())
    }

    /// The UUID of the machine with exactly this name, or with this UUID.
    ///
    /// # Errors
    /// When there is none; it names those that there are.
    pub fn find(&self, wanted: &str) -> Result<String> {
        let all = self.list()?;
        let found = all
            .iter()
            .find(|(_, name)| name == wanted)
            .or_else(|| all.iter().find(|(uuid, _)| uuid == wanted));
        match found {
            Some((uuid, _)) => Ok(uuid.clone()),
            None => {
                let names: Vec<_> = all.iter().map(|(_, name)| name.as_str()).collect();
                bail!(
                    "there is no VM \"{wanted}\" at {}; there are: {}",
                    self.uri,
                    if names.is_empty() {
                        "none".to_owned()
                    } else {
                        names.join(", ")
                    }
                )
            }
        }
    }

    /// The machine as it is now.
    ///
    /// # Errors
    /// As [`Libvirt::call`], and when its definition cannot be read.
    pub fn domain(&self, uuid: &str) -> Result<Domain> {
        let state = self.call(&["domstate", uuid, "--reason"])?;
        let info = self.call(&["dominfo", uuid])?;
        let now = self.call(&["dumpxml", uuid, "--security-info"])?;
        // A machine without a persistent definition has no other one.
        let lasting = match info_says(&info, "Persistent", "yes") {
            true => Some(self.call(&["dumpxml", uuid, "--inactive", "--security-info"])?),
            false => None,
        };
        let mut domain = Domain::parse(&now, lasting)?;
        domain.set_state(state.trim());
        domain.managed_save = info_says(&info, "Managed save", "yes");
        Ok(domain)
    }

    /// What the machine's job is, such as a migration; `None` while there is none.
    ///
    /// # Errors
    /// As [`Libvirt::call`].
    pub fn job(&self, uuid: &str) -> Result<Option<String>> {
        let said = match self.call(&["domjobinfo", uuid]) {
            // All that is told of it on the host that the machine comes to.
            Err(error) if error.to_string().contains("only on the source host") => {
                return Ok(Some("Incoming migration".to_owned()));
            }
            said => said?,
        };
        let field = |label: &str| {
            let value = said.lines().find_map(|line| line.strip_prefix(label));
            value.map(|value| value.trim().to_owned())
        };
        Ok(match field("Job type:") {
            Some(kind) if kind != "None" => Some(field("Operation:").unwrap_or(kind)),
            _ => None,
        })
    }

    /// Every snapshot of the machine, in the order in which libvirt lists them.
    ///
    /// # Errors
    /// As [`Libvirt::call`], and when one cannot be read.
    pub fn snapshots(&self, uuid: &str) -> Result<Vec<Snapshot>> {
        let names = self.call(&["snapshot-list", uuid, "--name"])?;
        let current = match names.trim().is_empty() {
            true => None,
            false => self.current(uuid)?,
        };
        let names = names.lines().filter(|name| !name.is_empty());
        names
            .map(|name| {
                let mut snapshot = Snapshot::parse(&self.snapshot_xml(uuid, name)?)?;
                snapshot.current = current.as_deref() == Some(name);
                Ok(snapshot)
            })
            .collect()
    }

    fn current(&self, uuid: &str) -> Result<Option<String>> {
        let finished = self.run(&["snapshot-current", uuid, "--name"]).finish()?;
        let name = finished.stdout.trim_end_matches('\n');
        Ok((finished.status.success() && !name.is_empty()).then(|| name.to_owned()))
    }

    /// A snapshot's definition, passwords included.
    ///
    /// # Errors
    /// As [`Libvirt::call`].
    pub fn snapshot_xml(&self, uuid: &str, name: &str) -> Result<String> {
        let name = format!("--snapshotname={name}");
        self.call(&["snapshot-dumpxml", uuid, &name, "--security-info"])
    }

    /// Calls `virsh COMMAND WORD…` with `xml` in a file of root's only, whose path takes the place of `{}`.
    ///
    /// # Errors
    /// As [`Libvirt::call`], and when the file cannot be written.
    pub fn with_file(&self, words: &[&str], xml: &str) -> Result<String> {
        let mut file = NamedTempFile::new().context("cannot make a temporary file")?;
        file.write_all(xml.as_bytes())?;
        let path = file.path().to_string_lossy().into_owned();
        let words: Vec<_> = words.iter().map(|word| word.replace("{}", &path)).collect();
        self.call(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Whether the guest's agent answers within `patience`.
    #[must_use]
    pub fn agent_answers(&self, uuid: &str, patience: Duration) -> bool {
        let seconds = format!("--timeout={}", patience.as_secs().max(1));
        let ping = r#"{"execute":"guest-ping"}"#;
        let run = self.run(&["qemu-agent-command", uuid, ping, &seconds]);
        // virsh keeps its own time; ours is for a daemon that hangs.
        run.timeout(patience + Duration::from_secs(5))
            .stdout()
            .is_ok()
    }
}

fn info_says(info: &str, label: &str, value: &str) -> bool {
    let found = info.lines().filter_map(|line| line.split_once(':'));
    found
        .filter(|(key, _)| *key == label)
        .any(|(_, said)| said.trim() == value)
}

/// `9.0.0` as numbers.
fn version(text: &str) -> Option<Version> {
    let mut parts = text.trim().split('.').map(str::parse);
    let mut next = || parts.next()?.ok();
    Some((next()?, next()?, next().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_numbers() {
        assert_eq!(version("9.0.0"), Some((9, 0, 0)));
        assert_eq!(version("11.3.0\n"), Some((11, 3, 0)));
        assert_eq!(version("7.2"), Some((7, 2, 0)));
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn what_dominfo_says_is_read_by_its_whole_label() {
        let info = "Persistent:     yes\nManaged save:   no\n";
        assert!(info_says(info, "Persistent", "yes"));
        assert!(!info_says(info, "Managed save", "yes"));
        assert!(!info_says(info, "save", "no"));
    }
}
