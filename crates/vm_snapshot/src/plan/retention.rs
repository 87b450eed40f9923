//! Which snapshots are one too many, or too old.

use crate::{args::Args, observed::Observed};

/// Those that this module took and that go by `keep` and `older_than`, the oldest first. `coming` is one that
/// is about to be taken.
pub fn expired(args: &Args, observed: &Observed, coming: bool) -> Vec<String> {
    let own = observed
        .snapshots
        .iter()
        .filter(|snapshot| observed.records.contains_key(&snapshot.name));
    let mut own: Vec<_> = own.collect();
    own.sort_by_key(|snapshot| snapshot.created);
    let keep = args.keep.and_then(|keep| usize::try_from(keep).ok());
    let surplus = keep.map_or(0, |keep| {
        (own.len() + usize::from(coming)).saturating_sub(keep)
    });
    let oldest = args.older_than().map(|age| observed.now - age);
    let goes = own.iter().enumerate().filter(|(at, snapshot)| {
        *at < surplus || oldest.is_some_and(|oldest| snapshot.created < oldest)
    });
    goes.map(|(_, snapshot)| snapshot.name.clone()).collect()
}
