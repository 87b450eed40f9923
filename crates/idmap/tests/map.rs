//! What holds for every map.

#![allow(clippy::unwrap_used)]

use idmap::{Error, Extent, IdMap, IdMaps, subid};
use proptest::prelude::*;

fn extent(container: u32, host: u32, size: u32) -> Extent {
    Extent {
        container,
        host,
        size,
    }
}

fn map(extents: &[(u32, u32, u32)]) -> IdMap {
    let extents = extents.iter().map(|&(c, h, s)| extent(c, h, s));
    IdMap::new(extents.collect()).unwrap()
}

/// Small ids, so that extents touch and maps meet; those that overlap are dropped one by one.
fn maps() -> impl Strategy<Value = IdMap> {
    proptest::collection::vec((0..60_u32, 0..60_u32, 1..12_u32), 0..8).prop_map(|triples| {
        let mut extents = Vec::new();
        for (container, host, size) in triples {
            extents.push(extent(container, host, size));
            if IdMap::new(extents.clone()).is_err() {
                extents.pop();
            }
        }
        IdMap::new(extents).unwrap()
    })
}

fn ids() -> impl Iterator<Item = u32> {
    0..80
}

proptest! {
    #[test]
    fn invert_after_apply_is_identity_on_the_domain(map in maps()) {
        let back = map.invert();
        for id in ids() {
            if let Some(host) = map.to_host(id) {
                prop_assert_eq!(back.to_host(host), Some(id));
                prop_assert_eq!(map.to_container(host), Some(id));
            }
        }
        prop_assert_eq!(back.invert(), map);
    }

    #[test]
    fn no_two_container_ids_share_a_host_id(map in maps()) {
        let mut hosts: Vec<_> = ids().filter_map(|id| map.to_host(id)).collect();
        let all = hosts.len();
        hosts.sort_unstable();
        hosts.dedup();
        prop_assert_eq!(hosts.len(), all);
    }

    #[test]
    fn compose_applies_one_after_the_other(outer in maps(), inner in maps()) {
        let both = outer.compose(&inner);
        for id in ids() {
            prop_assert_eq!(both.to_host(id), inner.to_host(id).and_then(|id| outer.to_host(id)));
        }
    }

    #[test]
    fn compose_is_associative(a in maps(), b in maps(), c in maps()) {
        prop_assert_eq!(a.compose(&b).compose(&c), a.compose(&b.compose(&c)));
    }

    #[test]
    fn what_stays_is_a_container_id_and_on_no_other_side(moved in maps(), other in maps()) {
        let found = moved.with_identity(&other);
        let used = |id| moved.to_host(id).is_some() || moved.to_container(id).is_some();
        for id in ids() {
            let stays = other.to_host(id).is_some() && other.to_container(id).is_none() && !used(id);
            prop_assert_eq!(found.to_host(id), if stays { Some(id) } else { moved.to_host(id) });
        }
    }

    #[test]
    fn identity_is_neutral(map in maps()) {
        prop_assert_eq!(IdMap::identity().compose(&map), map.clone());
        prop_assert_eq!(map.compose(&IdMap::identity()), map);
    }

    #[test]
    fn a_map_is_disjoint_when_no_id_is_source_and_target_of_another(map in maps()) {
        let meets = ids().any(|id| {
            let target = map.to_host(id).is_some_and(|host| host != id);
            let host = map.to_host(id);
            target && host.and_then(|host| map.to_host(host)).is_some_and(|next| Some(next) != host)
        });
        prop_assert_eq!(map.is_disjoint(), !meets);
    }

    #[test]
    fn every_invalid_list_of_extents_is_refused(
        triples in proptest::collection::vec((0..30_u32, 0..30_u32, 0..6_u32), 0..5)
    ) {
        let extents: Vec<_> = triples.iter().map(|&(c, h, s)| extent(c, h, s)).collect();
        let twice = |ids: Vec<u32>| {
            let mut once = ids.clone();
            once.sort_unstable();
            once.dedup();
            once.len() != ids.len()
        };
        let containers = extents.iter().flat_map(|e| e.container..e.container + e.size).collect();
        let hosts = extents.iter().flat_map(|e| e.host..e.host + e.size).collect();
        let empty = extents.iter().any(|e| e.size == 0);
        let invalid = empty || twice(containers) || twice(hosts);
        prop_assert_eq!(IdMap::new(extents).is_err(), invalid);
    }

    #[test]
    fn serde_keeps_the_map(map in maps()) {
        let text = serde_json::to_string(&map).unwrap();
        prop_assert_eq!(serde_json::from_str::<IdMap>(&text).unwrap(), map);
    }

    #[test]
    fn allocation_is_the_lowest_range_that_overlaps_nothing(
        uids in proptest::collection::vec((0..80_u32, 0..9_u32), 0..6),
        gids in proptest::collection::vec((0..80_u32, 0..9_u32), 0..6),
        reserved in proptest::collection::vec(0..80_u32, 0..6),
        count in 1..20_u32,
    ) {
        let file = |lines: &[(u32, u32)]| {
            let text: String = lines.iter().map(|(s, c)| format!("x:{s}:{c}\n")).collect();
            subid::Subids::parse(text.as_bytes())
        };
        let (subuid, subgid) = (file(&uids), file(&gids));
        let free = |start: u32| {
            (start..start + count).all(|id| {
                !reserved.contains(&id)
                    && uids.iter().chain(&gids).all(|&(s, c)| id < s || id >= s + c)
            })
        };
        let expected = (10..=100 - count + 1).find(|&start| free(start));
        let got = subid::allocate(&subuid, &subgid, &reserved, &(10..=100), count);
        prop_assert_eq!(got.clone().ok().map(|range| range.start), expected);
        if let Ok(range) = got {
            prop_assert!(subuid.check_free(range, &[]).is_ok());
            prop_assert!(subgid.check_free(range, &[]).is_ok());
        }
    }
}

#[test]
fn extents_that_continue_each_other_are_one() {
    assert_eq!(
        map(&[(5, 105, 5), (0, 100, 5)]).extents(),
        [extent(0, 100, 10)]
    );
    assert_eq!(map(&[(0, 100, 5), (5, 106, 5)]).extents().len(), 2);
}

#[test]
fn the_last_id_is_4294967294() {
    assert!(IdMap::new(vec![extent(0, u32::MAX - 1, 1)]).is_ok());
    let past = extent(0, u32::MAX - 1, 2);
    assert_eq!(IdMap::new(vec![past]), Err(Error::Overflow(past)));
    assert_eq!(IdMap::identity().to_host(u32::MAX), None);
}

#[test]
fn ids_that_stay_leave_a_map_disjoint() {
    assert!(IdMap::identity().is_disjoint());
    assert!(map(&[(0, 0, 1), (1, 100, 50)]).is_disjoint());
    assert!(!map(&[(0, 10, 20)]).is_disjoint());
    assert!(map(&[(0, 10, 10)]).is_disjoint());
}

#[test]
fn text_extents_name_the_kind_of_id() {
    let maps = IdMaps::parse(&["u:0:100:5", "g:0:200:5", "b:5:300:5", "10:400:1"]).unwrap();
    assert_eq!(maps.uid.to_string(), "0:100:5,5:300:5,10:400:1");
    assert_eq!(maps.gid.to_string(), "0:200:5,5:300:5,10:400:1");
    let only_uids = IdMaps::parse(&["u:0:100:5"]).unwrap();
    assert_eq!(only_uids.gid, IdMap::identity());
}

#[test]
fn text_that_is_no_extent_is_refused() {
    for text in [
        "",
        "0:1",
        "0:1:2:3",
        "x:0:1:2",
        "0:-1:2",
        "0:+1:2",
        "u:",
        "0:4294967296:1",
    ] {
        assert_eq!(
            IdMaps::parse(&[text]),
            Err(Error::Syntax(text.to_owned())),
            "{text}"
        );
    }
    assert!(matches!(
        IdMaps::parse(&["0:1:0"]),
        Err(Error::EmptyExtent(_))
    ));
    assert!(matches!(
        IdMaps::parse(&["0:100:10", "10:109:1"]),
        Err(Error::HostOverlap(..))
    ));
    assert!(serde_json::from_str::<IdMap>(r#"["0:1:5","4:100:5"]"#).is_err());
}
