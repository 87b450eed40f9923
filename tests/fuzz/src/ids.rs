//! What holds ids: attributes, maps and subordinate ranges.

use idmap::{
    Extent, IdMap, IdMaps,
    subid::{DEFAULT_BOUNDS, Subids, allocate},
};
use rechown::fuzzing::{self, Translated};

/// Sources in the first byte, far from them the targets.
fn maps(size: u8) -> IdMaps {
    let extent = |container, host| Extent {
        container,
        host,
        size: u32::from(size) + 1,
    };
    let map = |host| IdMap::new(vec![extent(0, host)]).unwrap_or_else(|_| IdMap::identity());
    IdMaps {
        uid: map(1000),
        gid: map(2000),
    }
}

/// What holds for every attribute: nothing else of it changes, and unless it held ids of the target side
/// before, the way back leads to what it was.
fn translation(data: &[u8], translate: fn(&[u8], &IdMaps) -> Option<Translated>) {
    let Some((size, value)) = data.split_first() else {
        return;
    };
    let maps = maps(*size);
    let Some(there) = translate(value, &maps) else {
        assert!(translate(value, &IdMaps::identity()).is_none());
        return;
    };
    assert_eq!(there.value.len(), value.len());
    assert_eq!(there.value != value, there.source);
    let back = translate(&there.value, &maps.invert()).expect("known as before");
    assert!(back.value == value || there.target);
    let same = translate(value, &IdMaps::identity()).expect("known as before");
    assert_eq!(same.value, value);
}

/// `system.posix_acl_access` and `_default`.
pub fn acl(data: &[u8]) {
    translation(data, fuzzing::acl);
    let Some((size, value)) = data.split_first() else {
        return;
    };
    let maps = maps(*size);
    let known = value.len() % 8 == 4 && value[..4] == [2, 0, 0, 0];
    let there = fuzzing::acl(value, &maps);
    assert_eq!(there.is_some(), known);
    let entries = value.get(4..).unwrap_or_default().chunks(8);
    let translated = there.as_ref().map_or(&[][..], |there| &there.value[4..]);
    for (old, new) in entries.zip(translated.chunks(8)) {
        assert_eq!(old[..4], new[..4]);
        let id = |entry: &[u8]| u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let map = match old[..2] {
            [2, 0] => &maps.uid,
            [8, 0] => &maps.gid,
            _ => &IdMap::identity(),
        };
        assert_eq!(id(new), map.to_host(id(old)).unwrap_or(id(old)));
    }
}

/// `security.capability`. The way back leads to what it was as the kernel hands it out: revision 3 with the
/// host's root, which it never does, becomes revision 2.
pub fn capability(data: &[u8]) {
    if let Some((size, value)) = data.split_first()
        && let Some(handed_out) = fuzzing::capability(value, &IdMaps::identity())
    {
        translation(
            &[&[*size], &handed_out.value[..]].concat(),
            fuzzing::capability,
        );
    }
    if let Some((size, value)) = data.split_first()
        && let Some(there) = fuzzing::capability(value, &maps(*size))
    {
        // All but the root id.
        let kept = value.len().min(20);
        assert_eq!(there.value[..kept], value[..kept]);
    }
}

/// Extents as a user writes them, separated by commas.
pub fn map(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(maps) = IdMaps::parse(&text.split(',').collect::<Vec<_>>()) else {
        return;
    };
    let write = |letter: char, map: &IdMap| -> Vec<String> {
        let extents = map.extents().iter();
        extents.map(|extent| format!("{letter}:{extent}")).collect()
    };
    let written = [write('u', &maps.uid), write('g', &maps.gid)].concat();
    assert_eq!(IdMaps::parse(&written).as_ref(), Ok(&maps));
    let json = serde_json::to_string(&maps).expect("maps are JSON");
    assert_eq!(
        serde_json::from_str::<IdMaps>(&json).ok().as_ref(),
        Some(&maps)
    );
    assert_eq!(maps.invert().invert(), maps);
    for map in [&maps.uid, &maps.gid] {
        let there_and_back = map.invert().compose(map);
        for extent in map.extents() {
            let last = extent.container + (extent.size - 1);
            for id in [extent.container, last] {
                assert_eq!(there_and_back.to_host(id), Some(id));
                assert_eq!(map.to_host(id), Some(id - extent.container + extent.host));
            }
        }
    }
    if let Some(passes) = maps.passes(&[0, 1000, u32::MAX - 1]) {
        assert!(passes.iter().all(IdMaps::is_disjoint));
        let whole = passes
            .iter()
            .cloned()
            .reduce(|first, then| then.compose(&first));
        let whole = whole.expect("there is a pass");
        for (whole, map) in [(&whole.uid, &maps.uid), (&whole.gid, &maps.gid)] {
            for id in map
                .extents()
                .iter()
                .flat_map(|extent| [extent.container, extent.host])
            {
                let stays = whole.to_host(id).is_none_or(|host| host == id);
                assert!(whole.to_host(id) == map.to_host(id) || map.to_host(id).is_none() && stays);
            }
        }
    }
}

/// subuid(5) and subgid(5).
pub fn subid(data: &[u8]) {
    let subids = Subids::parse(data);
    let write = |subids: &Subids| -> String {
        let line = |entry: &idmap::subid::Entry| format!("{}:{}\n", entry.owner, entry.range);
        subids.entries.iter().map(line).collect()
    };
    assert_eq!(
        Subids::parse(write(&subids).as_bytes()).entries,
        subids.entries
    );
    for (one, other) in subids.overlaps() {
        assert!(one.range.overlaps(&other.range) && other.range.overlaps(&one.range));
    }
    for entry in &subids.entries {
        assert!(subids.ranges_of(&entry.owner, None).contains(&entry.range));
    }
    let none = Subids::default();
    if let Ok(range) = allocate(&subids, &none, &[100_001], &DEFAULT_BOUNDS, 65_536) {
        assert_eq!(subids.check_free(range, &[]), Ok(()));
        assert!(!range.contains(100_001));
    }
}
