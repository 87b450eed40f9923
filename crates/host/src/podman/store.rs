//! Where an account's Podman keeps all it has, containers-storage.conf(5) and containers.conf(5).

use crate::{accounts::Account, files};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

const USUAL: &str = ".local/share/containers/storage";
/// The host's settings; the first that is there counts.
const OF_HOST: [&str; 2] = [
    "/etc/containers/storage.conf",
    "/usr/share/containers/storage.conf",
];
/// Settings by which containers.conf has Podman keep something elsewhere.
const PLACES: [&str; 4] = ["volume_path", "static_dir", "tmp_dir", "network_config_dir"];

/// The directory of an account's images, volumes and secrets, whether it is there or not. Podman, if it were asked,
/// would make it.
///
/// # Errors
/// When the host's settings are there and cannot be read.
pub fn store(account: &Account) -> Result<PathBuf> {
    let path = account.home.join(".config/containers/storage.conf");
    // What the account cannot read, or Podman, is no setting.
    let own = account.with_its_rights(|| files::read_text_optional(&path));
    let own = own.unwrap_or_default();
    if let Some(place) = own.and_then(|text| setting(&text, "graphroot").ok()?) {
        return Ok(expanded(&place, account));
    }
    let usual = account.home.join(USUAL);
    for path in OF_HOST {
        if let Some(text) = files::read_text_optional(Path::new(path))? {
            let place = setting(&text, "rootless_storage_path").with_context(|| path.to_owned())?;
            let place = place.map(|place| expanded(&place, account));
            // Where the account has settings of its own, Podman 4.3 heeds the host's too, and 5.4 does not.
            return Ok(match place {
                Some(place) if place.exists() || !usual.exists() => place,
                _ => usual,
            });
        }
    }
    Ok(usual)
}

/// Which of an account's settings, of whatever file of Podman's, is good for it alone: one that says where its Podman
/// keeps something, or one that names its home.
#[must_use]
pub fn own_place(text: &str, home: &Path) -> Option<String> {
    let home = home.to_string_lossy();
    let is_own = |setting: &String| {
        let key = setting.split(" = ").next().unwrap_or_default();
        PLACES.contains(&key) || setting.contains(&*home)
    };
    let shown = |(key, value): (&String, &Value)| format!("{key} = {value}");
    match text.parse::<Table>() {
        Ok(sections) => {
            let mut settings = sections.iter().flat_map(|(key, value)| match value {
                Value::Table(section) => section.iter().map(shown).collect(),
                other => vec![shown((key, other))],
            });
            settings.find(is_own)
        }
        // policy.json, mounts.conf
        Err(_) => text.lines().map(|line| line.trim().to_owned()).find(is_own),
    }
}

/// A place that a storage.conf names.
fn setting(text: &str, key: &str) -> Result<Option<String>> {
    let sections: Table = text.parse()?;
    let value = sections.get("storage").and_then(|storage| storage.get(key));
    let place = value.and_then(Value::as_str).unwrap_or_default();
    Ok((!place.is_empty()).then(|| place.to_owned()))
}

fn expanded(place: &str, account: &Account) -> PathBuf {
    let uid = account.uid.to_string();
    let home = account.home.to_string_lossy();
    let variables = [("HOME", &*home), ("USER", &account.name), ("UID", &uid)];
    let place = variables
        .iter()
        .fold(place.to_owned(), |place, (name, value)| {
            let place = place.replace(&format!("${{{name}}}"), value);
            place.replace(&format!("${name}"), value)
        });
    place.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_that_of_its_section() {
        let named = |text| setting(text, "graphroot").unwrap();
        assert_eq!(
            named("[storage]\n  graphroot='/a b' # no\n").as_deref(),
            Some("/a b")
        );
        for text in [
            "",
            "[storage]\ngraphroot = \"\"",
            "[storage]\n#graphroot = \"/a\"",
            "[storage]\ngraphroot = 5",
            "[other]\ngraphroot = \"/a\"",
        ] {
            assert_eq!(named(text), None, "{text}");
        }
        assert!(setting("graphroot = ", "graphroot").is_err());
    }

    #[test]
    fn the_account_is_put_into_a_place_of_the_host() {
        let account = Account {
            name: "db".into(),
            uid: 990,
            gid: 985,
            home: "/home/db".into(),
            shell: "/bin/sh".into(),
        };
        let place = |text| expanded(text, &account).display().to_string();
        assert_eq!(place("$HOME/a"), "/home/db/a");
        assert_eq!(place("/s/${USER}-$UID"), "/s/db-990");
    }

    #[test]
    fn settings_that_name_places_are_the_accounts_own() {
        let own = |text| own_place(text, Path::new("/home/db"));
        let is_own = |text, told: &str| assert_eq!(own(text).as_deref(), Some(told));
        is_own("[engine]\nvolume_path='/v'\n", "volume_path = \"/v\"");
        is_own(
            "[containers]\nvolumes = [\n\"/home/db/s:/s\"]",
            "volumes = [\"/home/db/s:/s\"]",
        );
        assert_eq!(
            own("# volume_path = \"/v\"\n[containers]\n# /home/db\npids_limit = 0\n"),
            None
        );
    }
}
