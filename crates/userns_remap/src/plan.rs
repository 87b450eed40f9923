//! From what is asked and what is there to the steps, the refusals and the warnings. Pure.

use crate::{
    args::{Args, CarryOver, State},
    config,
    layout::{self, Keep},
    observe::Observed,
    order::start_order,
    range::{self, Choice},
    record::Record,
    refuse,
    step::{Configure, Direction, Inventory, Running, Step},
};
use anyhow::{Context, Result};
use idmap::IdMaps;
use std::path::{Path, PathBuf};

/// What will be done.
#[derive(Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Not empty: nothing is done.
    pub refusals: Vec<String>,
    pub warnings: Vec<String>,
    /// Container ids to host ids, as they will be; `None` when plain.
    pub maps: Option<IdMaps>,
    /// The data root in use afterwards.
    pub data_root: PathBuf,
    /// The trees whose ids have to be looked at before anything stops.
    pub shift: Option<Shift>,
}

/// What is going to be shifted, seen from before the change.
#[derive(Debug)]
pub struct Shift {
    pub engine_root: PathBuf,
    pub keep: Keep,
    pub maps: IdMaps,
    pub direction: Direction,
}

/// The date for backup names is the caller's: this room knows no clock.
pub fn plan(args: &Args, observed: &Observed, stamp: &str) -> Result<Plan> {
    match args.state {
        State::Enabled => enable(args, observed, stamp),
        State::Disabled => disable(args, observed, stamp),
    }
}

fn enable(args: &Args, observed: &Observed, stamp: &str) -> Result<Plan> {
    let choice = range::choose(args, &observed.ids)?;
    let target = layout_root(&observed.data_root, choice.ids());
    if let Some(ids) = observed.remapped {
        return already_remapped(args, observed, choice, ids);
    }
    let after = config::with_remap(observed.config.as_deref(), Some(&args.user))?;
    let mut plan = Plan {
        warnings: bind_warnings(observed, choice.ids().0),
        refusals: refuse::engine(observed),
        maps: Some(choice.maps.clone()),
        data_root: target.clone(),
        ..Plan::default()
    };
    if args.user != "default" && observed.ids.account.is_none() {
        plan.refusals.push(format!(
            "there is no account {}; make it first, or leave `user` at default",
            observed.ids.name
        ));
    }
    plan.refusals.extend(refuse::closed(observed));
    let configure = configure(args, observed, after, stamp, Wanted::Remember);
    let account = Step::Account {
        name: observed.ids.name.clone(),
        create: observed.ids.account.is_none(),
        ranges: choice.add.clone(),
    };
    let change = Change {
        observed,
        args,
        from: &observed.data_root,
        to: &target,
        ids: choice.ids(),
        maps: choice.maps.clone(),
        direction: Direction::ToRemapped,
    };
    if args.carry_over == CarryOver::InPlace {
        plan.refusals
            .extend(refuse::not_remappable(&observed.containers));
        plan.refusals
            .extend(refuse::shared_volumes(&observed.containers));
        plan.refusals
            .extend(refuse::unknown(&observed.root, &observed.data_root));
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let inside = observed.remapped_roots.get(&*name).into_iter().flatten();
        plan.refusals.extend(refuse::occupied(inside, &target));
    } else {
        plan.warnings.push(masked(observed));
    }
    if account_needed(&account) {
        plan.steps.push(account);
    }
    change.plan(configure, &mut plan);
    Ok(plan)
}

fn disable(args: &Args, observed: &Observed, stamp: &str) -> Result<Plan> {
    let mut plan = Plan {
        data_root: observed.data_root.clone(),
        ..Plan::default()
    };
    let after = unconfigured(observed)?;
    let configure = configure(args, observed, after, stamp, Wanted::Forget);
    let Some(ids) = observed.remapped else {
        // The file may say so without the engine having been restarted: then only the file changes.
        if observed.configured.is_some() {
            plan.steps.push(Step::Configure(configure));
        }
        return Ok(plan);
    };
    let maps = active_maps(observed, ids)?;
    plan.refusals = refuse::engine(observed);
    let from = layout_root(&observed.data_root, ids);
    let change = Change {
        observed,
        args,
        from: &from,
        to: &observed.data_root,
        ids,
        maps: maps.invert(),
        direction: Direction::ToPlain,
    };
    if args.carry_over == CarryOver::InPlace {
        let old = observed
            .root
            .iter()
            .filter(|entry| layout::remapped_root(&entry.name).is_none());
        plan.refusals
            .extend(refuse::occupied(old, &observed.data_root));
    } else {
        plan.warnings.push(masked(observed));
    }
    change.plan(configure, &mut plan);
    Ok(plan)
}

/// The engine runs remapped: by the wanted ids, and there is nothing to do, or by others.
fn already_remapped(
    args: &Args,
    observed: &Observed,
    choice: Choice,
    ids: (u32, u32),
) -> Result<Plan> {
    let mut plan = Plan {
        data_root: observed.engine_root(),
        ..Plan::default()
    };
    let configured = observed.configured.as_deref();
    if configured != Some(&args.user) || choice.ids() != ids || !choice.add.is_empty() {
        plan.refusals.push(format!(
            "the engine already runs remapped, as {} from {}:{}; disable that first",
            configured.unwrap_or("nobody that the configuration file names"),
            ids.0,
            ids.1
        ));
    }
    plan.maps = Some(choice.maps);
    Ok(plan)
}

/// The maps that the running engine uses, read from the files and held against its root's name.
fn active_maps(observed: &Observed, ids: (u32, u32)) -> Result<IdMaps> {
    let account = &observed.ids;
    let uid = account.account.as_ref().map(|account| account.uid);
    let maps = IdMaps {
        uid: idmap::docker(&account.subuid.ranges_of(&account.name, uid))?,
        gid: idmap::docker(&account.subgid.ranges_of(&account.name, uid))?,
    };
    let found = (maps.uid.to_host(0), maps.gid.to_host(0));
    let agree = found == (Some(ids.0), Some(ids.1));
    agree.then_some(maps).with_context(|| {
        format!(
            "the engine runs remapped from {}:{}, but /etc/subuid and /etc/subgid give {} other ids now; \
             put its old ranges back before going back",
            ids.0, ids.1, account.name
        )
    })
}

/// The configuration without the key: what it was before `enabled`, byte for byte, unless somebody has
/// changed the file since.
fn unconfigured(observed: &Observed) -> Result<Option<String>> {
    match &observed.record {
        Some(record) if record.written == observed.config => Ok(record.original.clone()),
        _ => config::with_remap(observed.config.as_deref(), None),
    }
}

enum Wanted {
    Remember,
    Forget,
}

fn configure(
    args: &Args,
    observed: &Observed,
    after: Option<String>,
    stamp: &str,
    record: Wanted,
) -> Configure {
    let backup = args.backup && observed.config.is_some() && after != observed.config;
    Configure {
        path: args.config_file.clone(),
        before: observed.config.clone(),
        after: after.clone(),
        backup: backup.then(|| host::files::backup_path(&args.config_file, stamp)),
        record_before: observed.record.clone(),
        record_after: match record {
            Wanted::Forget => None,
            Wanted::Remember => Some(Record {
                config_file: args.config_file.clone(),
                original: observed.config.clone(),
                written: after,
            }),
        },
    }
}

fn account_needed(step: &Step) -> bool {
    matches!(step, Step::Account { create, ranges, .. } if *create || !ranges.is_empty())
}

fn layout_root(data_root: &Path, (uid, gid): (u32, u32)) -> PathBuf {
    data_root.join(format!("{uid}.{gid}"))
}

fn masked(observed: &Observed) -> String {
    format!(
        "carry_over=none: {} images, {} containers and {} volumes stay behind in {}; they are out of sight, not lost",
        observed.images.len(),
        observed.containers.len(),
        observed.volumes.len(),
        observed.engine_root().display()
    )
}

/// Bind mounts are the host's own files: their owners are not touched.
fn bind_warnings(observed: &Observed, uid: u32) -> Vec<String> {
    let remapped = observed
        .containers
        .iter()
        .filter(|container| container.host_config.userns_mode != "host");
    let binds = remapped.flat_map(|container| {
        let mounts = container
            .mounts
            .iter()
            .filter(|mount| mount.kind == "bind" && mount.writable);
        mounts.map(move |mount| (container, &mount.source))
    });
    binds
        .filter(|(_, source)| observed.owners.get(*source).is_some_and(|owner| *owner != uid))
        .map(|(container, source)| {
            format!(
                "container {} writes to {}, which keeps its owners on the host and shows as nobody's inside; \
                 shift it with volume_rechown if the container has to write there",
                container.name(),
                source.display()
            )
        })
        .collect()
}

/// One direction of the change, from one root to the other.
struct Change<'a> {
    observed: &'a Observed,
    args: &'a Args,
    from: &'a Path,
    to: &'a Path,
    ids: (u32, u32),
    maps: IdMaps,
    direction: Direction,
}

impl Change<'_> {
    fn plan(self, configure: Configure, plan: &mut Plan) {
        let Change {
            observed, from, to, ..
        } = self;
        let in_place = self.args.carry_over == CarryOver::InPlace;
        if in_place {
            plan.refusals.extend(refuse::carry_over(observed));
        }
        let running: Vec<_> = start_order(&observed.containers)
            .into_iter()
            .map(Running::of)
            .collect();
        // Units that stop with the engine have to be started again after it.
        let dependents = observed.dependents.iter().map(|(unit, _)| unit.clone());
        let units: Vec<_> = observed
            .active_units
            .iter()
            .cloned()
            .chain(dependents)
            .collect();
        plan.steps.extend([
            Step::Guard {
                needs: vec![observed.data_root.clone()],
            },
            Step::StopContainers {
                running: running.clone(),
            },
            Step::StopEngine {
                units: units.clone(),
            },
            Step::Hold,
            Step::ProveStopped {
                data_root: observed.data_root.clone(),
            },
        ]);
        if in_place {
            plan.steps.extend(self.convert());
            plan.shift = Some(Shift {
                engine_root: from.to_owned(),
                keep: refuse::kept(observed),
                maps: self.maps.clone(),
                direction: self.direction,
            });
        }
        plan.steps.extend([
            Step::Configure(configure),
            Step::Release,
            Step::StartEngine {
                units,
                expected_root: to.to_owned(),
            },
        ]);
        if in_place {
            let uid_start = match self.direction {
                Direction::ToRemapped => self.ids.0,
                Direction::ToPlain => 0,
            };
            plan.steps.extend([
                Step::VerifyInventory(Inventory::new(
                    observed.images.clone(),
                    &observed.containers,
                    &observed.networks,
                    &observed.volumes,
                )),
                Step::StartContainers { running, uid_start },
            ]);
        }
    }

    /// The data itself, while nothing runs.
    fn convert(&self) -> [Step; 4] {
        let (from, to) = (self.from.to_owned(), self.to.to_owned());
        [
            Step::MoveRoot {
                from: from.clone(),
                to: to.clone(),
            },
            Step::Own {
                engine_root: to.clone(),
                data_root: self.observed.data_root.clone(),
                ids: self.ids,
                direction: self.direction,
            },
            Step::Shift {
                engine_root: to.clone(),
                maps: self.maps.clone(),
                keep: refuse::kept(self.observed),
            },
            Step::RewriteContainers {
                engine_root: to.clone(),
                from,
                to,
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{args, container, entry, plain, remapped};
    use serde_json::json;

    const STAMP: &str = "2026-01-02@03:04:05";

    fn names(plan: &Plan) -> Vec<&str> {
        plan.steps.iter().map(Step::name).collect()
    }

    fn enabled(observed: &Observed) -> Plan {
        plan(&args(State::Enabled), observed, STAMP).unwrap()
    }

    fn disabled(observed: &Observed) -> Plan {
        plan(&args(State::Disabled), observed, STAMP).unwrap()
    }

    fn configured(plan: &Plan) -> &Configure {
        let found = plan.steps.iter().find_map(|step| match step {
            Step::Configure(change) => Some(change),
            _ => None,
        });
        found.unwrap()
    }

    #[test]
    fn enabling_takes_every_step_in_an_order_that_can_be_undone() {
        let plan = enabled(&plain());
        assert_eq!(plan.refusals, Vec::<String>::new());
        assert_eq!(
            names(&plan),
            [
                "account",
                "guard",
                "stop_containers",
                "stop_engine",
                "hold",
                "prove_stopped",
                "move_root",
                "own",
                "shift",
                "rewrite_containers",
                "configure",
                "release",
                "start_engine",
                "verify_inventory",
                "start_containers",
            ]
        );
        assert_eq!(plan.data_root, Path::new("/var/lib/docker/165536.165536"));
        let change = configured(&plan);
        assert_eq!(
            change.after.as_deref(),
            Some("{\n    \"userns-remap\": \"default\"\n}\n")
        );
        assert_eq!(change.record_after.as_ref().unwrap().original, None);
    }

    #[test]
    fn what_is_so_already_needs_no_step() {
        assert!(enabled(&remapped()).steps.is_empty() && enabled(&remapped()).refusals.is_empty());
        assert!(disabled(&plain()).steps.is_empty() && disabled(&plain()).refusals.is_empty());
    }

    #[test]
    fn an_engine_remapped_otherwise_is_refused() {
        let mut observed = remapped();
        observed.configured = Some("alice".to_owned());
        assert!(enabled(&observed).refusals[0].contains("alice"));
        let mut wish = args(State::Enabled);
        wish.user = "alice".to_owned();
        assert!(
            plan(&wish, &remapped(), STAMP).unwrap().refusals[0].contains("disable that first")
        );
    }

    #[test]
    fn an_account_that_is_there_with_its_ranges_is_left_alone() {
        let mut observed = plain();
        observed.ids = remapped().ids;
        observed.ids.account = Some(host::accounts::Account {
            name: "dockremap".to_owned(),
            uid: 999,
            gid: 999,
        });
        assert!(!names(&enabled(&observed)).contains(&"account"));
    }

    #[test]
    fn another_user_than_the_default_has_to_exist() {
        let mut wish = args(State::Enabled);
        wish.user = "carol".to_owned();
        let mut observed = plain();
        observed.ids.name = "carol".to_owned();
        assert!(plan(&wish, &observed, STAMP).unwrap().refusals[0].contains("no account carol"));
    }

    #[test]
    fn going_back_restores_the_file_byte_for_byte_unless_somebody_changed_it() {
        let mut observed = remapped();
        let original = Some("{\"a\":1 }".to_owned());
        observed.record = Some(Record {
            config_file: "/etc/docker/daemon.json".into(),
            original: original.clone(),
            written: observed.config.clone(),
        });
        let plan = disabled(&observed);
        assert_eq!(configured(&plan).after, original);
        assert_eq!(configured(&plan).record_after, None);
        observed.config = Some("{\"userns-remap\": \"default\", \"b\": 2}".to_owned());
        assert_eq!(
            configured(&disabled(&observed)).after.as_deref(),
            Some("{\n    \"b\": 2\n}\n")
        );
    }

    #[test]
    fn going_back_shifts_by_the_inverse_map() {
        let plan = disabled(&remapped());
        let shift = plan.shift.unwrap();
        assert_eq!(shift.maps.uid.to_host(165_536 + 999), Some(999));
        assert_eq!(
            shift.engine_root,
            Path::new("/var/lib/docker/165536.165536")
        );
        assert!(
            !plan.steps.iter().any(|step| step.name() == "account"),
            "its range stays its own"
        );
    }

    #[test]
    fn ids_that_changed_since_are_refused_on_the_way_back() {
        let mut observed = remapped();
        observed.ids.subuid = idmap::subid::Subids::parse(b"dockremap:300000:65536");
        let said = plan(&args(State::Disabled), &observed, STAMP)
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("165536") && said.contains("put its old ranges back"),
            "{said}"
        );
    }

    #[test]
    fn former_attempts_are_refused_in_both_directions() {
        let mut observed = plain();
        observed
            .remapped_roots
            .insert("165536.165536".to_owned(), vec![entry("volumes")]);
        assert!(enabled(&observed).refusals[0].contains("165536.165536 already holds"));
        let mut observed = remapped();
        observed.root.push(entry("volumes"));
        assert!(disabled(&observed).refusals[0].contains("/var/lib/docker already holds"));
    }

    #[test]
    fn leaving_everything_behind_moves_nothing_and_says_so() {
        let mut wish = args(State::Enabled);
        wish.carry_over = CarryOver::None;
        let mut observed = plain();
        observed.containers.push(container("vpn", |c| {
            c["HostConfig"]["Privileged"] = json!(true)
        }));
        let plan = plan(&wish, &observed, STAMP).unwrap();
        assert_eq!(plan.refusals, Vec::<String>::new());
        assert!(!names(&plan).contains(&"move_root") && plan.shift.is_none());
        assert!(
            plan.warnings[0].contains("2 containers") && plan.warnings[0].contains("stay behind")
        );
    }

    #[test]
    fn a_bind_mount_that_container_root_could_not_write_is_warned_of() {
        let mut observed = plain();
        observed.owners.insert("/srv/x".into(), 0);
        observed.containers = vec![container("web", |c| {
            c["Mounts"] = json!([{"Type": "bind", "Source": "/srv/x", "RW": true}]);
        })];
        assert!(enabled(&observed).warnings[0].contains("/srv/x"));
        observed.owners.insert("/srv/x".into(), 165_536);
        assert!(enabled(&observed).warnings.is_empty());
    }

    #[test]
    fn a_backup_is_made_only_of_a_file_that_changes() {
        let mut wish = args(State::Enabled);
        wish.backup = true;
        let of = |observed: &Observed| {
            configured(&plan(&wish, observed, STAMP).unwrap())
                .backup
                .clone()
        };
        assert_eq!(of(&plain()), None);
        let mut observed = plain();
        observed.config = Some("{}".to_owned());
        let name = of(&observed).unwrap();
        assert_eq!(
            name,
            Path::new("/etc/docker/daemon.json.2026-01-02@03:04:05~")
        );
    }

    #[test]
    fn a_setting_that_the_engine_never_took_up_is_only_taken_out_of_the_file() {
        let mut observed = plain();
        observed.config = remapped().config;
        observed.configured = Some("default".to_owned());
        assert_eq!(names(&disabled(&observed)), ["configure"]);
    }
}
