//! The files of an account's units: quadlets, user units, and those of the system that run as it. Pure, but for
//! reading them.

use crate::unit_text::UnitText;
use anyhow::{Context, Result};
use host::{accounts::Account, boot};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Where an administrator's quadlets are, podman-systemd.unit(5).
pub const QUADLETS: &str = "/etc/containers/systemd";

/// Kinds of files that Podman's generator makes services of.
const QUADLET_KINDS: [&str; 7] = [
    "container",
    "volume",
    "network",
    "pod",
    "image",
    "build",
    "kube",
];
/// Kinds of units of systemd that a service is made of.
const UNIT_KINDS: [&str; 4] = ["service", "timer", "socket", "path"];

/// What reads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Podman's generator, for the account.
    Quadlet,
    /// Podman's generator, for the system; the file names the account.
    SystemQuadlet,
    /// The account's user manager.
    User,
    /// The system's manager; the file names the account.
    System,
}

/// A unit file, or a drop-in of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    pub place: Place,
    /// The directory that is searched.
    pub root: PathBuf,
    /// The file in there.
    pub relative: PathBuf,
    pub text: String,
}

impl UnitFile {
    pub fn path(&self) -> PathBuf {
        self.root.join(&self.relative)
    }

    /// The unit that it is, or is a drop-in of: `litellm.container`.
    pub fn unit(&self) -> &str {
        let path = self.drop_in_directory().unwrap_or(&self.relative);
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default();
        match self.is_drop_in() {
            true => name.strip_suffix(".d").unwrap_or(name),
            false => name,
        }
    }

    pub fn is_drop_in(&self) -> bool {
        self.drop_in_directory().is_some()
    }

    fn drop_in_directory(&self) -> Option<&Path> {
        self.relative
            .parent()
            .filter(|parent| parent.extension().is_some_and(|kind| kind == "d"))
    }

    /// The unit of systemd that comes of it.
    pub fn service(&self) -> String {
        service_of(self.unit(), &self.text)
    }

    /// Whether its unit is the system's.
    pub fn is_of_system(&self) -> bool {
        matches!(self.place, Place::System | Place::SystemQuadlet)
    }

    /// Where it goes for another account.
    pub fn place_for(&self, account: &Account) -> PathBuf {
        match self.place {
            Place::Quadlet | Place::SystemQuadlet => Path::new(QUADLETS)
                .join("users")
                .join(account.uid.to_string())
                .join(&self.relative),
            Place::User => user_units(account).join(&self.relative),
            Place::System => self.path(),
        }
    }
}

fn split(unit: &str) -> Option<(&str, &str)> {
    unit.rsplit_once('.')
}

fn is_known(unit: &str) -> bool {
    split(unit).is_some_and(|(_, kind)| QUADLET_KINDS.contains(&kind) || UNIT_KINDS.contains(&kind))
}

/// As Podman's generator names what it makes.
fn service_of(unit: &str, text: &str) -> String {
    let Some((stem, kind)) = split(unit) else {
        return unit.to_owned();
    };
    if !QUADLET_KINDS.contains(&kind) {
        return unit.to_owned();
    }
    if let Some(name) = UnitText::parse(text).service_name() {
        return format!("{name}.service");
    }
    match kind {
        "container" | "kube" => format!("{stem}.service"),
        _ => format!("{stem}-{kind}.service"),
    }
}

/// The unit of systemd that comes of a file, unless the file is a drop-in.
pub fn service_of_file(path: &Path, text: &str) -> Option<String> {
    let unit = path.file_name()?.to_str()?;
    is_known(unit).then(|| service_of(unit, text))
}

/// The name of the volume that a unit names, be it by its quadlet: `data.volume`.
pub fn volume_name(named: &str, files: &[&UnitFile]) -> String {
    let Some(stem) = named.strip_suffix(".volume") else {
        return named.to_owned();
    };
    let own = files.iter().filter(|file| file.unit() == named);
    let given = own.map(|file| UnitText::parse(&file.text));
    let given = given.filter_map(|text| text.last("Volume", "VolumeName").map(str::to_owned));
    given
        .into_iter()
        .next_back()
        .unwrap_or_else(|| format!("systemd-{stem}"))
}

/// Where an account's own units are.
pub fn user_units(account: &Account) -> PathBuf {
    account.home.join(".config/systemd/user")
}

/// Every unit file by which something runs as the account.
///
/// # Errors
/// When a directory is there and cannot be read.
pub fn of_account(account: &Account) -> Result<Vec<UnitFile>> {
    let own = Path::new(QUADLETS)
        .join("users")
        .join(account.uid.to_string());
    let mut found = vec![];
    read(Place::Quadlet, &own, &mut found)?;
    // A link that it made leads nowhere that it could not go.
    account.with_its_rights(|| {
        let quadlets = account.home.join(".config/containers/systemd");
        read(Place::Quadlet, &quadlets, &mut found)?;
        read(Place::User, &user_units(account), &mut found)
    })?;
    let mut of_system = vec![];
    read(Place::SystemQuadlet, QUADLETS.as_ref(), &mut of_system)?;
    of_system.retain(|file| !file.relative.starts_with("users"));
    read(Place::System, boot::UNITS.as_ref(), &mut of_system)?;
    let names_it = |file: &UnitFile| {
        let text = UnitText::parse(&file.text);
        let user = text.last("Service", "User");
        user.is_some_and(|user| user == account.name || user == account.uid.to_string())
    };
    let units: BTreeSet<_> = (of_system.iter())
        .filter(|file| names_it(file))
        .map(|file| (file.place, file.unit().to_owned()))
        .collect();
    of_system.retain(|file| units.contains(&(file.place, file.unit().to_owned())));
    found.extend(of_system);
    Ok(found)
}

fn read(place: Place, root: &Path, found: &mut Vec<UnitFile>) -> Result<()> {
    read_below(place, root, Path::new(""), found)
}

fn read_below(place: Place, root: &Path, below: &Path, found: &mut Vec<UnitFile>) -> Result<()> {
    let directory = root.join(below);
    if !directory.is_dir() {
        return Ok(());
    }
    let context = || format!("cannot read {}", directory.display());
    let mut entries: Vec<_> = fs::read_dir(&directory)
        .and_then(Iterator::collect)
        .with_context(context)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let relative = below.join(entry.file_name());
        let kind = entry.file_type().with_context(context)?;
        if kind.is_dir() {
            read_below(place, root, &relative, found)?;
            continue;
        }
        let mut file = UnitFile {
            place,
            root: root.to_owned(),
            relative,
            text: String::new(),
        };
        let fits = match file.is_drop_in() {
            true => file.relative.extension().is_some_and(|kind| kind == "conf"),
            // What wants or requires a unit is a link to it.
            false => !is_link_to_unit(&file.relative),
        };
        if !fits || !is_known(file.unit()) {
            continue;
        }
        // One that is masked, or whose target is gone, runs nothing.
        if let Ok(text) = fs::read_to_string(file.path())
            && !text.is_empty()
        {
            file.text = text;
            found.push(file);
        }
    }
    Ok(())
}

fn is_link_to_unit(relative: &Path) -> bool {
    let kind = relative.parent().and_then(Path::extension);
    kind.is_some_and(|kind| {
        ["wants", "requires", "upholds"]
            .iter()
            .any(|link| kind == *link)
    })
}

/// Of all files, those of the units named, of what they are made of, and their drop-ins.
///
/// # Errors
/// Names that no file has.
pub fn of_service<'f>(
    names: &[String],
    all: &'f [UnitFile],
) -> Result<Vec<&'f UnitFile>, Vec<String>> {
    let mut chosen = BTreeSet::new();
    let mut unknown = vec![];
    for name in names {
        let fits = |file: &&UnitFile| {
            let unit = file.unit();
            unit == name
                || !is_known(name) && split(unit).is_some_and(|(stem, _)| is_stem(stem, name))
        };
        let mains = all.iter().filter(|file| !file.is_drop_in());
        let found: Vec<_> = mains
            .filter(fits)
            .map(|file| file.unit().to_owned())
            .collect();
        if found.is_empty() {
            unknown.push(name.clone());
        }
        chosen.extend(found);
    }
    if !unknown.is_empty() {
        return Err(unknown);
    }
    while let Some(more) = parts(&chosen, all) {
        chosen.extend(more);
    }
    let services: BTreeSet<_> = (all.iter())
        .filter(|file| !file.is_drop_in() && chosen.contains(file.unit()))
        .map(UnitFile::service)
        .collect();
    let belongs = |file: &&UnitFile| {
        chosen.contains(file.unit()) || file.is_drop_in() && services.contains(file.unit())
    };
    Ok(all.iter().filter(belongs).collect())
}

/// `podman generate systemd` puts what it is before the name.
fn is_stem(stem: &str, name: &str) -> bool {
    let bare = ["container-", "pod-"]
        .iter()
        .find_map(|kind| stem.strip_prefix(kind));
    stem == name || bare == Some(name)
}

/// Quadlets that those chosen name and that are not among them yet.
fn parts(chosen: &BTreeSet<String>, all: &[UnitFile]) -> Option<Vec<String>> {
    let named: BTreeSet<_> = (all.iter())
        .filter(|file| chosen.contains(file.unit()))
        .flat_map(|file| UnitText::parse(&file.text).quadlets())
        .collect();
    let more: Vec<_> = (all.iter())
        .filter(|file| !file.is_drop_in())
        .map(|file| file.unit().to_owned())
        .filter(|unit| named.contains(unit) && !chosen.contains(unit))
        .collect();
    (!more.is_empty()).then_some(more)
}

/// Who else names a unit of the service, and so would be without it: unit, and what it names.
pub fn shared<'f>(service: &[&UnitFile], all: &'f [UnitFile]) -> Vec<(&'f UnitFile, String)> {
    let own: BTreeSet<_> = service.iter().map(|file| file.unit()).collect();
    let others = all.iter().filter(|file| !service.contains(file));
    others
        .flat_map(|file| {
            let named = UnitText::parse(&file.text).quadlets();
            named.into_iter().map(move |unit| (file, unit))
        })
        .filter(|(_, unit)| own.contains(unit.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(relative: &str, text: &str) -> UnitFile {
        UnitFile {
            place: Place::Quadlet,
            root: "/q".into(),
            relative: relative.into(),
            text: text.to_owned(),
        }
    }

    fn all() -> Vec<UnitFile> {
        vec![
            file("container-old.service", "[Service]\n"),
            file(
                "db.container",
                "[Container]\nVolume=db.volume:/var/lib/mysql\nPod=shop.pod\n",
            ),
            file(
                "db.container.d/10-more.conf",
                "[Container]\nNetwork=back.network:alias=x\n",
            ),
            file("db.service.d/10-more.conf", "[Service]\nNice=5\n"),
            file("db.volume", "[Volume]\n"),
            file("sub/back.network", "[Network]\n"),
            file("shop.pod", "[Pod]\n"),
            file("web.container", "[Container]\nPod=shop.pod\n"),
            file("db.timer", "[Timer]\n"),
        ]
    }

    fn chosen(names: &[&str]) -> Result<Vec<String>, Vec<String>> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let all = all();
        let found = of_service(&names, &all)?;
        Ok(found
            .iter()
            .map(|file| file.relative.display().to_string())
            .collect())
    }

    #[test]
    fn a_service_is_its_units_their_parts_and_their_drop_ins() {
        let whole = [
            "db.container",
            "db.container.d/10-more.conf",
            "db.service.d/10-more.conf",
            "db.volume",
            "sub/back.network",
            "shop.pod",
        ];
        assert_eq!(chosen(&["db.container"]).unwrap(), whole);
        assert_eq!(
            chosen(&["db"]).unwrap(),
            [&whole[..], &["db.timer"]].concat()
        );
        assert_eq!(chosen(&["db", "db.container"]), chosen(&["db"]));
        assert_eq!(chosen(&["old"]).unwrap(), ["container-old.service"]);
        assert_eq!(chosen(&["db", "nothing"]), Err(vec!["nothing".to_owned()]));
    }

    #[test]
    fn what_others_use_too_is_told() {
        let all = all();
        let service = of_service(&["db".to_owned()], &all).unwrap();
        let shared = shared(&service, &all);
        let shared: Vec<_> = shared
            .iter()
            .map(|(file, unit)| (file.unit(), unit.as_str()))
            .collect();
        assert_eq!(shared, [("web.container", "shop.pod")]);
    }

    #[test]
    fn services_have_the_names_that_the_generator_gives() {
        for (unit, text, service) in [
            ("db.container", "", "db.service"),
            ("db.volume", "", "db-volume.service"),
            ("db.pod", "", "db-pod.service"),
            ("db.pod", "[Pod]\nServiceName=shop\n", "shop.service"),
            ("db.timer", "", "db.timer"),
        ] {
            assert_eq!(file(unit, text).service(), service);
        }
    }

    #[test]
    fn files_are_found_where_they_are_and_links_that_want_them_are_none() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        fs::create_dir_all(root.join("a.service.d")).unwrap();
        fs::create_dir_all(root.join("default.target.wants")).unwrap();
        for (name, text) in [
            ("a.service", "[Service]\n"),
            ("a.service.d/x.conf", "[Service]\n"),
            ("a.service.d/x.old", "[Service]\n"),
            ("a.service.moved-to-b", "[Service]\n"),
            ("empty.service", ""),
            ("default.target.wants/a.service", "[Service]\n"),
        ] {
            fs::write(root.join(name), text).unwrap();
        }
        let mut found = vec![];
        read(Place::User, root, &mut found).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|file| file.relative.to_str().unwrap())
            .collect();
        assert_eq!(found, ["a.service", "a.service.d/x.conf"]);
    }
}
