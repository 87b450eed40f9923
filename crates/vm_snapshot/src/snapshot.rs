//! The module that changes VMs: ties the rooms together.

use crate::{
    apply::{self, Context},
    args::{self, Abandoned, Args, State},
    decide::Decision,
    observe,
    observed::Observed,
    plan::{self, Plan},
    present,
    record::{Place, STATE},
    step::Step,
};
use ansible_module::{Failure, Invocation, Module, Outcome, refusal};
use anyhow::{Context as _, Result, anyhow};
use host::libvirt::{Libvirt, snapshot};
use std::{path::Path, process::ExitCode};
use transaction::{Recovery, Store};

/// The module `vm_snapshot`.
pub fn main() -> ExitCode {
    Module::new(args::spec())
        .version(env!("CARGO_PKG_VERSION"))
        .log_invocation()
        .keep_result_at(Path::new(STATE).join("vm_snapshot.result.json"))
        .keep_results_by("vm")
        .run(run)
}

/// One run for one VM.
struct Run<'r> {
    args: &'r Args,
    uuid: &'r str,
    name: String,
    stamp: String,
    context: Context,
    /// `None` in check mode.
    store: Option<Store>,
}

fn run(invocation: &mut Invocation) -> Result<Outcome, Failure> {
    let args: Args = invocation.parse()?;
    args.check()?;
    let timeout = args::patience(args.timeout)?;
    if !host::process::is_root() {
        return Err(Failure::new(
            "vm_snapshot has to run as root; use become: true",
        ));
    }
    let libvirt = Libvirt {
        uri: args.uri.clone(),
        timeout,
    };
    libvirt.versions()?;
    let uuid = libvirt.find(&args.vm)?;
    let stamp = host::clock::stamp(host::clock::now());
    let mut run = Run {
        name: args
            .name
            .clone()
            .unwrap_or_else(|| format!("bulkhead-{stamp}")),
        args: &args,
        uuid: &uuid,
        stamp,
        context: Context::new(libvirt),
        store: None,
    };
    if !invocation.check_mode {
        host::process::survive_hangup()?;
        run.store = Some(Store::lock(Place::of(&uuid).directory())?);
    }
    let outcome = run.recover().and_then(|recovered| {
        if let Some(how) = recovered {
            invocation.warn(format!(
                "an earlier run was interrupted; its change has been {how}"
            ));
        }
        run.all()
    });
    for warning in std::mem::take(&mut run.context.warnings) {
        invocation.warn(warning);
    }
    Ok(outcome?)
}

/// What was done, or in check mode would be.
#[derive(Default)]
struct Done {
    steps: Vec<&'static str>,
    /// Of the snapshot that was taken.
    decision: Option<Decision>,
    removed: Vec<String>,
}

impl Run<'_> {
    fn recover(&mut self) -> Result<Option<&'static str>> {
        let Some(store) = &self.store else {
            let open = Place::of(self.uuid)
                .directory()
                .join(transaction::IN_PROGRESS)
                .exists();
            return Ok(open.then_some("left for a real run to finish or undo"));
        };
        Ok(apply::recover(store, &mut self.context)?.map(Recovery::as_str))
    }

    fn all(&mut self) -> Result<Outcome> {
        let mut done = Done::default();
        let before = self.observe()?;
        if self.args.state == State::Reverted {
            let definition = self.definition(&before)?;
            let plan = plan::revert(&before, &self.name, &definition, &self.stamp);
            self.change(&mut done, plan)?;
        } else {
            self.clean(&mut done)?;
            self.take_or_remove(&mut done, &before)?;
            self.retain(&mut done)?;
            // What a removed snapshot had held together goes now.
            self.clean(&mut done)?;
        }
        Ok(self.outcome(&done, &before, &self.observe()?))
    }

    fn take_or_remove(&mut self, done: &mut Done, before: &Observed) -> Result<()> {
        match (self.args.state, &self.args.name) {
            (State::Absent, Some(name)) => self.remove(done, name),
            (State::Absent, None) => Ok(()),
            _ => {
                let plan = match done.steps.is_empty() {
                    true => plan::take(self.args, before, &self.name),
                    false => plan::take(self.args, &self.observe()?, &self.name),
                };
                done.decision = self.change(done, plan)?;
                Ok(())
            }
        }
    }

    fn remove(&mut self, done: &mut Done, name: &str) -> Result<()> {
        let steps = done.steps.len();
        let plan = plan::remove(&self.observe_with_others()?, name);
        self.change(done, plan)?;
        if done.steps.len() > steps {
            done.removed.push(name.to_owned());
        }
        Ok(())
    }

    fn clean(&mut self, done: &mut Done) -> Result<()> {
        if self.args.abandoned == Abandoned::Remove {
            let plan = plan::clean(&self.observe_with_others()?);
            self.change(done, plan)?;
        }
        Ok(())
    }

    fn outcome(&self, done: &Done, before: &Observed, after: &Observed) -> Outcome {
        let taken = done
            .decision
            .as_ref()
            .map(|decision| (self.name.as_str(), decision));
        let reverted = (self.args.state == State::Reverted).then_some(self.name.as_str());
        let mut outcome = Outcome::new(!done.steps.is_empty())
            .diff(present::difference(before, taken, &done.removed, reverted))
            .returning("vm", after.domain.name.as_str())
            .returning("uuid", self.uuid)
            .returning("steps", done.steps.clone())
            .returning("abandoned", present::abandoned(after));
        if let Some(decision) = &done.decision {
            outcome = outcome.returning("decision", present::decision(decision));
        }
        if reverted.is_none() {
            outcome = outcome.returning("removed", done.removed.clone());
        }
        match self.args.state {
            State::Absent => outcome,
            State::Present => self.taken(outcome, after),
            State::Reverted => self.reverted(outcome, after),
        }
    }

    fn taken(&self, outcome: Outcome, after: &Observed) -> Outcome {
        let outcome = outcome.returning("name", self.name.as_str());
        let outcome = match after.snapshot(&self.name) {
            Some(snapshot) => outcome.returning("snapshot", present::snapshot(after, snapshot)),
            None => outcome,
        };
        match after.records.get(&self.name) {
            Some(record) => outcome.returning("verified", present::verified(after, record)),
            None => outcome,
        }
    }

    fn reverted(&self, outcome: Outcome, after: &Observed) -> Outcome {
        let outcome = outcome.returning("name", self.name.as_str());
        let outcome = match after.snapshot(&self.name) {
            Some(snapshot) => outcome
                .returning("snapshot", present::snapshot(after, snapshot))
                .returning("lost_since", host::clock::iso(snapshot.created)),
            None => outcome,
        };
        match self.store.is_some() {
            true => outcome.returning("verified", present::reverted(after, &self.context.checks)),
            false => outcome,
        }
    }

    /// By `keep` and `older_than`, one after the other: each merge changes what the next one finds.
    fn retain(&mut self, done: &mut Done) -> Result<()> {
        if self.args.keep.is_none() && self.args.older_than.is_none() {
            return Ok(());
        }
        let observed = self.observe()?;
        let coming = self.args.state == State::Present && observed.snapshot(&self.name).is_none();
        for name in plan::expired(self.args, &observed, coming) {
            self.remove(done, &name)
                .with_context(|| format!("snapshot \"{name}\" is due to be removed"))?;
        }
        Ok(())
    }

    fn observe(&self) -> Result<Observed> {
        observe::alone(&self.context.libvirt, self.uuid)
    }

    /// Only what merges or removes files asks for the files of other VMs.
    fn observe_with_others(&self) -> Result<Observed> {
        observe::vm(&self.context.libvirt, self.uuid)
    }

    /// The VM's lasting definition at the time of the snapshot.
    fn definition(&self, observed: &Observed) -> Result<String> {
        let saved = Place::of(self.uuid).definition(&self.name);
        match host::files::read_text_optional(&saved)? {
            Some(definition) if observed.records.contains_key(&self.name) => Ok(definition),
            _ if observed.snapshot(&self.name).is_none() => Ok(String::new()),
            _ => snapshot::lasting(&self.context.libvirt.snapshot_xml(self.uuid, &self.name)?),
        }
    }

    /// Carries a plan out, unless this is check mode.
    fn change(
        &mut self,
        done: &mut Done,
        plan: Result<Plan, Vec<String>>,
    ) -> Result<Option<Decision>> {
        let mut plan = plan.map_err(|refusals| anyhow!(refusal(&refusals)))?;
        self.context.warnings.append(&mut plan.warnings);
        done.steps.extend(plan.steps.iter().map(Step::name));
        if let Some(store) = &self.store
            && !plan.steps.is_empty()
        {
            apply::run(store, plan.steps, &mut self.context)?;
        }
        Ok(plan.decision)
    }
}
