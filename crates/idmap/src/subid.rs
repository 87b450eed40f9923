//! Subordinate id files: subuid(5) and subgid(5).

use crate::{Error, SubRange, extent::number};
use std::ops::RangeInclusive;

/// Where ids for new ranges come from when login.defs(5) does not say: `SUB_UID_MIN` to `SUB_UID_MAX`.
pub const DEFAULT_BOUNDS: RangeInclusive<u32> = 100_000..=600_100_000;

/// The number of ids in a new range when login.defs(5) does not say: `SUB_UID_COUNT`.
pub const DEFAULT_COUNT: u32 = 65_536;

/// One line of the file: `owner:start:count`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A login name or a number, as the file says it.
    pub owner: String,
    /// The ids.
    pub range: SubRange,
}

/// A parsed file, in file order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subids {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Lines, counted from 1, which are neither entries nor blank nor comments, with their text.
    pub rejected: Vec<(usize, String)>,
}

impl Subids {
    /// Reads the file's text. Bytes that are not UTF-8 can only stand in a rejected line or an owner's name.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut subids = Self::default();
        for (index, line) in String::from_utf8_lossy(text).lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse_line(line) {
                Some(entry) => subids.entries.push(entry),
                None => subids.rejected.push((index + 1, line.to_owned())),
            }
        }
        subids
    }

    /// The ranges of an account in file order: those under its name and, where `uid` is given, those under
    /// the number. Rootless Podman (newuidmap(1)) honours both, and so does Docker from 28 on; before, it takes
    /// those under the name only where there are none under the number.
    #[must_use]
    pub fn ranges_of(&self, name: &str, uid: Option<u32>) -> Vec<SubRange> {
        let number = uid.map(|uid| uid.to_string());
        let owned = |entry: &&Entry| entry.owner == name || Some(&entry.owner) == number.as_ref();
        self.entries
            .iter()
            .filter(owned)
            .map(|entry| entry.range)
            .collect()
    }

    /// The pairs of entries that share an id.
    #[must_use]
    pub fn overlaps(&self) -> Vec<(&Entry, &Entry)> {
        let after = |index| self.entries.iter().skip(index + 1);
        self.entries
            .iter()
            .enumerate()
            .flat_map(|(index, a)| after(index).map(move |b| (a, b)))
            .filter(|(a, b)| a.range.overlaps(&b.range))
            .collect()
    }

    /// Whether nobody but the owners in `own` holds an id of `range`.
    ///
    /// # Errors
    /// [`Error::Taken`] with the first other owner in file order.
    pub fn check_free(&self, range: SubRange, own: &[&str]) -> Result<(), Error> {
        let foreign =
            |entry: &&Entry| entry.range.overlaps(&range) && !own.contains(&entry.owner.as_str());
        match self.entries.iter().find(foreign) {
            None => Ok(()),
            Some(entry) => Err(Error::Taken {
                range,
                owner: entry.owner.clone(),
                other: entry.range,
            }),
        }
    }
}

fn parse_line(line: &str) -> Option<Entry> {
    let mut fields = line.split(':');
    let owner = fields.next().filter(|owner| !owner.is_empty())?;
    let start = number(fields.next()?)?;
    let count = number(fields.next()?)?;
    if fields.next().is_some() {
        return None;
    }
    Some(Entry {
        owner: owner.to_owned(),
        range: SubRange { start, count },
    })
}

/// The lowest range of `count` ids within `bounds` of which neither file hands out an id and none is in
/// `reserved` (the uids and gids of accounts, say). One range serves uids and gids alike.
///
/// # Errors
/// [`Error::NoRoom`] when there is no such gap or `count` is 0.
pub fn allocate(
    subuid: &Subids,
    subgid: &Subids,
    reserved: &[u32],
    bounds: &RangeInclusive<u32>,
    count: u32,
) -> Result<SubRange, Error> {
    let entries = subuid.entries.iter().chain(&subgid.entries);
    let reserved = reserved.iter().map(|&start| SubRange { start, count: 1 });
    let mut taken: Vec<_> = entries
        .map(|entry| entry.range)
        .chain(reserved)
        .filter(|range| range.count > 0)
        .collect();
    taken.sort_unstable();
    let mut start = u64::from(*bounds.start());
    for range in taken {
        if start + u64::from(count) <= u64::from(range.start) {
            break;
        }
        start = start.max(range.end());
    }
    let last = start + u64::from(count).saturating_sub(1);
    match u32::try_from(start) {
        Ok(start)
            if count > 0 && last <= u64::from(*bounds.end()) && last < u64::from(u32::MAX) =>
        {
            Ok(SubRange { start, count })
        }
        _ => Err(Error::NoRoom(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u32, count: u32) -> SubRange {
        SubRange { start, count }
    }

    #[test]
    fn parsing_keeps_the_order_and_reports_bad_lines() {
        let text = b"# comment\nbob:165536:65536\n\nalice:100000:65536\nbob:5:x\n1000:7:1\nbob:1:+2\n:1:2\na:1:2:3\n";
        let subids = Subids::parse(text);
        let owners: Vec<_> = subids.entries.iter().map(|e| e.owner.as_str()).collect();
        assert_eq!(owners, ["bob", "alice", "1000"]);
        let lines: Vec<_> = subids.rejected.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [5, 7, 8, 9]);
    }

    #[test]
    fn an_account_owns_ranges_by_name_and_by_number() {
        let subids = Subids::parse(b"bob:20:2\n1000:10:1\nalice:30:3\nbob:5:1\n");
        assert_eq!(
            subids.ranges_of("bob", Some(1000)),
            [range(20, 2), range(10, 1), range(5, 1)]
        );
        assert_eq!(subids.ranges_of("bob", None), [range(20, 2), range(5, 1)]);
    }

    #[test]
    fn overlaps_name_both_owners() {
        let subids = Subids::parse(b"a:100:10\nb:109:1\nc:110:5\n");
        let pairs = subids.overlaps();
        assert_eq!(pairs.len(), 1);
        assert_eq!((&*pairs[0].0.owner, &*pairs[0].1.owner), ("a", "b"));
    }

    #[test]
    fn a_taken_range_names_the_other_owner() {
        let subids = Subids::parse(b"alice:100000:65536\n");
        let taken = subids.check_free(range(165_535, 1), &[]);
        assert_eq!(
            taken.unwrap_err().to_string(),
            "range 165535:1 overlaps 100000:65536 of alice"
        );
        assert_eq!(subids.check_free(range(165_535, 1), &["alice"]), Ok(()));
        assert_eq!(subids.check_free(range(165_536, 1), &[]), Ok(()));
    }

    #[test]
    fn allocation_avoids_both_files_and_reserved_ids() {
        let subuid = Subids::parse(b"a:100000:65536\n");
        let subgid = Subids::parse(b"b:165536:10\n");
        let got = allocate(&subuid, &subgid, &[165_550], &DEFAULT_BOUNDS, 65_536);
        assert_eq!(got, Ok(range(165_551, 65_536)));
        let got = allocate(&subuid, &subgid, &[165_550], &DEFAULT_BOUNDS, 4);
        assert_eq!(got, Ok(range(165_546, 4)));
    }

    #[test]
    fn allocation_stays_inside_its_bounds() {
        let none = Subids::default();
        assert_eq!(
            allocate(&none, &none, &[], &(10..=19), 10),
            Ok(range(10, 10))
        );
        assert_eq!(
            allocate(&none, &none, &[], &(10..=19), 11),
            Err(Error::NoRoom(11))
        );
        assert_eq!(
            allocate(&none, &none, &[10], &(10..=19), 10),
            Err(Error::NoRoom(10))
        );
        assert_eq!(
            allocate(&none, &none, &[], &(0..=u32::MAX), u32::MAX),
            Ok(range(0, u32::MAX))
        );
    }
}
