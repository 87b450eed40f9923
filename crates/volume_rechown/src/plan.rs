//! From what is asked and what is there to what is done, or why not. Pure.

use crate::{args::State, observe::Ids};
use anyhow::{Context, Result, bail, ensure};
use idmap::{IdMap, IdMaps};
use rechown::{Policy, Progress, Record, Survey};

/// What will be done.
#[derive(Debug)]
pub enum Plan {
    /// All is as it shall be.
    Nothing,
    /// Shift, or finish the shift that was cut short.
    Shift(IdMaps),
    /// Take back the last shift, or finish doing so, by these maps; the policy is that of the undo.
    Undo(IdMaps, Policy),
}

/// The maps between two sides.
pub fn maps(from: &Ids, to: &Ids) -> Result<IdMaps> {
    let maps = of(to)?.compose(&of(from)?.invert());
    ensure!(
        !maps.uid.extents().is_empty() && !maps.gid.extents().is_empty(),
        "from and to have no id in common"
    );
    Ok(maps)
}

fn of(ids: &Ids) -> Result<IdMaps> {
    let (uid, gid) = match ids {
        Ids::Host => (IdMap::identity(), IdMap::identity()),
        Ids::Docker { uids, gids } => (idmap::docker(uids)?, idmap::docker(gids)?),
        Ids::Podman {
            account,
            uids,
            gids,
        } => (
            idmap::rootless_podman(account.uid, uids)?,
            idmap::rootless_podman(account.gid, gids)?,
        ),
    };
    Ok(IdMaps { uid, gid })
}

/// What the record alone decides: how to restore, and whether a run that was cut short stands in the way.
pub fn from_record(state: State, maps: Option<&IdMaps>, record: Option<&Record>) -> Result<Plan> {
    match (state, record) {
        (State::Restored, None) => Ok(Plan::Nothing),
        (State::Restored, Some(record)) => {
            Ok(Plan::Undo(record.maps.invert(), record.policy.of_undo()))
        }
        (_, record) => {
            let maps = maps.context("map or from is needed")?;
            let way_out = "run it with state=restored first";
            match record.map(|record| (record.progress, &record.maps)) {
                Some((Progress::UndoBegun, _)) => {
                    bail!("an earlier undo was interrupted: {way_out}")
                }
                Some((Progress::Begun, other)) if other != maps => {
                    bail!("an earlier run by another map was interrupted: {way_out}")
                }
                // By its ids alone, a tree shifted by such a map looks like one that is not.
                Some((Progress::Complete, same)) if same == maps && !maps.is_disjoint() => {
                    Ok(Plan::Nothing)
                }
                _ => Ok(Plan::Shift(maps.clone())),
            }
        }
    }
}

/// What the tree's entries decide: whether a shift would be refused, or find nothing to do.
pub fn from_survey(plan: Plan, state: State, survey: &Survey, begun: bool) -> Result<Plan> {
    let refusal = match plan {
        Plan::Undo(..) if !begun => survey.immutable_refusal(),
        Plan::Shift(_) if !begun => survey.refusal(),
        _ => None,
    };
    if let Some(refusal) = refusal {
        return Err(refusal.into());
    }
    if begun || !matches!(plan, Plan::Shift(_)) {
        return Ok(plan);
    }
    if survey.source.is_empty() {
        return Ok(Plan::Nothing);
    }
    ensure!(state != State::Verified, "not shifted: {}", survey.source);
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::accounts::Account;
    use idmap::SubRange;

    fn range(start: u32) -> Vec<SubRange> {
        vec![SubRange {
            start,
            count: 65_536,
        }]
    }

    fn podman(name: &str, id: u32, start: u32) -> Ids {
        Ids::Podman {
            account: Account {
                name: name.to_owned(),
                uid: id,
                gid: id + 1,
                home: "/".into(),
                shell: "/".into(),
            },
            uids: range(start),
            gids: range(start),
        }
    }

    #[test]
    fn from_the_host_to_docker_is_the_range() {
        let docker = Ids::Docker {
            uids: range(100_000),
            gids: range(200_000),
        };
        let maps = maps(&Ids::Host, &docker).unwrap();
        assert_eq!(maps.uid.to_string(), "0:100000:65536");
        assert_eq!(maps.gid.to_string(), "0:200000:65536");
    }

    #[test]
    fn from_one_account_to_another_both_the_account_and_its_range_move() {
        let maps = maps(&podman("a", 1000, 100_000), &podman("b", 1001, 165_536)).unwrap();
        assert_eq!(maps.uid.to_string(), "1000:1001:1,100000:165536:65536");
        assert_eq!(maps.gid.to_string(), "1001:1002:1,100000:165536:65536");
    }

    fn record(progress: Progress, map: &str) -> Record {
        Record {
            maps: IdMaps::parse(&[map]).unwrap(),
            policy: Policy::default(),
            roots: vec!["/srv/www".into()],
            progress,
        }
    }

    #[test]
    fn a_run_cut_short_stands_in_the_way_of_other_maps_only() {
        let maps = IdMaps::parse(&["0:100000:10"]).unwrap();
        let plan = |record: &Record| from_record(State::Shifted, Some(&maps), Some(record));
        assert!(plan(&record(Progress::Begun, "0:200000:10")).is_err());
        assert!(plan(&record(Progress::UndoBegun, "0:100000:10")).is_err());
        for fine in [
            record(Progress::Begun, "0:100000:10"),
            record(Progress::Complete, "0:200000:10"),
        ] {
            assert!(matches!(plan(&fine), Ok(Plan::Shift(_))));
        }
    }

    #[test]
    fn only_the_record_tells_that_a_map_that_overlaps_itself_is_done() {
        let done = |map: &str| {
            let maps = IdMaps::parse(&[map]).unwrap();
            let plan = from_record(
                State::Shifted,
                Some(&maps),
                Some(&record(Progress::Complete, "0:5:10")),
            );
            matches!(plan, Ok(Plan::Nothing))
        };
        assert!(done("0:5:10"));
        assert!(!done("0:6:10"));
    }

    #[test]
    fn restoring_takes_the_recorded_maps_back() {
        assert!(matches!(
            from_record(State::Restored, None, None),
            Ok(Plan::Nothing)
        ));
        let record = record(Progress::Complete, "0:100000:10");
        let Ok(Plan::Undo(maps, _)) = from_record(State::Restored, None, Some(&record)) else {
            panic!("no undo");
        };
        assert_eq!(maps, IdMaps::parse(&["100000:0:10"]).unwrap());
    }

    #[test]
    fn a_tree_that_needs_nothing_is_left_alone() {
        let shift = || Plan::Shift(IdMaps::parse(&["0:100000:10"]).unwrap());
        let survey = Survey::default();
        assert!(matches!(
            from_survey(shift(), State::Shifted, &survey, false),
            Ok(Plan::Nothing)
        ));
        assert!(matches!(
            from_survey(shift(), State::Shifted, &survey, true),
            Ok(Plan::Shift(_))
        ));
    }
}
