//! Carries a plan out, as one transaction.

mod directories;

use crate::{
    remains,
    step::{PASS, Removal, Step, What},
};
use anyhow::{Context as _, Result, bail, ensure};
use host::{
    accounts::{self, Kind},
    files, groups, logind,
};
use idmap::SubRange;
use std::path::PathBuf;
use transaction::{Recovery, Store, Undone};

/// The kind of transaction, as the journal has it.
const KIND: &str = "dedicated_user";

/// What the steps share: what the user has to know of them.
pub type Warnings = Vec<String>;

/// Carries out all of `steps`, or nothing.
///
/// # Errors
/// With the step that failed, and what became of the change.
pub fn run(store: &Store, steps: Vec<Step>, warnings: &mut Warnings) -> Result<()> {
    // Beside our own records the accounts' files; homes and secrets are nothing without these.
    let sync = vec![store.in_progress(), PathBuf::from("/etc")];
    let mut open = store.begin(KIND, steps, sync)?;
    match open.run(warnings) {
        Ok(()) => Ok(()),
        Err(failed) => bail!("{failed}"),
    }
}

/// Finishes or undoes what an earlier run left open, and whose account that was.
///
/// # Errors
/// When that is impossible; it stays open then.
pub fn recover(store: &Store, warnings: &mut Warnings) -> Result<Option<(String, Recovery)>> {
    let Some(mut open) = store.interrupted::<Step>(KIND)? else {
        return Ok(None);
    };
    // What that run had started may still be at work.
    accounts::wait_for_locks()?;
    let name = open.steps().first().map(|step| step.name.clone());
    let name = name.unwrap_or_default();
    let recovered = open.recover(warnings);
    let recovered = recovered.map_err(|(step, reason)| anyhow::anyhow!("{reason} (step {step})"));
    let recovered = recovered.with_context(|| {
        let directory = store.in_progress();
        format!(
            "an earlier run for {name} was interrupted, and its change ({}) cannot be ended",
            directory.display()
        )
    })?;
    Ok(Some((name, recovered)))
}

impl transaction::Step for Step {
    type Context = Warnings;
    type Error = anyhow::Error;

    fn name(&self) -> &str {
        Step::name(self)
    }

    fn apply(&self, _: &mut Warnings) -> Result<()> {
        let name = self.name.as_str();
        match &self.what {
            What::Group { group } => groups::add(group, self.gid),
            What::Account { traits, .. } => accounts::add(name, self.uid, traits),
            What::Change { after, .. } => accounts::change(name, after),
            What::Ranges { add } => self.add_ranges(add),
            What::Open { path, mode } => directories::set_mode(path, mode | PASS),
            What::Home { path, mode, .. } => {
                directories::make_home(path, self.uid, self.gid, mode.is_none())
            }
            What::Secrets(secrets) => directories::make_secrets(secrets, self.gid),
            What::Linger { on: true } => logind::enable_linger(&self.account()?),
            What::Linger { on: false } => logind::disable_linger(name, self.uid),
            // What cannot be taken back waits for the commit.
            What::Remove(removal) => logind::wait_for_end(|uid| self.owns(removal, uid)),
        }
    }

    fn undo(&self, warnings: &mut Warnings) -> Result<Undone> {
        let name = self.name.as_str();
        match &self.what {
            What::Group { group } => groups::remove(group, self.gid)?,
            What::Account {
                traits,
                group_stays,
            } => {
                self.remove_account()?;
                if *group_stays {
                    self.restore_group(&traits.group)?;
                }
            }
            What::Change { before, .. } => accounts::change(name, before)?,
            What::Ranges { add } => self.remove_ranges(add)?,
            What::Open { path, mode } => directories::set_mode(path, *mode)?,
            What::Home {
                path,
                first_missing,
                mode,
            } => match (first_missing, mode) {
                (Some(first), _) => warnings.extend(directories::remove_home(path, first)?),
                (None, Some(mode)) => directories::set_mode(path, *mode)?,
                (None, None) => {}
            },
            What::Secrets(secrets) => directories::undo_secrets(secrets)?,
            What::Linger { on: true } => {
                logind::disable_linger(name, self.uid)?;
                logind::wait_for_end(|uid| uid == self.uid)?;
            }
            What::Linger { on: false } => logind::enable_linger(&self.account()?)?,
            What::Remove(_) => {}
        }
        Ok(Undone::Whole)
    }

    fn finish(&self, _: &mut Warnings) -> Result<()> {
        match &self.what {
            What::Remove(removal) => self.remove(removal),
            _ => Ok(()),
        }
    }
}

impl Step {
    fn account(&self) -> Result<accounts::Account> {
        let account = accounts::find(&self.name)?;
        account.with_context(|| format!("there is no account {} any more", self.name))
    }

    fn owns(&self, removal: &Removal, uid: u32) -> bool {
        removal.account && uid == self.uid || removal.ranges.iter().any(|range| range.contains(uid))
    }

    fn add_ranges(&self, add: &[(Kind, SubRange)]) -> Result<()> {
        accounts::wait_for_locks()?;
        for (kind, range) in add {
            accounts::add_range(&self.name, *kind, *range)?;
        }
        crate::observe::check_ranges(&self.name, self.uid, add)
    }

    /// usermod takes nothing from an account that is not there, and then there is nothing to take.
    fn remove_ranges(&self, added: &[(Kind, SubRange)]) -> Result<()> {
        if accounts::find(&self.name)?.is_none() {
            return Ok(());
        }
        for (kind, range) in added {
            let ranges = accounts::subids(*kind)?.ranges_of(&self.name, None);
            if ranges.contains(range) {
                accounts::remove_range(&self.name, *kind, *range)?;
            }
        }
        Ok(())
    }

    fn remove_account(&self) -> Result<()> {
        match accounts::find(&self.name)? {
            Some(found) => {
                ensure!(
                    found.uid == self.uid,
                    "{} has uid {} by now, not {}: somebody else made it",
                    self.name,
                    found.uid,
                    self.uid
                );
                accounts::remove(&self.name)
            }
            None => Ok(()),
        }
    }

    /// userdel takes a group of the account's name with it (login.defs(5), `USERGROUPS_ENAB`).
    fn restore_group(&self, group: &str) -> Result<()> {
        match groups::all()?.iter().any(|there| there.name == group) {
            true => Ok(()),
            false => groups::add(group, self.gid),
        }
    }

    fn remove(&self, removal: &Removal) -> Result<()> {
        accounts::wait_for_locks()?;
        if removal.account {
            self.remove_account()?;
        }
        if let Some(group) = &removal.group {
            groups::remove(group, self.gid)?;
        }
        directories::remove(removal)?;
        match removal.account {
            true => files::remove_optional(&remains::podman_lock(self.uid)),
            false => Ok(()),
        }
    }
}
