//! Moves a rootless Podman service from one account to another, whole or not at all, and back.

mod apply;
mod args;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod observe;
mod observed;
mod plan;
mod present;
mod record;
mod rewrite;
mod step;
mod unit_text;
mod units;

use ansible_module::{Failure, Invocation, Module, Outcome, refusal};
use anyhow::{Result, anyhow, bail};
use apply::Context;
use args::{Args, State};
use observed::Observed;
use plan::Plan;
use record::STATE;
use std::{path::Path, process::ExitCode, time::Duration};
use transaction::Store;

/// How long a service may take to come back after a reboot in the middle.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(300);

/// The module, and what its boot unit calls.
pub fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if words == ["recover"] {
        return recover_by_hand();
    }
    Module::new(args::spec())
        .version(env!("CARGO_PKG_VERSION"))
        .log_invocation()
        .keep_result_at(Path::new(STATE).join("podman_service.result.json"))
        .keep_results_by("name")
        .run(run)
}

/// What the boot unit calls.
fn recover_by_hand() -> ExitCode {
    let mut context = Context::new(RECOVERY_TIMEOUT);
    let recovered = Store::lock(STATE.as_ref())
        .map_err(anyhow::Error::new)
        .and_then(|store| apply::recover(&store, &mut context));
    for warning in &context.warnings {
        eprintln!("{warning}");
    }
    match recovered {
        Ok(None) => println!("nothing is open"),
        Ok(Some(recovery)) => println!("an interrupted move was {}", recovery.as_str()),
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(invocation: &mut Invocation) -> Result<Outcome, Failure> {
    let args: Args = invocation.parse()?;
    args.check()?;
    let mut context = Context::new(args.timeout()?);
    if !host::process::is_root() {
        return Err(Failure::new(
            "podman_service has to run as root; use become: true",
        ));
    }
    if invocation.check_mode {
        if Path::new(STATE).join(transaction::IN_PROGRESS).exists() {
            invocation.warn("an earlier move was interrupted; a run would first finish or undo it");
        }
        return Ok(outcome(&args, None, &mut context, invocation)?);
    }
    host::process::survive_hangup()?;
    // Trees may be what volume_rechown and userns_remap have to do with, too.
    let trees = Store::lock(trees::records::STATE.as_ref())?;
    if trees.is_open() {
        return Err(Failure::new(format!(
            "another change of this host is open in {}; finish it first",
            trees.in_progress().display()
        )));
    }
    let store = Store::lock(STATE.as_ref())?;
    if let Some(recovery) = apply::recover(&store, &mut context)? {
        invocation.warn(format!(
            "an earlier move was interrupted; it has been {}",
            recovery.as_str()
        ));
    }
    Ok(outcome(&args, Some(&store), &mut context, invocation)?)
}

/// Without a store this is check mode.
fn outcome(
    args: &Args,
    store: Option<&Store>,
    context: &mut Context,
    invocation: &mut Invocation,
) -> Result<Outcome> {
    let observed = observe::observe(args)?;
    if let Some(reason) = observed.is_of_others() {
        bail!(refusal(&[reason]));
    }
    let plan = match args.state {
        State::Moved => {
            plan::plan(args, &observed).map_err(|reasons| anyhow!(refusal(&reasons)))?
        }
        State::Returned => plan::back(&args.name, &observed),
    };
    if let Some((trees, maps, policy)) = plan.survey.as_ref().filter(|survey| !survey.0.is_empty())
        && let Some(reason) = rechown::survey(trees, maps, *policy)?.refusal()
    {
        bail!(refusal(&[reason.to_string()]));
    }
    for warning in &plan.warnings {
        invocation.warn(warning.clone());
    }
    if let Some(store) = store.filter(|_| !plan.steps.is_empty()) {
        let run = apply::run(store, plan.steps.clone(), context);
        for warning in context.warnings.drain(..) {
            invocation.warn(warning);
        }
        run?;
    }
    if let Some(record) = &observed.record
        && plan.steps.is_empty()
        && store.is_some()
    {
        apply::check(record, context)?;
    }
    Ok(result(args, &observed, &plan, context))
}

fn result(args: &Args, observed: &Observed, plan: &Plan, context: &Context) -> Outcome {
    // Of a service that is moved already, those of its move.
    let moved = observed.record.as_ref().map(|record| &record.steps);
    let steps = match (plan.steps.is_empty(), moved) {
        (true, Some(moved)) => moved,
        _ => &plan.steps,
    };
    let parts = present::parts(steps);
    let mut outcome = Outcome::new(!plan.steps.is_empty())
        .returning("name", args.name.as_str())
        .returning("from", present::party(&observed.from))
        .returning("to", present::party(&observed.to))
        .returning("steps", present::steps(&plan.steps))
        .returning("units", parts.units)
        .returning("data", parts.data)
        .returning("volumes", parts.volumes)
        .returning("images", parts.images)
        .returning("secrets", parts.secrets)
        .returning("networks", parts.networks)
        .returning("kept", parts.kept);
    if !context.checks.is_empty() {
        let verified = serde_json::json!({
            "at": host::clock::iso(host::clock::now()),
            "by": context.checks,
        });
        outcome = outcome.returning("verified", verified);
    }
    if let Some(report) = &context.shifted {
        outcome = outcome
            .returning("entries", report.counts.entries)
            .returning("shifted_in", report.seconds);
    }
    for diff in present::difference(observed, plan) {
        outcome = outcome.diff(diff);
    }
    outcome
}
