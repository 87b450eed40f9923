//! The account and its subordinate ranges.

use crate::{observe, range};
use anyhow::Result;
use host::accounts::{self, Kind};
use idmap::SubRange;

/// Makes the account, or only gives it the ranges, and sees that they are its alone.
pub fn apply(name: &str, create: bool, ranges: &[(Kind, SubRange)]) -> Result<()> {
    // Else a lock could come to light between the account and its ranges, and stand in the way of the undo.
    accounts::wait_for_locks()?;
    if create {
        accounts::add_system(name)?;
    }
    for (kind, range) in ranges {
        accounts::add_range(name, *kind, *range)?;
    }
    range::check_added(&observe::ids(name)?, ranges)
}

pub fn undo(name: &str, create: bool, ranges: &[(Kind, SubRange)]) -> Result<()> {
    if create {
        return accounts::remove(name);
    }
    for (kind, range) in ranges {
        accounts::remove_range(name, *kind, *range)?;
    }
    Ok(())
}
