//! User and group id maps as mathematics: [`IdMap`] and its algebra, the maps of Docker's `userns-remap`
//! and of rootless Podman, and subordinate ranges (subuid(5), subgid(5)) with overlap-free allocation.
//!
//! Nothing here reads a file or asks the system; the caller brings text and numbers.
//!
//! ```
//! use idmap::{SubRange, docker, rootless_podman};
//! let range = [SubRange { start: 100_000, count: 65_536 }];
//! assert_eq!(docker(&range)?.to_host(999), Some(100_999));
//! assert_eq!(rootless_podman(1000, &range)?.to_host(999), Some(100_998));
//! # Ok::<(), idmap::Error>(())
//! ```

mod detour;
mod error;
mod extent;
mod map;
mod maps;
pub mod subid;

pub use error::Error;
pub use extent::{Extent, SubRange};
pub use map::IdMap;
pub use maps::IdMaps;

/// The map Docker uses under `userns-remap`: container ids count up from 0 through `ranges` in file order.
///
/// # Errors
/// [`Error::NoRange`] when `ranges` holds no id, else those of [`IdMap::new`].
pub fn docker(ranges: &[SubRange]) -> Result<IdMap, Error> {
    stack(Vec::new(), ranges)
}

/// The map of rootless Podman for the account `id`: container id 0 is the account itself, and ids from 1
/// count up through `ranges`, so that container id n lies at `start + n - 1`.
///
/// # Errors
/// Those of [`docker`]; also when `id` lies inside `ranges`.
pub fn rootless_podman(id: u32, ranges: &[SubRange]) -> Result<IdMap, Error> {
    stack(
        vec![Extent {
            container: 0,
            host: id,
            size: 1,
        }],
        ranges,
    )
}

/// Lays `ranges` one after another on the container ids that follow `extents`.
fn stack(mut extents: Vec<Extent>, ranges: &[SubRange]) -> Result<IdMap, Error> {
    let mut container: u32 = extents.iter().map(|extent| extent.size).sum();
    let ranges = ranges.iter().filter(|range| range.count > 0);
    if ranges.clone().next().is_none() {
        return Err(Error::NoRange);
    }
    for range in ranges {
        let extent = Extent {
            container,
            host: range.start,
            size: range.count,
        };
        container = container
            .checked_add(range.count)
            .ok_or(Error::Overflow(extent))?;
        extents.push(extent);
    }
    IdMap::new(extents)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SubRange = SubRange {
        start: 100_000,
        count: 65_536,
    };

    #[test]
    fn docker_puts_container_id_n_at_start_plus_n() {
        let map = docker(&[S]).unwrap();
        assert_eq!(map.to_host(0), Some(100_000));
        assert_eq!(map.to_host(65_535), Some(165_535));
        assert_eq!(map.to_host(65_536), None);
    }

    #[test]
    fn docker_uses_several_ranges_in_file_order() {
        let low = SubRange {
            start: 5_000,
            count: 10,
        };
        let map = docker(&[S, low]).unwrap();
        assert_eq!(map.to_host(65_535), Some(165_535));
        assert_eq!(map.to_host(65_536), Some(5_000));
        assert_eq!(map.to_container(5_009), Some(65_545));
    }

    /// The classic off-by-one: base + n would give 100999 and 166536.
    #[test]
    fn rootless_podman_puts_container_id_n_at_start_plus_n_minus_one() {
        let map = rootless_podman(1000, &[S]).unwrap();
        assert_eq!(map.to_host(0), Some(1000));
        assert_eq!(map.to_host(1), Some(100_000));
        assert_eq!(map.to_host(999), Some(100_998));
        assert_eq!(map.to_host(65_536), Some(165_535));
        assert_eq!(map.to_host(65_537), None);
        let other = SubRange {
            start: 165_536,
            ..S
        };
        let map = rootless_podman(1001, &[other]).unwrap();
        assert_eq!(map.to_host(1000), Some(166_535));
    }

    #[test]
    fn a_map_without_ids_is_an_error() {
        assert_eq!(docker(&[]), Err(Error::NoRange));
        assert_eq!(rootless_podman(1000, &[]), Err(Error::NoRange));
        let none = SubRange { start: 7, count: 0 };
        assert_eq!(docker(&[none]), Err(Error::NoRange));
    }

    #[test]
    fn an_account_inside_its_own_range_is_an_error() {
        assert!(matches!(
            rootless_podman(100_001, &[S]),
            Err(Error::HostOverlap(..))
        ));
    }
}
