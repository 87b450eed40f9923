//! The module that changes accounts: ties the rooms together.

use crate::{
    apply::{self, Warnings},
    args::{self, Args, State},
    name, nixos, observe,
    observed::{Observed, Shape},
    plan::{self, Plan},
    present,
    step::Step,
};
use ansible_module::{Failure, Invocation, Module, Outcome, refusal};
use anyhow::Result;
use std::{path::Path, process::ExitCode};
use transaction::{IN_PROGRESS, Store};

/// Root's only: the lock, and the journal of a change under way.
const STATE: &str = "/var/lib/bulkhead/dedicated_user";

/// The module `dedicated_user`.
pub fn main() -> ExitCode {
    Module::new(args::spec())
        .version(env!("CARGO_PKG_VERSION"))
        .log_invocation()
        .keep_result_at(Path::new(STATE).join("dedicated_user.result.json"))
        .keep_results_by("name")
        .run(run)
}

fn run(invocation: &mut Invocation) -> Result<Outcome, Failure> {
    let args: Args = invocation.parse()?;
    args::patience(args.timeout)?;
    if !host::process::is_root() {
        return Err(Failure::new(
            "dedicated_user has to run as root; use become: true",
        ));
    }
    let mut warnings = vec![];
    let done = match invocation.check_mode {
        true => look(&args, &mut warnings),
        false => change(&args, &mut warnings),
    };
    for warning in warnings {
        invocation.warn(warning);
    }
    done
}

/// What a run would do.
fn look(args: &Args, warnings: &mut Warnings) -> Result<Outcome, Failure> {
    if Path::new(STATE).join(IN_PROGRESS).exists() {
        warnings.push(interrupted(
            "an earlier run",
            "left for a real run to finish or undo",
        ));
    }
    let observed = observe::host(args)?;
    let plan = decide(args, &observed, warnings)?;
    let after = plan.after.clone();
    Ok(outcome(args, &observed, &plan, after.as_ref()))
}

fn change(args: &Args, warnings: &mut Warnings) -> Result<Outcome, Failure> {
    host::process::survive_hangup()?;
    let store = Store::lock(STATE.as_ref())?;
    if let Some((name, recovery)) = apply::recover(&store, warnings)? {
        let run = format!("an earlier run for {name}");
        warnings.push(interrupted(&run, recovery.as_str()));
    }
    let observed = observe::host(args)?;
    let plan = decide(args, &observed, warnings)?;
    if plan.steps.is_empty() {
        let after = plan.after.clone();
        return Ok(outcome(args, &observed, &plan, after.as_ref()));
    }
    apply::run(&store, plan.steps.clone(), warnings)?;
    let after = match args.state {
        State::Present => Shape::of(&observe::host(args)?, &args.secrets_dir()),
        State::Absent => None,
    };
    Ok(outcome(args, &observed, &plan, after.as_ref()))
}

fn interrupted(what: &str, how: &str) -> String {
    format!("{what} was interrupted; its change has been {how}")
}

fn decide(args: &Args, observed: &Observed, warnings: &mut Warnings) -> Result<Plan, Failure> {
    if observed.nixos.is_some() {
        return declared(args, observed);
    }
    let plan = match args.state {
        State::Present => plan::present(args, observed),
        State::Absent => plan::absent(args, observed),
    };
    let plan = plan.map_err(|refusals| refused(args, observed, &refusals))?;
    warnings.extend(plan.warnings.iter().cloned());
    Ok(plan)
}

/// What NixOS has declared, where that is all that is wished.
fn declared(args: &Args, observed: &Observed) -> Result<Plan, Failure> {
    let names = plan::names(args);
    if !names.is_empty() {
        return Err(refused(args, observed, &names));
    }
    let Some(missing) = nixos::missing(args, observed) else {
        return Ok(Plan {
            steps: vec![],
            after: Shape::of(observed, &args.secrets_dir()),
            warnings: vec![],
        });
    };
    let advice = match missing.lines.is_empty() {
        true => String::new(),
        false => format!(
            "; add to its configuration, and switch to it:\n{}",
            missing.lines
        ),
    };
    let is = Shape::of(observed, &args.secrets_dir());
    let is = is.map(|shape| present::account(Outcome::new(false), &shape).returns);
    Err(Failure::new(format!(
        "this is NixOS, where nothing was changed; missing for {}: {}{advice}",
        args.name,
        missing.what.join(", ")
    ))
    .returning("declared", is.unwrap_or_default())
    .returning("missing", missing.what)
    .returning("nix", missing.lines))
}

fn refused(args: &Args, observed: &Observed, refusals: &[String]) -> Failure {
    let illegal = args.names().filter(|(_, name)| !name::is_legal(name));
    let adjusted =
        illegal.filter_map(|(_, name)| Some(format!("{name} -> {}", name::proposal(name)?)));
    let failure =
        Failure::new(refusal(refusals)).returning("adjusted", adjusted.collect::<Vec<_>>());
    match &observed.remains {
        Some(remains) => failure.returning("searched", present::searched(remains)),
        None => failure,
    }
}

fn outcome(args: &Args, before: &Observed, plan: &Plan, after: Option<&Shape>) -> Outcome {
    let was = Shape::of(before, &args.secrets_dir());
    let steps: Vec<_> = plan.steps.iter().map(Step::name).collect();
    let outcome = Outcome::new(!steps.is_empty())
        .diff(present::difference(&args.name, was.as_ref(), after))
        .returning("name", args.name.as_str())
        .returning("steps", steps)
        .returning("adjusted", Vec::<String>::new());
    let outcome = match &before.remains {
        Some(remains) => outcome.returning("searched", present::searched(remains)),
        None => outcome,
    };
    match after {
        Some(shape) => present::account(outcome, shape),
        None => outcome,
    }
}
