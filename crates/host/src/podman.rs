//! Rootless Podman, through its command line, as the account whose it is.

mod network;
pub mod store;

pub use network::{Network, Subnet};

use crate::{
    accounts::Account,
    command::{Run, run},
    files,
};
use anyhow::{Context, Result, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The label by which a container names the systemd unit that runs it.
pub const UNIT_LABEL: &str = "PODMAN_SYSTEMD_UNIT";

/// An account's Podman.
#[derive(Debug, Clone, Copy)]
pub struct Podman<'a> {
    /// Whose store it is.
    pub account: &'a Account,
    /// How long a call may take.
    pub timeout: Duration,
}

/// A container, as `podman container inspect` shows it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The id of its image.
    pub image: String,
    /// The name by which the image was asked for.
    #[serde(default)]
    pub image_name: String,
    /// What it runs inside.
    #[serde(default)]
    pub path: String,
    /// Whether it runs, and how well.
    pub state: State,
    /// What it was made with.
    pub config: Config,
    /// Volumes and bind mounts.
    #[serde(default, deserialize_with = "or_default")]
    pub mounts: Vec<Mount>,
    /// The networks it is on.
    #[serde(default)]
    pub network_settings: NetworkSettings,
}

/// A container, as `podman ps` lists it: also one that was being removed when Podman was ended, which can no more be
/// inspected.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name is the first.
    pub names: Vec<String>,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// The id of its pod, or empty.
    #[serde(default)]
    pub pod: String,
}

/// A container's state.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// Whether its first process lives.
    pub running: bool,
    /// That process, 0 if none.
    #[serde(default)]
    pub pid: u32,
    /// Of its health check; Podman 4 writes it under either name.
    #[serde(default, alias = "Healthcheck", deserialize_with = "or_default")]
    pub health: Health,
}

/// What a container's health check says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// `healthy`, `unhealthy`, `starting`, or empty where there is none.
    #[serde(default)]
    pub status: String,
}

/// What a container was made with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// The command line that made it.
    #[serde(default, deserialize_with = "or_default")]
    pub create_command: Vec<String>,
    /// Its health check, if it has one.
    #[serde(default)]
    pub healthcheck: Option<serde_json::Value>,
}

/// A mount of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    /// `bind`, `volume` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Of a volume.
    #[serde(default)]
    pub name: String,
    /// On the host.
    #[serde(default)]
    pub source: PathBuf,
    /// In the container.
    #[serde(default)]
    pub destination: String,
    /// Whether the container can write to it.
    #[serde(default, rename = "RW")]
    pub writable: bool,
}

/// The networks that a container is on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// By name.
    #[serde(default, deserialize_with = "or_default")]
    pub networks: BTreeMap<String, serde_json::Value>,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Image {
    /// 64 hexadecimal digits, which name its configuration.
    pub id: String,
    /// The media type of its manifest, by which the archive that keeps the id is chosen.
    #[serde(default)]
    pub manifest_type: String,
}

/// A named volume.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// `local`, or that of a plugin.
    pub driver: String,
    /// Where its data is.
    pub mountpoint: PathBuf,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// What it was made with: `type`, `device` and `o` name a file system of its own.
    #[serde(default, deserialize_with = "or_default")]
    pub options: BTreeMap<String, String>,
}

/// A Podman secret.
#[derive(Debug, Clone, Deserialize)]
struct Secret {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Spec")]
    spec: SecretSpec,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretSpec {
    driver: SecretDriver,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretDriver {
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    options: BTreeMap<String, String>,
}

/// Podman writes `null` for an empty map or list.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Removes the record of the process that holds the account's namespaces, where there is none such. A Podman that is
/// ended in its first call after boot leaves one behind, and every later one, `podman system migrate` too, fails with
/// `cannot re-exec process to join the existing user namespace` (seen with 4.3 and 5.4).
pub fn forget_dead_holder(account: &Account) {
    let record = account.runtime_directory().join("libpod/tmp/pause.pid");
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    // What goes wrong here, Podman says better.
    let _ = account
        .with_its_rights(|| Ok(fs::read_to_string(&record)?))
        .and_then(|pid| {
            let held = namespace(pid.trim()).is_some_and(|it| Some(it) != namespace("self"));
            match held {
                true => Ok(()),
                false => account.with_its_rights(|| files::remove_optional(&record)),
            }
        });
}

impl Podman<'_> {
    /// A call, ready to run.
    #[must_use]
    pub fn call(&self, words: &[&str]) -> Run {
        forget_dead_holder(self.account);
        run(["podman"].into_iter().chain(words.iter().copied()))
            .user(self.account)
            .timeout(self.timeout)
    }

    /// Every container, running or not.
    ///
    /// # Errors
    /// With Podman's words.
    pub fn containers(&self) -> Result<Vec<Container>> {
        let ids = self
            .call(&["ps", "--all", "--quiet", "--no-trunc"])
            .stdout()?;
        let ids: Vec<_> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(vec![]);
        }
        // One of them may end meanwhile, and be removed.
        let found = ids
            .iter()
            .map(|id| self.inspect(&["container", "inspect", id]));
        let found: Vec<Option<Container>> = found.collect::<Result<_>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Every container, running or not, by what little of it is always told.
    ///
    /// # Errors
    /// With Podman's words.
    pub fn listed(&self) -> Result<Vec<Listed>> {
        let told = self.call(&["ps", "--all", "--no-trunc", "--format", "json"]);
        serde_json::from_str(&told.stdout()?).context("podman ps")
    }

    /// Ends and removes a container, and with it the pod that it is in. One that is gone already is no error.
    ///
    /// # Errors
    /// With Podman's words.
    pub fn remove_container(&self, container: &Listed) -> Result<()> {
        let words = match container.pod.as_str() {
            "" => ["container", "rm", "--force", "--ignore", &container.id],
            pod => ["pod", "rm", "--force", "--ignore", pod],
        };
        self.call(&words).stdout().map(drop)
    }

    /// An image of this name or id.
    ///
    /// # Errors
    /// With Podman's words.
    pub fn image(&self, name: &str) -> Result<Option<Image>> {
        self.inspect(&["image", "inspect", name])
    }

    /// A volume.
    ///
    /// # Errors
    /// With Podman's words.
    pub fn volume(&self, name: &str) -> Result<Option<Volume>> {
        self.inspect(&["volume", "inspect", name])
    }

    /// A network.
    ///
    /// # Errors
    /// With Podman's words.
    pub fn network(&self, name: &str) -> Result<Option<Network>> {
        self.inspect(&["network", "inspect", name])
    }

    /// Whether there is a secret of this name.
    ///
    /// # Errors
    /// With Podman's words.
    pub fn has_secret(&self, name: &str) -> Result<bool> {
        Ok(self
            .inspect::<Secret>(&["secret", "inspect", name])?
            .is_some())
    }

    /// What a secret holds, from the file of Podman's `file` driver: before 4.5 no command tells it.
    ///
    /// # Errors
    /// When there is none, or another driver keeps it.
    pub fn secret(&self, name: &str) -> Result<Vec<u8>> {
        let secret: Secret = self
            .inspect(&["secret", "inspect", name])?
            .with_context(|| format!("{} has no secret {name}", self.account.name))?;
        let SecretDriver { name: by, options } = secret.spec.driver;
        ensure!(
            by == "file",
            "secret {name} of {} is kept by driver {by}, which cannot be read; make it for the new account by hand",
            self.account.name
        );
        let directory = options.get("path").with_context(|| {
            format!(
                "Podman does not say where it keeps secret {name} of {}",
                self.account.name
            )
        })?;
        let path = Path::new(directory).join("secretsdata.json");
        let text = files::read_text_optional(&path)?.unwrap_or_default();
        let all: BTreeMap<String, String> =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let Some(encoded) = all.get(&secret.id) else {
            bail!("{} does not hold secret {name}", path.display())
        };
        BASE64_STANDARD
            .decode(encoded)
            .with_context(|| format!("{}: secret {name}", path.display()))
    }

    /// Where the directories of its volumes are.
    ///
    /// # Errors
    /// With Podman's words.
    pub fn volumes_root(&self) -> Result<PathBuf> {
        let told = self.call(&["info", "--format", "{{.Store.VolumePath}}"]);
        Ok(told.stdout()?.trim().into())
    }

    /// Copies an image of this name to another account's store; it keeps its id.
    ///
    /// # Errors
    /// With Podman's words, of either side.
    pub fn copy_image(&self, name: &str, image: &Image, to: &Podman<'_>) -> Result<()> {
        // In the archive of the other kind its configuration is another, and so its id.
        let format: &[&str] = match image.manifest_type.contains("oci") {
            // Otherwise its layers are compressed, for as long as the way takes.
            true => &["--format=oci-archive", "--uncompressed"],
            false => &["--format=docker-archive"],
        };
        let save = self.call(&[&["save", "--quiet"], format, &[name]].concat());
        save.pipe(&to.call(&["load", "--quiet"]))?;
        match to.image(name)? {
            Some(there) if there.id == image.id => Ok(()),
            Some(there) => bail!("image {name} is {} there, not {}", there.id, image.id),
            None => bail!("image {name} is not there after podman load"),
        }
    }

    /// `None` where Podman knows no such thing.
    fn inspect<T: DeserializeOwned>(&self, words: &[&str]) -> Result<Option<T>> {
        let call = self.call(words);
        let done = call.finish()?;
        if !done.status.success() {
            let said = done.stderr.to_lowercase();
            let unknown = ["no such", "not found", "not known", "does not exist"];
            return match unknown.iter().any(|words| said.contains(words)) {
                true => Ok(None),
                false => bail!("podman {}: {}", words.join(" "), done.stderr.trim()),
            };
        }
        let mut found: Vec<T> = serde_json::from_str(&done.stdout)
            .with_context(|| format!("podman {}", words.join(" ")))?;
        Ok(found.pop())
    }
}
