//! Compose projects, through whichever compose client there is: `docker compose` (v2) or `docker-compose`
//! (v1, Debian 12's).

use crate::command::{Run, run};
use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// The two clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    /// `docker compose`: knows `!reset` and `!override`.
    V2,
    /// `docker-compose`, written in Python; its last version is 1.29.
    V1,
}

/// Where a project is defined.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Project {
    /// What relative paths are relative to, and where `.env` lies.
    pub directory: PathBuf,
    /// Its files, a later one over an earlier; empty: those the client finds by itself, the override with
    /// them.
    pub files: Vec<PathBuf>,
}

/// A project as its client resolves it: variables replaced, overrides merged.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Resolved {
    /// The project's; empty where the client does not say it, before [`resolve`] has filled it in.
    #[serde(default)]
    pub name: String,
    /// By name.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    /// Top-level secrets by name.
    #[serde(default)]
    pub secrets: BTreeMap<String, FileSource>,
    /// Top-level configs by name.
    #[serde(default)]
    pub configs: BTreeMap<String, FileSource>,
}

/// A secret or a config, as far as it is a file of the host.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct FileSource {
    /// The file.
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// The part of a service that bears on user namespaces.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// What the container is called, where the file says so.
    pub container_name: Option<String>,
    /// As `--privileged`.
    pub privileged: bool,
    /// `host`, `service:NAME`, `container:NAME`, …
    pub network_mode: Option<String>,
    /// `host`, `service:NAME` or `container:NAME`.
    pub pid: Option<String>,
    /// `host` or nothing.
    pub userns_mode: Option<String>,
    /// With or without `CAP_`.
    pub cap_add: Vec<String>,
    /// As `HOST:CONTAINER[:rwm]`, or split.
    pub devices: Vec<Device>,
    /// Names of kernel parameters.
    #[serde(deserialize_with = "names")]
    pub sysctls: Vec<String>,
    /// Paths in the container.
    #[serde(deserialize_with = "one_or_more")]
    pub tmpfs: Vec<String>,
    /// Bind mounts, volumes and others.
    pub volumes: Vec<Volume>,
    /// Names of top-level secrets.
    pub secrets: Vec<Reference>,
    /// Names of top-level configs.
    pub configs: Vec<Reference>,
}

/// Where a device of the host is on the host.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Device {
    /// `HOST:CONTAINER[:rwm]`
    Short(String),
    /// Split into fields.
    Long {
        /// On the host.
        source: String,
    },
}

/// A mount of a service.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Volume {
    /// `[SOURCE:]TARGET[:OPTIONS]`
    Short(String),
    /// Split into fields.
    Long(Mount),
}

/// A mount in fields.
#[derive(Debug, Clone, Deserialize)]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// A path of the host or a volume's name; none for an anonymous one.
    #[serde(default)]
    pub source: Option<String>,
    /// In the container.
    pub target: String,
    /// Whether the container may not write.
    #[serde(default)]
    pub read_only: bool,
}

/// The use of a secret or a config.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Reference {
    /// Its name.
    Short(String),
    /// With more about where it is mounted.
    Long {
        /// Its name.
        source: String,
    },
}

impl Device {
    /// Its node on the host.
    #[must_use]
    pub fn host_path(&self) -> &Path {
        let (Device::Short(text) | Device::Long { source: text }) = self;
        Path::new(text.split(':').next().unwrap_or(text))
    }
}

impl Volume {
    /// In fields. The short form is a bind mount where its source is a path.
    #[must_use]
    pub fn mount(&self) -> Mount {
        let text = match self {
            Volume::Long(mount) => return mount.clone(),
            Volume::Short(text) => text,
        };
        let parts: Vec<_> = text.split(':').collect();
        let (source, target, options) = match parts[..] {
            [target] => (None, target, ""),
            [source, target] => (Some(source), target, ""),
            [source, target, options, ..] => (Some(source), target, options),
            [] => (None, "", ""),
        };
        let is_path = source.is_some_and(|source| source.starts_with(['/', '.', '~']));
        Mount {
            kind: if is_path { "bind" } else { "volume" }.to_owned(),
            source: source.map(str::to_owned),
            target: target.to_owned(),
            read_only: options.split(',').any(|option| option == "ro"),
        }
    }
}

impl Reference {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        let (Reference::Short(name) | Reference::Long { source: name }) = self;
        name
    }
}

impl Project {
    /// The project's name where nothing else gives one: its directory's, as compose writes names.
    fn default_name(&self) -> String {
        let name = self
            .directory
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        name.chars()
            .filter(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-'))
            .collect()
    }
}

impl Resolved {
    /// Reads what a client's `config` prints.
    ///
    /// # Errors
    /// When it is not YAML of that shape.
    pub fn parse(yaml: &str) -> Result<Self> {
        serde_saphyr::from_str(yaml).context("docker compose config")
    }
}

/// Which client there is, the newer one first. Asked once.
fn client() -> Option<Client> {
    static CLIENT: LazyLock<Option<Client>> = LazyLock::new(|| {
        let answers = |client: &Client| {
            let answer = client.command(&["version", "--short"]).finish();
            answer.is_ok_and(|answer| answer.status.success())
        };
        [Client::V2, Client::V1].into_iter().find(answers)
    });
    *CLIENT
}

/// Whether the client knows the tag `!reset`, by which an override takes a key away.
#[must_use]
pub fn knows_reset() -> bool {
    client() == Some(Client::V2)
}

/// The project as the host's own client resolves it, with the services of every profile.
///
/// # Errors
/// When there is no client, or with the client's words.
pub fn resolve(project: &Project) -> Result<Resolved> {
    let client =
        client().context("there is neither docker compose nor docker-compose on this host")?;
    let mut resolved = client.resolve(project)?;
    if resolved.name.is_empty() {
        resolved.name = project.default_name();
    }
    Ok(resolved)
}

impl Client {
    fn command(self, arguments: &[&str]) -> Run {
        let program: &[&str] = match self {
            Client::V2 => &["docker", "compose"],
            Client::V1 => &["docker-compose"],
        };
        run(program.iter().chain(arguments).copied())
    }

    fn resolve(self, project: &Project) -> Result<Resolved> {
        let mut arguments = vec![];
        for file in &project.files {
            let file = file
                .to_str()
                .with_context(|| format!("{} is not UTF-8", file.display()))?;
            arguments.extend(["--file", file]);
        }
        if self == Client::V2 {
            arguments.extend(["--profile", "*"]);
        }
        arguments.push("config");
        let answer = self
            .command(&arguments)
            .directory(&project.directory)
            .stdout()?;
        Resolved::parse(&answer)
    }
}

/// A string or a list of them.
fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        More(Vec<String>),
    }
    Ok(match Either::deserialize(from)? {
        Either::One(text) => vec![text],
        Either::More(texts) => texts,
    })
}

/// The keys of a map, or the `NAME=VALUE` of a list without their values.
fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Map(BTreeMap<String, IgnoredAny>),
        List(Vec<String>),
    }
    Ok(match Either::deserialize(from)? {
        Either::Map(map) => map.into_keys().collect(),
        Either::List(list) => (list.iter())
            .map(|text| text.split('=').next().unwrap_or(text).to_owned())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 1.29 prints: short mounts, quoted variables.
    const V1: &str = r#"
services:
  web:
    image: web
    network_mode: host
    privileged: true
    sysctls:
      net.core.somaxconn: 4096
    tmpfs: /run
    volumes:
    - /srv/www:/var/www:ro
    - data:/data:rw
    - /cache
version: '3.9'
"#;

    /// What 2.26 prints: everything in fields.
    const V2: &str = r#"
name: shop
services:
  web:
    cap_add:
      - SYS_TIME
    configs:
      - source: php
        target: /php.ini
    devices:
      - /dev/ttyUSB0:/dev/ttyUSB0
    networks:
      default: null
    secrets:
      - source: key
    tmpfs:
      - /run
    volumes:
      - type: bind
        source: /srv/www
        target: /var/www
        read_only: true
        bind:
          create_host_path: true
      - type: volume
        target: /cache
        volume: {}
secrets:
  key:
    name: shop_key
    file: /srv/key
configs:
  php:
    name: shop_php
    file: /srv/php.ini
"#;

    #[test]
    fn what_the_first_client_prints_is_read() {
        let resolved = Resolved::parse(V1).unwrap();
        let web = &resolved.services["web"];
        assert!(web.privileged);
        assert_eq!(web.network_mode.as_deref(), Some("host"));
        assert_eq!(
            (&web.sysctls[..], &web.tmpfs[..]),
            (
                &["net.core.somaxconn".to_owned()][..],
                &["/run".to_owned()][..]
            )
        );
        let mounts: Vec<_> = web.volumes.iter().map(Volume::mount).collect();
        let seen: Vec<_> = (mounts.iter())
            .map(|mount| {
                (
                    mount.kind.as_str(),
                    mount.source.as_deref(),
                    mount.target.as_str(),
                    mount.read_only,
                )
            })
            .collect();
        let expected = [
            ("bind", Some("/srv/www"), "/var/www", true),
            ("volume", Some("data"), "/data", false),
            ("volume", None, "/cache", false),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_the_second_client_prints_is_read() {
        let resolved = Resolved::parse(V2).unwrap();
        let web = &resolved.services["web"];
        assert_eq!(web.cap_add, ["SYS_TIME"]);
        assert_eq!(web.devices[0].host_path(), Path::new("/dev/ttyUSB0"));
        assert_eq!(
            (web.secrets[0].name(), web.configs[0].name()),
            ("key", "php")
        );
        assert_eq!(
            resolved.secrets["key"].file.as_deref(),
            Some(Path::new("/srv/key"))
        );
        assert!(web.volumes[0].mount().read_only && !web.volumes[1].mount().read_only);
    }
}
