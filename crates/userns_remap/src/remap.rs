//! The module that changes the host: ties the rooms together.

use crate::{
    apply::{self, Context},
    args::{self, Args},
    facts,
    observe::{self, Surveys},
    observed::Observed,
    paths::{IN_PROGRESS, STATE},
    plan::{self, Plan},
    present, validate,
};
use ansible_module::{Failure, Invocation, Module, Outcome, refusal};
use anyhow::{Context as _, Result, bail, ensure};
use host::{
    progress::{self, Now, Teller},
    user_namespace,
};
use rechown::Sample;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, PoisonError},
    time::Duration,
};
use transaction::{Recovery, Store};
use trees::idmapped;

/// How long the engine and the containers may take to come back after a reboot in the middle.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// The module `userns_remap`, and what its boot units call.
pub fn main() -> ExitCode {
    if let Some(held) = facts::hold_user_namespace() {
        return held;
    }
    let words: Vec<_> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "recover") {
        return recover_by_hand(words.get(1).is_some_and(|word| word == "--boot"));
    }
    if let Some(done) = mount_by_unit(&words) {
        return ended(done);
    }
    Module::new(args::spec())
        .version(env!("CARGO_PKG_VERSION"))
        .log_invocation()
        .keep_result_at(Path::new(STATE).join("userns_remap.result.json"))
        .run(run)
}

/// What the unit of an idmapped mount calls, and the process that holds a user namespace for one.
fn mount_by_unit(words: &[String]) -> Option<Result<()>> {
    match words {
        [word, record] if word == idmapped::MOUNT => Some(idmapped::mount_at_boot(record)),
        [word] if word == user_namespace::HOLD => Some(user_namespace::hold()),
        _ => None,
    }
}

fn ended(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What the boot units call: `userns_remap recover [--boot]`.
fn recover_by_hand(boot: bool) -> ExitCode {
    let mut context = Context::new(boot, RECOVERY_TIMEOUT);
    let recovered = Store::lock(STATE.as_ref())
        .map_err(anyhow::Error::new)
        .and_then(|store| apply::recover(&store, &mut context));
    context
        .warnings
        .iter()
        .for_each(|warning| eprintln!("{warning}"));
    match recovered {
        Ok(None) => println!("nothing is open"),
        Ok(Some(recovery)) => println!("an interrupted change was {}", recovery.as_str()),
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(invocation: &mut Invocation) -> Result<Outcome, Failure> {
    let args: Args = invocation.parse()?;
    let timeout = u64::try_from(args.timeout)
        .ok()
        .filter(|seconds| *seconds > 0);
    let timeout = timeout.context("timeout must be a positive number of seconds")?;
    if !host::process::is_root() {
        return Err(Failure::new(
            "userns_remap has to run as root; use become: true",
        ));
    }
    if invocation.check_mode {
        return check(&args, invocation);
    }
    host::process::survive_hangup()?;
    let store = Store::lock(STATE.as_ref())?;
    let mut context = Context::new(false, Duration::from_secs(timeout));
    context.interrupted = host::process::on_interrupt()?;
    let _teller = tell(&context, invocation.by_hand);
    let recovered = apply::recover(&store, &mut context)?.map(Recovery::as_str);
    if let Some(how) = recovered {
        invocation.warn(format!("an earlier run was interrupted; it has been {how}"));
    }
    let result = change(&args, &store, &mut context, invocation);
    context
        .warnings
        .drain(..)
        .for_each(|warning| invocation.warn(warning));
    with_recovery(result, recovered)
}

fn tell(context: &Context, by_hand: bool) -> Teller {
    let step = Arc::clone(&context.step);
    progress::tell("userns_remap", true, by_hand, move || {
        let doing = *step.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = rechown::meter();
        let metered = matches!(
            (doing, meter.shifting),
            ("look", false) | ("shift" | "shift_bind_mount", true)
        );
        Now {
            doing,
            entries: if metered { meter.entries } else { 0 },
            total: meter.total.filter(|_| metered),
        }
    })
}

/// What a run would do.
fn check(args: &Args, invocation: &mut Invocation) -> Result<Outcome, Failure> {
    if Path::new(IN_PROGRESS).exists() {
        invocation.warn("an earlier run was interrupted; a run would first finish or undo it");
        return Ok(Outcome::new(true).returning("steps", vec!["recover"]));
    }
    let (observed, plan) = prepare(args)?;
    plan.warnings
        .iter()
        .for_each(|warning| invocation.warn(warning));
    Ok(present::outcome(args, &observed, &plan, None))
}

fn change(
    args: &Args,
    store: &Store,
    context: &mut Context,
    invocation: &mut Invocation,
) -> Result<Outcome> {
    let (observed, plan) = prepare(args)?;
    plan.warnings
        .iter()
        .for_each(|warning| invocation.warn(warning));
    if !plan.steps.is_empty() {
        apply::run(store, plan.steps.clone(), &observed.data_root, context)?;
    }
    Ok(present::outcome(args, &observed, &plan, Some(context)))
}

/// Observes, plans, and refuses what has to be refused.
fn prepare(args: &Args) -> Result<(Observed, Plan)> {
    let observed = observe::host(args)?;
    let stamp = host::command::run(["date", "+%Y-%m-%d@%H:%M:%S"]).stdout()?;
    let mut plan = plan::plan(args, &observed, stamp.trim())?;
    if plan.refusals.is_empty() {
        survey(&mut plan)?;
        observe::survey_bind_mounts(&mut plan)?;
        let refusal = validate::refusal(&observed, &plan.steps)?;
        plan.refusals.extend(refusal);
    }
    match plan.refusals.as_slice() {
        [] => Ok((observed, plan)),
        refusals => bail!(refusal(refusals)),
    }
}

/// Looks at every id that would be shifted, while everything still runs; refusals and warnings go to the plan.
pub fn survey(plan: &mut Plan) -> Result<Option<Surveys>> {
    let Some(shift) = &plan.shift else {
        return Ok(None);
    };
    let (root, keep, direction) = (&shift.engine_root, &shift.keep, shift.direction);
    let surveys = observe::surveys(root, keep, &shift.maps, direction.policy())?;
    for (survey, of_containers) in [(&surveys.init_layers, false), (&surveys.others, true)] {
        ensure!(
            survey.boundaries.is_empty(),
            "refused, nothing was changed: mounts inside the data: {}",
            survey.boundaries
        );
        if let Some(refusal) = survey.refusal() {
            plan.refusals.push(refusal.to_string());
        } else if of_containers && !survey.source.is_empty() && !survey.target.is_empty() {
            plan.warnings.push(host_files(&survey.target));
        }
    }
    Ok(Some(surveys))
}

fn host_files(found: &Sample<PathBuf>) -> String {
    format!("files that the host itself wrote among the containers' keep their owners: {found}")
}

/// That an earlier run was brought to an end is a change, and stays in the result even of a failure.
fn with_recovery(result: Result<Outcome>, recovered: Option<&str>) -> Result<Outcome, Failure> {
    match (result, recovered) {
        (Ok(mut outcome), Some(how)) => {
            outcome.changed = true;
            Ok(outcome.returning("recovered", how))
        }
        (Ok(outcome), None) => Ok(outcome),
        (Err(error), Some(how)) => Err(Failure::from(error)
            .returning("recovered", how)
            .returning("changed", true)),
        (Err(error), None) => Err(error.into()),
    }
}
