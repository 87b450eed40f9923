//! A map that moves ids onto ids that are still to be moved, in two steps that do not.

use crate::{Extent, IdMap};

impl IdMap {
    /// Two maps that together do what this one does, by way of a range that holds no id of either side and
    /// none of `taken`: the first leads there, the second from there to the targets. Each is disjoint
    /// ([`is_disjoint`](Self::is_disjoint)), so that what it has done and what it has yet to do never look
    /// alike. The first leaves the ids alone that are only targets.
    ///
    /// `None` where no such range is long enough.
    #[must_use]
    pub fn detour(&self, taken: &[u32]) -> Option<[Self; 2]> {
        let moving: Vec<_> = self.moving().copied().collect();
        let length = moving.iter().map(|extent| u64::from(extent.size)).sum();
        let mut between = u32::try_from(self.gap(length, taken)?).ok()?;
        let (mut there, mut onward) = (self.fixed(), self.fixed());
        for &extent in &moving {
            there.push(Extent {
                host: between,
                ..extent
            });
            onward.push(Extent {
                container: between,
                ..extent
            });
            between += extent.size;
        }
        let targets = moving
            .iter()
            .map(|extent| (extent.host, extent.host + extent.size));
        let only_targets = targets.flat_map(|target| self.without_sources(target));
        there.extend(only_targets.map(|(start, end)| identity(start, end)));
        Some([Self::new(there).ok()?, Self::new(onward).ok()?])
    }

    fn fixed(&self) -> Vec<Extent> {
        let fixed = self
            .extents()
            .iter()
            .filter(|extent| extent.container == extent.host);
        fixed.copied().collect()
    }

    /// The highest start of `length` ids that nobody has. Ends before 4294967295, which stands for no id.
    fn gap(&self, length: u64, taken: &[u32]) -> Option<u64> {
        let sides = self
            .extents()
            .iter()
            .flat_map(|extent| [extent.container, extent.host].map(|start| (start, extent.size)));
        let mut used: Vec<_> = sides
            .chain(taken.iter().map(|&id| (id, 1)))
            .map(|(start, size)| (u64::from(start), u64::from(start) + u64::from(size)))
            .collect();
        used.sort_unstable_by_key(|&(_, stop)| std::cmp::Reverse(stop));
        let mut end = u64::from(u32::MAX);
        for (start, stop) in used {
            if stop + length <= end {
                break;
            }
            end = end.min(start);
        }
        end.checked_sub(length)
    }

    /// The parts of an interval in which no id is a source.
    fn without_sources(&self, interval: (u32, u32)) -> Vec<(u32, u32)> {
        let sources = self.extents().iter();
        let sources = sources.map(|extent| (extent.container, extent.container + extent.size));
        without(interval, sources)
    }
}

/// What is left of an interval without others, which are sorted. Ends are the id after the last.
pub(crate) fn without(
    (start, end): (u32, u32),
    others: impl IntoIterator<Item = (u32, u32)>,
) -> Vec<(u32, u32)> {
    let (mut left, mut from) = (Vec::new(), start);
    for (first, after) in others {
        if first >= end || after <= from {
            continue;
        }
        if first > from {
            left.push((from, first));
        }
        from = after;
    }
    if from < end {
        left.push((from, end));
    }
    left
}

pub(crate) fn identity(start: u32, end: u32) -> Extent {
    Extent {
        container: start,
        host: start,
        size: end - start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(extents: &[(u32, u32, u32)]) -> IdMap {
        let extent = |&(container, host, size)| Extent {
            container,
            host,
            size,
        };
        IdMap::new(extents.iter().map(extent).collect()).unwrap()
    }

    fn check(map: &IdMap, taken: &[u32], probes: impl Iterator<Item = u32>) {
        let [there, onward] = map.detour(taken).unwrap();
        assert!(
            there.is_disjoint() && onward.is_disjoint(),
            "{there} then {onward}"
        );
        for id in probes {
            match map.to_host(id) {
                Some(host) => {
                    let between = there.to_host(id).unwrap();
                    assert_eq!(onward.to_host(between), Some(host), "{id}");
                    assert!(between == id || !taken.contains(&between));
                }
                None => assert!(there.to_host(id).is_none_or(|same| same == id), "{id}"),
            }
        }
    }

    #[test]
    fn a_range_moved_by_less_than_its_size_goes_by_a_free_one() {
        let moved = map(&[(1000, 1001, 10)]);
        check(&moved, &[u32::MAX - 1, u32::MAX - 12], 990..1020);
        let [there, onward] = moved.detour(&[]).unwrap();
        assert_eq!(
            there.to_string(),
            format!("1000:{}:10,1010:1010:1", u32::MAX - 10)
        );
        assert_eq!(onward.to_string(), format!("{}:1001:10", u32::MAX - 10));
    }

    #[test]
    fn two_accounts_that_change_places_do() {
        check(&map(&[(1, 2, 1), (2, 1, 1), (7, 7, 3)]), &[], 0..20);
    }

    #[test]
    fn where_there_is_no_room_there_is_no_detour() {
        assert_eq!(map(&[(0, 1, u32::MAX - 2)]).detour(&[]), None);
        assert_eq!(map(&[(0, 1, 1 << 31)]).detour(&[1 << 31, 3 << 30]), None);
    }

    proptest! {
        #[test]
        fn any_map_of_small_ids_is_done_in_two_steps(
            extents in prop::collection::vec((0u32..60, 0u32..60, 1u32..20), 1..4),
            taken in prop::collection::vec(u32::MAX - 200..u32::MAX, 0..8),
        ) {
            let extents = extents.iter().map(|&(container, host, size)| Extent { container, host, size });
            if let Ok(map) = IdMap::new(extents.collect()) {
                check(&map, &taken, 0..100);
            }
        }
    }
}
