//! Reads the host; changes nothing.

use crate::{
    args::Args,
    log,
    observed::{Facts, Kind, Observed, Party, UnitState},
    plan, record,
    unit_text::UnitText,
    units::{self, UnitFile},
};
use anyhow::{Context, Result, ensure};
use host::{
    accounts::{self, Account},
    files, groups, logind, mounts,
    podman::{self, Container, Podman},
    systemd::Manager,
    user_namespace,
};
use idmap::subid::Entry;
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long one question to Podman may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What there is of a service and the two accounts.
///
/// # Errors
/// When an account is missing, or Podman does not answer.
pub fn observe(args: &Args) -> Result<Observed> {
    let (from, to) = (party(&args.from)?, party(&args.to)?);
    let record = record::read(&args.name)?;
    let files = units::of_service(&args.units(), &from.files).unwrap_or_default();
    let old = Podman {
        account: &from.account,
        timeout: PATIENCE,
    };
    let new = Podman {
        account: &to.account,
        timeout: PATIENCE,
    };
    let texts: Vec<_> = files
        .iter()
        .map(|file| UnitText::parse(&file.text))
        .collect();
    let mut containers = vec![];
    if from.store.exists() && !files.is_empty() {
        let runtime = from.account.runtime_directory();
        ensure!(
            runtime.exists(),
            "{} has no {}: it neither lingers nor is logged in, so its containers cannot be asked for",
            args.from,
            runtime.display()
        );
        containers = old.containers()?;
    }
    let mut observed = Observed {
        nixos: Path::new("/etc/NIXOS").exists(),
        states: states(&from.account, &files)?,
        containers,
        maps: BTreeMap::new(),
        images: BTreeMap::new(),
        volumes: BTreeMap::new(),
        networks: BTreeMap::new(),
        secrets: BTreeMap::new(),
        logins: (logins(&from.account)?, logins(&to.account)?),
        paths: BTreeMap::new(),
        configuration: configuration(&from.account, &to.account)?,
        complaints: vec![],
        record,
        from: from.clone(),
        to: to.clone(),
    };
    let own: Vec<Container> = plan::of_units(&observed, &files)
        .into_iter()
        .cloned()
        .collect();
    observed.maps = maps(&own)?;
    observed.complaints = log::complaints(&from.account, &services(&files), &own, None)?;
    // Nor is one asked that has no session; such a move is refused.
    let there = to.store.exists() && to.account.runtime_directory().exists();
    for name in images(&texts, &own) {
        let image = match there {
            true => new.image(&name)?,
            false => None,
        };
        observed
            .images
            .insert(name.clone(), (old.image(&name)?, image));
    }
    for name in volumes(&texts, &own, &files, args) {
        let taken = there && new.volume(&name)?.is_some();
        observed
            .volumes
            .insert(name.clone(), (old.volume(&name)?, taken));
    }
    let networks = own
        .iter()
        .flat_map(|container| container.network_settings.networks.keys());
    for name in networks.collect::<BTreeSet<_>>() {
        let network = match there {
            true => new.network(name)?,
            false => None,
        };
        observed
            .networks
            .insert(name.clone(), (old.network(name)?, network));
    }
    for name in texts.iter().flat_map(UnitText::secrets) {
        let taken = there && new.has_secret(&name)?;
        observed
            .secrets
            .insert(name.clone(), (old.has_secret(&name)?, taken));
    }
    for path in paths(&observed, &texts, &own, &files, args) {
        let facts = facts(&path, &to)?;
        observed.paths.insert(path, facts);
    }
    Ok(observed)
}

fn party(name: &str) -> Result<Party> {
    let account = accounts::find(name)?.with_context(|| format!("there is no account {name}"))?;
    let ranges = |kind| -> Result<_> {
        Ok(accounts::subids(kind)?.ranges_of(&account.name, Some(account.uid)))
    };
    let mut overlaps = vec![];
    for kind in [accounts::Kind::Uid, accounts::Kind::Gid] {
        let subids = accounts::subids(kind)?;
        let is_own = |owner: &str| owner == name || owner == account.uid.to_string();
        let pairs = subids.overlaps().into_iter();
        let pairs = pairs.filter(|(one, other)| is_own(&one.owner) != is_own(&other.owner));
        overlaps.extend(pairs.map(|(one, other)| {
            let line = |entry: &Entry| format!("{}:{}", entry.owner, entry.range);
            format!("{} and {} in {}", line(one), line(other), kind.path())
        }));
    }
    let podman = Podman {
        account: &account,
        timeout: PATIENCE,
    };
    // An account that never used Podman has no store, and gets none by being asked, unless its settings may name
    // another place for volumes.
    let store = podman::store::store(&account)?;
    let settings = account.home.join(".config/containers/containers.conf");
    let is_set_up = store.exists() || settings.exists();
    let volumes_root = match is_set_up && account.runtime_directory().exists() {
        true => podman.volumes_root()?,
        false => store.join("volumes"),
    };
    Ok(Party {
        group: groups::name_of(account.gid)?
            .with_context(|| format!("there is no group {}, {name}'s", account.gid))?,
        uids: ranges(accounts::Kind::Uid)?,
        gids: ranges(accounts::Kind::Gid)?,
        lingers: logind::lingers(name),
        files: units::of_account(&account)?,
        store,
        volumes_root,
        overlaps,
        account,
    })
}

fn services(files: &[&UnitFile]) -> Vec<String> {
    let mains = files.iter().filter(|file| !file.is_drop_in());
    mains.map(|file| file.service()).collect()
}

fn states(account: &Account, files: &[&UnitFile]) -> Result<BTreeMap<String, UnitState>> {
    let mut states = BTreeMap::new();
    for file in files.iter().filter(|file| !file.is_drop_in()) {
        let manager = match file.is_of_system() {
            true => Manager::System,
            false => Manager::Of(account),
        };
        let service = file.service();
        let state = UnitState {
            active: manager.active_state(&service)?,
            file: manager.unit_file_state(&service)?,
        };
        states.insert(service, state);
    }
    Ok(states)
}

fn maps(containers: &[Container]) -> Result<BTreeMap<String, idmap::IdMaps>> {
    let running = containers
        .iter()
        .filter(|container| container.state.pid != 0);
    running
        .map(|container| {
            let maps = user_namespace::maps_of(container.state.pid)?;
            Ok((container.name.clone(), maps))
        })
        .collect()
}

fn images(texts: &[UnitText], containers: &[Container]) -> BTreeSet<String> {
    let of_containers = containers
        .iter()
        .map(|container| container.image_name.clone());
    let of_units = texts.iter().flat_map(UnitText::images).map(str::to_owned);
    let all = of_containers.chain(of_units);
    all.filter(|name| !name.is_empty()).collect()
}

fn volumes(
    texts: &[UnitText],
    containers: &[Container],
    files: &[&UnitFile],
    args: &Args,
) -> BTreeSet<String> {
    let mounts = containers.iter().flat_map(|container| &container.mounts);
    let mounts = mounts.filter(|mount| mount.kind == "volume");
    let mounts = mounts.map(|mount| mount.name.clone());
    let named = texts.iter().flat_map(UnitText::mounted);
    let named = named.filter(|source| !source.starts_with(['/', '%']));
    let named = named.map(|source| units::volume_name(&source, files));
    let wanted = args.volumes.iter().flatten().cloned();
    mounts.chain(named).chain(wanted).collect()
}

/// Everything whose owner, kind and place may matter.
fn paths(
    observed: &Observed,
    texts: &[UnitText],
    containers: &[Container],
    files: &[&UnitFile],
    args: &Args,
) -> BTreeSet<PathBuf> {
    let home = &observed.from.account.home;
    let named = texts.iter().flat_map(UnitText::paths);
    let mut paths: BTreeSet<_> = named.map(|path| plan::resolved(&path, home)).collect();
    let mounts = containers.iter().flat_map(|container| &container.mounts);
    paths.extend(mounts.map(|mount| mount.source.clone()));
    let volumes = observed
        .volumes
        .values()
        .filter_map(|(volume, _)| volume.as_ref());
    paths.extend(volumes.map(|volume: &podman::Volume| volume.mountpoint.clone()));
    paths.extend(args.data_directories.iter().flatten().cloned());
    paths.extend(
        files
            .iter()
            .map(|file| plan::hidden(&file.path(), &observed.to.account)),
    );
    paths.retain(|path| path.is_absolute());
    // Where they would go.
    let below = paths.iter().filter_map(|path| path.strip_prefix(home).ok());
    let targets: Vec<_> = below
        .map(|below| observed.to.account.home.join(below))
        .collect();
    paths.extend(targets);
    paths.extend([
        observed.to.account.home.clone(),
        observed.to.volumes_root.clone(),
    ]);
    paths
}

fn facts(path: &Path, to: &Party) -> Result<Facts> {
    let Ok(meta) = fs::metadata(path) else {
        let there = path.ancestors().find(|above| above.exists());
        return Ok(Facts {
            kind: Kind::Missing,
            uid: 0,
            gid: 0,
            mode: 0,
            mount: mounts::of_path(there.unwrap_or(Path::new("/")))?.id,
            mounted: None,
            real: path.to_owned(),
            blocked_by: None,
        });
    };
    let real = fs::canonicalize(path).with_context(|| path.display().to_string())?;
    let kind = match meta.file_type() {
        kind if kind.is_dir() => Kind::Directory,
        kind if kind.is_file() => Kind::File,
        _ => Kind::Other,
    };
    Ok(Facts {
        kind,
        uid: meta.uid(),
        gid: meta.gid(),
        mode: meta.mode() & 0o7777,
        mount: mounts::of_path(&real)?.id,
        mounted: mounts::first_below(&real)?,
        blocked_by: blocked_by(&real, to)?,
        real,
    })
}

/// The first directory above it through which the account cannot pass.
fn blocked_by(path: &Path, to: &Party) -> Result<Option<PathBuf>> {
    for above in path.ancestors().skip(1) {
        let meta = fs::metadata(above).with_context(|| above.display().to_string())?;
        let passes = match (meta.uid() == to.account.uid, meta.gid() == to.account.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        if meta.mode() & passes == 0 {
            return Ok(Some(above.to_owned()));
        }
    }
    Ok(None)
}

/// The registries that an account has credentials for.
fn logins(account: &Account) -> Result<BTreeSet<String>> {
    Ok(credentials(account)?
        .into_iter()
        .map(|(registry, _)| registry)
        .collect())
}

/// An account's credentials, by registry, containers-auth.json(5).
///
/// # Errors
/// When a file is there and cannot be read.
pub fn credentials(account: &Account) -> Result<Map<String, Value>> {
    let mut found = Map::new();
    for path in login_files(account) {
        let read = || files::read_text_optional(&path);
        let text = account.with_its_rights(read)?.unwrap_or_default();
        let file: Value = serde_json::from_str(&text).unwrap_or_default();
        for (registry, login) in file["auths"].as_object().into_iter().flatten() {
            found.entry(registry).or_insert_with(|| login.clone());
        }
    }
    Ok(found)
}

/// The one that counts first.
fn login_files(account: &Account) -> [PathBuf; 3] {
    [
        account.runtime_directory().join("containers/auth.json"),
        account.home.join(".config/containers/auth.json"),
        account.home.join(".docker/config.json"),
    ]
}

/// Podman's own settings of the one account that the other lacks. Where the store is and who may log in is each
/// one's own.
fn configuration(from: &Account, to: &Account) -> Result<BTreeMap<PathBuf, Option<String>>> {
    let [old, new] = [from, to].map(|account| account.home.join(".config/containers"));
    let mut found = BTreeMap::new();
    for directory in ["", "containers.conf.d", "registries.conf.d"] {
        let Ok(entries) = fs::read_dir(old.join(directory)) else {
            continue;
        };
        for entry in entries {
            let entry = entry.with_context(|| old.display().to_string())?;
            let file = Path::new(directory).join(entry.file_name());
            let own = ["auth.json", "storage.conf"]
                .iter()
                .any(|name| file == Path::new(name));
            if !own && old.join(&file).is_file() && !new.join(&file).exists() {
                let read = || files::read_text_optional(&old.join(&file));
                let text = from.with_its_rights(read)?.unwrap_or_default();
                found.insert(file, podman::store::own_place(&text, &from.home));
            }
        }
    }
    Ok(found)
}

/// Whether an account's user manager answers.
pub fn manager_answers(account: &Account) -> bool {
    let bus = account.runtime_directory().join("bus");
    let manager = Manager::Of(account);
    bus.exists() && manager.property("default.target", "LoadState").is_ok()
}
