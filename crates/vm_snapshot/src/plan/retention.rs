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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{args, vm};
    use serde_json::json;

    #[test]
    fn only_own_ones_go_and_the_oldest_first() {
        let mut observed = vm(&["/i/a"]);
        for name in ["a", "b", "foreign", "c"] {
            observed = observed.with_internal(name);
        }
        observed.records.remove("foreign");
        // They were taken at 1000, 2000, 3000 and 4000.
        observed.now = 5000;
        let goes = |options, coming| expired(&args(options), &observed, coming);
        assert_eq!(goes(json!({"keep": 2}), false), ["a"]);
        assert_eq!(goes(json!({"keep": 2}), true), ["a", "b"]);
        assert_eq!(goes(json!({"keep": 0}), false), ["a", "b", "c"]);
        assert_eq!(goes(json!({"older_than": "3500s"}), false), ["a"]);
        assert_eq!(
            goes(json!({"older_than": "1h", "keep": 1}), false),
            ["a", "b"]
        );
        assert!(goes(json!({"keep": 9, "older_than": "2h"}), true).is_empty());
    }
}
