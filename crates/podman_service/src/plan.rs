//! From what is asked and what is there to the steps, or why not. Pure.

mod back;
mod copies;
mod data;
mod store;

pub use back::back;
pub use data::{Data, Tree};

use crate::{
    args::Args,
    observed::{Observed, Party},
    rewrite::Rewrites,
    step::{Change, Expected, ExpectedContainer, Side, Step, Unit, What},
    unit_text::UnitText,
    units::{self, Place, UnitFile},
};
use host::{accounts::Account, logind, podman};
use idmap::IdMaps;
use rechown::Policy;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// What will be done.
#[derive(Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub warnings: Vec<String>,
    /// The trees whose ids have to be looked at before anything stops, and how.
    pub survey: Option<(Vec<PathBuf>, IdMaps, Policy)>,
}

/// What has been gathered on the way to a plan.
struct Draft<'a> {
    args: &'a Args,
    observed: &'a Observed,
    files: Vec<&'a UnitFile>,
    containers: Vec<&'a podman::Container>,
    maps: IdMaps,
    steps: Vec<What>,
    refusals: Vec<String>,
    warnings: Vec<String>,
}

/// The suffix of a unit file that stays behind: nothing reads a file of that name.
pub fn hidden(path: &Path, to: &Account) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".moved-to-{}", to.name));
    name.into()
}

/// The ids of one account's containers as those of the other's.
///
/// # Errors
/// When an account has no ranges, or one that holds its own id.
pub fn maps(from: &Party, to: &Party) -> Result<IdMaps, idmap::Error> {
    let of = |party: &Party| {
        Ok(IdMaps {
            uid: idmap::rootless_podman(party.account.uid, &party.uids)?,
            gid: idmap::rootless_podman(party.account.gid, &party.gids)?,
        })
    };
    Ok(of(to)?.compose(&of(from)?.invert()))
}

/// The services, by their units at the new account, of a move that was made.
pub fn is_moved(args: &Args, observed: &Observed) -> bool {
    let there = units::of_service(&args.units(), &observed.to.files).is_ok();
    observed.record.is_some() && there
}

/// The move.
///
/// # Errors
/// Everything that stands in its way.
pub fn plan(args: &Args, observed: &Observed) -> Result<Plan, Vec<String>> {
    if is_moved(args, observed) {
        return Ok(Plan::default());
    }
    let maps = sides(args, observed)?;
    let files = units::of_service(&args.units(), &observed.from.files).map_err(|unknown| {
        let is = |name| format!("{} has no unit {name}", observed.from.account.name);
        unknown.iter().map(is).collect::<Vec<_>>()
    })?;
    let containers = of_units(observed, &files);
    let mut draft = Draft {
        args,
        observed,
        files,
        containers,
        maps,
        steps: vec![What::Guard],
        refusals: vec![],
        warnings: vec![],
    };
    draft.units();
    let data = draft.data();
    // Images are pulled with the account's settings and logins.
    draft.copies(&data);
    draft.store();
    draft.volumes(&data);
    let own = What::Own(store::own(&draft.files));
    draft.steps.push(own);
    draft.move_all(&data);
    let Draft {
        mut steps,
        refusals,
        warnings,
        maps,
        ..
    } = draft;
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let step = |what| Step {
        from: observed.from.account.clone(),
        to: observed.to.account.clone(),
        what,
    };
    let record = What::Record {
        name: args.name.clone(),
        steps: Some(steps.iter().cloned().map(step).collect()),
    };
    steps.push(record);
    Ok(Plan {
        steps: steps.into_iter().map(step).collect(),
        warnings,
        survey: Some((data.before(), maps, args.policy())),
    })
}

/// What has to be so of the accounts themselves.
fn sides(args: &Args, observed: &Observed) -> Result<IdMaps, Vec<String>> {
    let (from, to) = (&observed.from, &observed.to);
    if observed.nixos {
        return Err(vec![
            "on NixOS units, accounts and secrets are what the system's configuration declares; \
             change containerUser there, and only move the data"
                .to_owned(),
        ]);
    }
    let mut refusals = vec![];
    if !to.lingers {
        refusals.push(format!(
            "{} does not linger, so nothing of it runs at boot: loginctl enable-linger {0}",
            args.to
        ));
    }
    if !to.overlaps.is_empty() {
        refusals.push(format!(
            "the subordinate ids of {} are not its own, so it would not be kept from the others' files: {}",
            args.to,
            to.overlaps.join(", ")
        ));
    }
    match maps(from, to) {
        Ok(maps) if refusals.is_empty() => Ok(maps),
        Ok(_) => Err(refusals),
        Err(error) => {
            refusals.push(format!(
                "the subordinate ids of {} and {} do not fit: {error}",
                args.from, args.to
            ));
            Err(refusals)
        }
    }
}

/// The containers that the units run: those that name one of them, or are named by one.
pub fn of_units<'o>(observed: &'o Observed, files: &[&UnitFile]) -> Vec<&'o podman::Container> {
    let own = store::own(files);
    let containers = observed.containers.iter();
    containers
        .filter(|it| own.runs(&it.name, &it.config.labels))
        .collect()
}

impl Draft<'_> {
    fn refuse(&mut self, reason: impl Into<String>) {
        self.refusals.push(reason.into());
    }

    fn texts(&self) -> Vec<UnitText> {
        let texts = self.files.iter().map(|file| UnitText::parse(&file.text));
        texts.collect()
    }

    /// What the units themselves have in them that cannot go along.
    fn units(&mut self) {
        for (file, unit) in units::shared(&self.files, &self.observed.from.files) {
            self.refuse(format!(
                "{} names {unit} too: move both in one, with units: [..., {}]",
                file.path().display(),
                file.unit()
            ));
        }
        for file in self.files.clone() {
            let text = UnitText::parse(&file.text);
            let path = file.path();
            let path = path.display();
            if file.unit().ends_with(".kube") {
                self.refuse(format!(
                    "what {path} needs is in its YAML, which cannot be moved; write it as .pod and .container"
                ));
            }
            if text.runs_podman() && of_units(self.observed, &[file]).is_empty() {
                self.refuse(format!(
                    "what {path} needs is seen by its container, and that is not there now: start it, and try again"
                ));
            }
            for mode in text.user_namespaces() {
                let known = ["keep-id", "nomap", "host", ""];
                let kind = mode.split(':').next().unwrap_or_default();
                if !known.contains(&kind) {
                    self.refuse(format!(
                        "{path} has UserNS={mode}: which ids its files have is known to Podman alone; \
                         keep-id, nomap, host and none can be moved"
                    ));
                }
            }
            for map in text.id_maps() {
                // Plain numbers are ids of the account's own namespace, which stay what they are.
                if map.contains('@') || !map.starts_with(|letter: char| letter.is_ascii_digit()) {
                    self.refuse(format!(
                        "{path} maps ids by \"{map}\", which names ids of the host or of the account"
                    ));
                }
            }
            if hidden_is_there(self.observed, file) {
                self.refuse(format!(
                    "{} is there from an earlier move; remove it",
                    hidden(&file.path(), &self.observed.to.account).display()
                ));
            }
        }
    }

    /// Every path in the units, the home's specifier resolved.
    fn named_paths(&self) -> BTreeSet<PathBuf> {
        let home = &self.observed.from.account.home;
        let named = self.texts().into_iter().flat_map(|text| text.paths());
        named.map(|path| resolved(&path, home)).collect()
    }

    /// Stop, move, start, see.
    fn move_all(&mut self, data: &Data) {
        let mains: Vec<_> = (self.files.iter())
            .filter(|file| !file.is_drop_in())
            .copied()
            .collect();
        let is_active = |file: &&&UnitFile| {
            let state = self.observed.states.get(&file.service());
            state.is_some_and(|state| state.active == "active")
        };
        let unit = |file: &UnitFile, side: Side| Unit {
            name: file.service(),
            system: match file.place {
                Place::System => true,
                Place::SystemQuadlet => side == Side::Old,
                Place::Quadlet | Place::User => false,
            },
        };
        let active: Vec<_> = mains.iter().filter(is_active).copied().collect();
        let units = |side| {
            active
                .iter()
                .map(|file| unit(file, side))
                .collect::<Vec<_>>()
        };
        if active.is_empty() {
            self.warnings.push(format!(
                "{} does not run, and so is moved without being started",
                self.args.name
            ));
        }
        let enabled: Vec<_> = (mains.iter())
            .filter(|file| {
                let state = self.observed.states.get(&file.service());
                file.place == Place::User && state.is_some_and(|state| state.file == "enabled")
            })
            .map(|file| unit(file, Side::Old))
            .collect();
        let mut steps = vec![What::Stop {
            side: Side::Old,
            units: units(Side::Old),
            trees: data.before(),
        }];
        if !enabled.is_empty() {
            steps.push(What::Disable {
                side: Side::Old,
                units: enabled.clone(),
            });
        }
        // Those that keep their place too: after a reboot in the middle nothing may start.
        steps.push(What::Hide {
            files: self.files.iter().map(|file| file.path()).collect(),
        });
        if !data.moves().is_empty() {
            steps.push(What::Move {
                side: Side::New,
                trees: data.moves(),
            });
        }
        if !data.trees.is_empty() {
            steps.push(What::Shift {
                trees: data.after(),
                maps: self.maps.clone(),
                policy: self.args.policy(),
            });
        }
        steps.push(What::Write {
            changes: self.changes(),
        });
        if !enabled.is_empty() {
            steps.push(What::Enable {
                side: Side::New,
                units: enabled,
            });
        }
        steps.push(What::Start {
            side: Side::New,
            units: units(Side::New),
            trees: data.after(),
        });
        let expected = self.expected(units(Side::New));
        steps.push(What::Verify {
            side: Side::New,
            expected,
        });
        self.steps.extend(steps);
    }

    fn changes(&mut self) -> Vec<Change> {
        let (from, to) = (&self.observed.from, &self.observed.to);
        let rewrites = Rewrites {
            paths: vec![
                (from.account.home.clone(), to.account.home.clone()),
                (
                    from.account.runtime_directory(),
                    to.account.runtime_directory(),
                ),
                (self.args.secrets_from(), self.args.secrets_to()),
            ],
            keep_id: (from.account.uid, from.account.gid),
            users: (from.account.name.clone(), to.account.name.clone()),
            groups: (from.group.clone(), to.group.clone()),
            managers: (
                logind::manager(from.account.uid),
                logind::manager(to.account.uid),
            ),
        };
        let mut changes = vec![];
        let mut refusals = vec![];
        for file in &self.files {
            let path = file.place_for(&to.account);
            if file.place != Place::System && to.files.iter().any(|other| other.path() == path) {
                refusals.push(format!("{} is there already", path.display()));
            }
            let text = rewrites.apply(&file.text, file.place);
            for missed in rewrites.missed(&text) {
                refusals.push(format!(
                    "{} names {} of {}, which cannot be changed as it is written; write it without \"//\" and \"/./\"",
                    file.path().display(),
                    missed.display(),
                    from.account.name
                ));
            }
            changes.push(Change {
                path,
                place: file.place,
                before: None,
                after: Some(text),
            });
        }
        self.refusals.extend(refusals);
        changes
    }

    fn expected(&mut self, units: Vec<Unit>) -> Expected {
        let mut containers = BTreeMap::new();
        for container in self.containers.clone() {
            let Some(maps) = self.observed.maps.get(&container.name) else {
                continue;
            };
            let has_check = container.config.healthcheck.is_some();
            let healthy = container.state.health.status == "healthy";
            if has_check && !healthy {
                self.warnings.push(format!(
                    "container {} is {}, not healthy, already before the move",
                    container.name, container.state.health.status
                ));
            }
            let expected = ExpectedContainer {
                healthy: self.args.health && has_check && healthy,
                maps: self.maps.compose(maps),
            };
            containers.insert(container.name.clone(), expected);
        }
        Expected {
            units,
            containers,
            ports: self.args.ports.clone().unwrap_or_default(),
            urls: self.args.urls.clone().unwrap_or_default(),
            complaints: (self.args.check_log).then(|| self.observed.complaints.clone()),
        }
    }
}

fn hidden_is_there(observed: &Observed, file: &UnitFile) -> bool {
    let path = hidden(&file.path(), &observed.to.account);
    let facts = observed.paths.get(&path);
    facts.is_some_and(|facts| facts.kind != crate::observed::Kind::Missing)
}

/// A path as a unit writes it.
pub fn resolved(path: &Path, home: &Path) -> PathBuf {
    match path.strip_prefix("%h") {
        Ok(below) => home.join(below),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests;
