use crate::{
    Error, Extent,
    detour::{identity, without},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A one-to-one map from container ids to host ids, defined on the ids of its extents only.
///
/// The form is canonical: extents are sorted by container id and joined where they continue each other, so
/// two maps are equal exactly when they map alike. Serde reads and writes the list of extents.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Extent>", into = "Vec<Extent>")]
pub struct IdMap(Vec<Extent>);

impl IdMap {
    /// The map made of `extents`, in any order. No extents make the map that is defined nowhere.
    ///
    /// # Errors
    /// An extent that is empty or goes past the last id, or two that overlap on either side.
    pub fn new(mut extents: Vec<Extent>) -> Result<Self, Error> {
        for &extent in &extents {
            if extent.size == 0 {
                return Err(Error::EmptyExtent(extent));
            }
            let last = extent.container.max(extent.host);
            last.checked_add(extent.size)
                .ok_or(Error::Overflow(extent))?;
        }
        extents.sort_unstable_by_key(|extent| extent.host);
        if let Some((a, b)) = neighbours(&extents).find(|(a, b)| b.host - a.host < a.size) {
            return Err(Error::HostOverlap(a, b));
        }
        extents.sort_unstable();
        let overlap = |(a, b): &(Extent, Extent)| b.container - a.container < a.size;
        if let Some((a, b)) = neighbours(&extents).find(overlap) {
            return Err(Error::ContainerOverlap(a, b));
        }
        Ok(Self::canonical(extents))
    }

    /// Sorts and joins extents that are known to be valid.
    fn canonical(mut extents: Vec<Extent>) -> Self {
        extents.sort_unstable();
        extents.dedup_by(|next, extent| {
            let joins = extent.container + extent.size == next.container
                && extent.host + extent.size == next.host;
            extent.size += if joins { next.size } else { 0 };
            joins
        });
        Self(extents)
    }

    /// Every id onto itself: 0 to 4294967294.
    #[must_use]
    pub fn identity() -> Self {
        Self(vec![Extent {
            container: 0,
            host: 0,
            size: u32::MAX,
        }])
    }

    /// The host id of a container id.
    #[must_use]
    pub fn to_host(&self, id: u32) -> Option<u32> {
        let after = self.0.partition_point(|extent| extent.container <= id);
        let extent = self.0.get(after.checked_sub(1)?)?;
        extent
            .contains_container(id)
            .then(|| extent.host + (id - extent.container))
    }

    /// The container id of a host id. Takes time linear in the extents; [`invert`](Self::invert) to ask often.
    #[must_use]
    pub fn to_container(&self, id: u32) -> Option<u32> {
        let extent = self.0.iter().find(|extent| extent.contains_host(id))?;
        Some(extent.container + (id - extent.host))
    }

    /// The same pairs read the other way.
    #[must_use]
    pub fn invert(&self) -> Self {
        Self::canonical(self.0.iter().map(|&extent| extent.inverted()).collect())
    }

    /// `self` after `inner`: id n goes to `self(inner(n))`, and nowhere when either is undefined on its way.
    #[must_use]
    pub fn compose(&self, inner: &Self) -> Self {
        let pieces = inner.0.iter().flat_map(|first| {
            self.0.iter().filter_map(|second| {
                let start = first.host.max(second.container);
                let end = (first.host + first.size).min(second.container + second.size);
                (start < end).then(|| Extent {
                    container: first.container + (start - first.host),
                    host: second.host + (start - second.container),
                    size: end - start,
                })
            })
        });
        Self::canonical(pieces.collect())
    }

    /// This map, and each container id of `other` onto itself that is neither a host id of `other` nor on either
    /// side of this one.
    #[must_use]
    pub fn with_identity(&self, other: &Self) -> Self {
        let side = |start: u32, size: u32| (start, start + size);
        let mut used: Vec<_> = (self.0.iter())
            .flat_map(|extent| {
                [
                    side(extent.container, extent.size),
                    side(extent.host, extent.size),
                ]
            })
            .chain(other.0.iter().map(|extent| side(extent.host, extent.size)))
            .collect();
        used.sort_unstable();
        let own = other
            .0
            .iter()
            .map(|extent| side(extent.container, extent.size));
        let free = own.flat_map(|interval| without(interval, used.iter().copied()));
        let free = free.map(|(start, end)| identity(start, end));
        Self::canonical(self.0.iter().copied().chain(free).collect())
    }

    /// Whether no id is both a source and the target of another: then a shift needs no memory, since what
    /// it has done and what it has yet to do never look alike. An id mapped onto itself does no harm.
    #[must_use]
    pub fn is_disjoint(&self) -> bool {
        self.moving().all(|a| {
            self.moving()
                .all(|b| a.container + a.size <= b.host || b.host + b.size <= a.container)
        })
    }

    /// The extents that do not leave ids where they are.
    pub(crate) fn moving(&self) -> impl Iterator<Item = &Extent> {
        self.0
            .iter()
            .filter(|extent| extent.container != extent.host)
    }

    /// The extents, sorted by container id.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.0
    }
}

fn neighbours(extents: &[Extent]) -> impl Iterator<Item = (Extent, Extent)> {
    extents.windows(2).map(|pair| (pair[0], pair[1]))
}

impl TryFrom<Vec<Extent>> for IdMap {
    type Error = Error;

    fn try_from(extents: Vec<Extent>) -> Result<Self, Error> {
        Self::new(extents)
    }
}

impl From<IdMap> for Vec<Extent> {
    fn from(map: IdMap) -> Self {
        map.0
    }
}

/// The extents, separated by commas.
impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, extent) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{extent}")?;
        }
        Ok(())
    }
}
