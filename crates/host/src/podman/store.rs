//! Where an account's Podman keeps all it has, containers-storage.conf(5) and containers.conf(5).

use crate::{accounts::Account, files};
use anyhow::Result;
use std::path::{Path, PathBuf};

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
/// When settings are there and cannot be read.
pub fn store(account: &Account) -> Result<PathBuf> {
    let own = account.home.join(".config/containers/storage.conf");
    let own = account.with_its_rights(|| files::read_text_optional(&own))?;
    if let Some(place) = own.and_then(|text| setting(&text, "graphroot")) {
        return Ok(expanded(&place, account));
    }
    let usual = account.home.join(USUAL);
    for path in OF_HOST {
        if let Some(text) = files::read_text_optional(Path::new(path))? {
            let place = setting(&text, "rootless_storage_path");
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

/// Which setting of a containers.conf is good for this account alone: one that says where its Podman keeps
/// something, or one that names its home.
#[must_use]
pub fn own_place<'t>(text: &'t str, home: &Path) -> Option<&'t str> {
    let home = home.to_string_lossy();
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| {
        let is_set = |key: &&str| value_of(line, key).is_some();
        !line.starts_with('#') && (PLACES.iter().any(is_set) || line.contains(&*home))
    })
}

fn setting(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| value_of(line.trim(), key))?;
    Some(value.to_owned()).filter(|value| !value.is_empty())
}

/// The string that a line of TOML sets `key` to.
fn value_of<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
    let value = value.trim_start();
    let quote = value
        .chars()
        .next()
        .filter(|first| "\"'".contains(*first))?;
    value[1..].split(quote).next()
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
    fn a_setting_is_read_as_toml_has_it() {
        for line in [
            "graphroot = \"/a b\" # \"no\"",
            "[storage]\n  graphroot='/a b'",
            "# graphroot = \"/no\"\ngraphroot_other = \"/no\"\ngraphroot=\"/a b\"",
        ] {
            assert_eq!(
                setting(line, "graphroot").as_deref(),
                Some("/a b"),
                "{line}"
            );
        }
        for line in [
            "",
            "graphroot = \"\"",
            "#graphroot = \"/a\"",
            "graphroot = 5",
        ] {
            assert_eq!(setting(line, "graphroot"), None, "{line}");
        }
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
        assert_eq!(
            own("[engine]\nvolume_path = \"/v\"\n"),
            Some("volume_path = \"/v\"")
        );
        assert_eq!(
            own("seccomp_profile=\"/home/db/s\""),
            Some("seccomp_profile=\"/home/db/s\"")
        );
        assert_eq!(
            own("# volume_path = \"/v\"\n# /home/db\npids_limit = 0\n"),
            None
        );
    }
}
