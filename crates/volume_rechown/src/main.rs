//! Translates the owners of a directory tree by an id map, and takes it back.

mod apply;
mod args;
mod idmapped;
mod observe;
mod plan;
mod present;

use ansible_module::{Failure, Invocation, Module, Outcome};
use anyhow::{Result, ensure};
use args::{Args, State, Strategy, Verify};
use host::{
    progress::{self, Now, Teller},
    user_namespace,
};
use idmap::IdMaps;
use observe::Tree;
use plan::Plan;
use rechown::Progress;
use std::{path::Path, process::ExitCode};
use transaction::Store;
use trees::{
    guard,
    records::{JOURNALS, STATE},
};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [trees::idmapped::MOUNT, record] => trees::idmapped::mount_at_boot(record),
        [user_namespace::HOLD] => user_namespace::hold(),
        _ => return module(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn module() -> ExitCode {
    Module::new(args::spec())
        .version(env!("CARGO_PKG_VERSION"))
        .keep_result_at(Path::new(STATE).join("volume_rechown.result.json"))
        .run(run)
}

fn run(invocation: &mut Invocation) -> Result<Outcome, Failure> {
    let args: Args = invocation.parse()?;
    if !host::process::is_root() {
        return Err(Failure::new(
            "volume_rechown has to run as root; use become: true",
        ));
    }
    if invocation.check_mode || args.state == State::Verified {
        let _teller = tell(invocation, false);
        return look(&args).map_err(|error| present::failure(error, false));
    }
    host::process::survive_hangup()?;
    // The one lock of the collection on this host: trees may lie in one another, and in a data root.
    let store = Store::lock(STATE.as_ref())?;
    if store.is_open() {
        return Err(Failure::new(format!(
            "a change of the container engine is open in {}; finish it first",
            store.in_progress().display()
        )));
    }
    let _teller = tell(invocation, true);
    change(&args, invocation)
}

fn tell(invocation: &Invocation, to_file: bool) -> Teller {
    progress::tell("volume_rechown", to_file, invocation.by_hand, || {
        let meter = rechown::meter();
        Now {
            doing: if meter.shifting { "shift" } else { "look" },
            entries: meter.entries,
            total: meter.total,
        }
    })
}

/// What a run would do, or whether it has nothing to do.
fn look(args: &Args) -> Result<Outcome> {
    if args.strategy == Strategy::Idmap {
        return idmapped::look(args, &shown_tree(args)?, maps(args)?);
    }
    let (tree, plan) = prepare(args)?;
    let progress = tree.record.as_ref().map(|record| record.progress);
    let begun = matches!(progress, Some(Progress::Begun | Progress::UndoBegun));
    ensure!(
        !begun || args.state != State::Verified,
        "an earlier run was interrupted: run it again, or with state=restored"
    );
    let survey = match &plan {
        Plan::Nothing => rechown::Survey::default(),
        Plan::Shift(maps) => rechown::survey(&[&tree.path], maps, args.policy())?,
        Plan::Undo(maps, policy) => rechown::survey(&[&tree.path], maps, *policy)?,
    };
    let plan = plan::from_survey(plan, args.state, &survey, begun)?;
    Ok(present::planned(&plan, &tree, &survey, begun))
}

/// The engine surveys the tree itself and refuses what [`look`] would.
fn change(args: &Args, invocation: &mut Invocation) -> Result<Outcome, Failure> {
    let refuse = |error| present::failure(error, false);
    if args.strategy == Strategy::Idmap {
        let tree = shown_tree(args).map_err(refuse)?;
        return idmapped::change(args, &tree, maps(args)?, invocation).map_err(refuse);
    }
    let (tree, plan) = prepare(args).map_err(refuse)?;
    let report = apply::run(&plan, &tree, args.policy(), JOURNALS.as_ref())
        .map_err(|error| present::failure(error, apply::is_half_done(&tree)))?;
    for warning in present::warnings(&plan, &report) {
        invocation.warn(warning);
    }
    Ok(present::done(&plan, &tree, &report))
}

fn prepare(args: &Args) -> Result<(Tree, Plan)> {
    ensure!(
        args.mount_at.is_none() && args.services.is_none(),
        "mount_at and services are for strategy=idmap only"
    );
    let tree = tree(args)?;
    idmapped::check_unmapped(&tree)?;
    let maps = maps(args)?;
    let mut plan = plan::from_record(args.state, maps.as_ref(), tree.record.as_ref())?;
    if let (Plan::Shift(maps), Verify::Root) = (&plan, args.verify)
        && rechown::is_done(&[&tree.path], maps, args.policy(), &tree.journal)?
    {
        plan = Plan::Nothing;
    }
    Ok((tree, plan))
}

fn tree(args: &Args) -> Result<Tree> {
    let tree = observe::tree(&args.path, JOURNALS.as_ref())?;
    if args.state != State::Restored {
        guard::check_path(&tree.path, &guard::homes()?, args.allow_dangerous_path)?;
    }
    Ok(tree)
}

/// What would mount a tree that is gone must not hold its services for ever.
fn shown_tree(args: &Args) -> Result<Tree> {
    match args.state == State::Restored && !args.path.exists() {
        true => Ok(observe::gone(&args.path, JOURNALS.as_ref())),
        false => tree(args),
    }
}

fn maps(args: &Args) -> Result<Option<IdMaps>> {
    Ok(match (&args.map, &args.from, &args.to) {
        (Some(extents), ..) => Some(IdMaps::parse(extents)?),
        (None, Some(from), Some(to)) => Some(plan::maps(&observe::ids(from)?, &observe::ids(to)?)?),
        _ => None,
    })
}
