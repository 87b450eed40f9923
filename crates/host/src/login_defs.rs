//! Where login.defs(5) wants new subordinate ranges.

use crate::files;
use anyhow::Result;
use idmap::subid::{DEFAULT_BOUNDS, DEFAULT_COUNT};
use std::ops::RangeInclusive;

const PATH: &str = "/etc/login.defs";

/// What useradd(8) goes by when it gives somebody subordinate ids, for a range that serves users and groups alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubidRules {
    /// The ids that are both between `SUB_UID_MIN` and `SUB_UID_MAX` and between `SUB_GID_MIN` and `SUB_GID_MAX`.
    pub bounds: RangeInclusive<u32>,
    /// The larger of `SUB_UID_COUNT` and `SUB_GID_COUNT`.
    pub count: u32,
}

impl SubidRules {
    /// Reads /etc/login.defs. Shadow's own defaults stand for what it does not say.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read() -> Result<Self> {
        let text = files::read_optional(PATH.as_ref())?.unwrap_or_default();
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let both = |item: &str, default| {
            let of = |kind: &str| number(text, &format!("SUB_{kind}_{item}")).unwrap_or(default);
            [of("UID"), of("GID")]
        };
        let [low, other_low] = both("MIN", *DEFAULT_BOUNDS.start());
        let [high, other_high] = both("MAX", *DEFAULT_BOUNDS.end());
        let [count, other_count] = both("COUNT", DEFAULT_COUNT);
        Self {
            bounds: low.max(other_low)..=high.min(other_high),
            count: count.max(other_count),
        }
    }
}

/// The uids and gids that useradd(8) gives to accounts of people and services: those that are both between `UID_MIN` and
/// `UID_MAX` and between `GID_MIN` and `GID_MAX`.
///
/// # Errors
/// When /etc/login.defs is there and cannot be read.
pub fn account_ids() -> Result<RangeInclusive<u32>> {
    let text = files::read_optional(PATH.as_ref())?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let item = |item, default| number(&text, item).unwrap_or(default);
    let low = item("UID_MIN", 1000).max(item("GID_MIN", 1000));
    Ok(low..=item("UID_MAX", 60_000).min(item("GID_MAX", 60_000)))
}

/// The last value of an item, as strtoul(3) reads it. What is no number counts for nothing there either (shadow's
/// lib/getdef.c).
fn number(text: &str, item: &str) -> Option<u32> {
    let value = text.lines().rev().find_map(|line| {
        let (name, value) = line.trim().split_once([' ', '\t'])?;
        (name == item).then_some(value)
    })?;
    let value = value
        .trim_start_matches([' ', '\t', '"'])
        .split('"')
        .next()?;
    if let Some(hexadecimal) = value.strip_prefix("0x") {
        u32::from_str_radix(hexadecimal, 16).ok()
    } else if value.starts_with('0') {
        u32::from_str_radix(value, 8).ok()
    } else {
        value.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_does_not_say_is_as_shadow_has_it() {
        for text in ["", "# SUB_UID_MIN 5\nSUB_UID_MIN\nSUB_UID_MAX many\n"] {
            let rules = SubidRules::parse(text);
            assert_eq!(rules.bounds, 100_000..=600_100_000);
            assert_eq!(rules.count, 65_536);
        }
    }

    #[test]
    fn a_range_for_both_kinds_lies_where_both_may() {
        let text = "SUB_UID_MIN\t 200000\nSUB_GID_MIN 0x40000\nSUB_UID_MAX  \"500000\"\n \
                    SUB_GID_COUNT 0400000\nSUB_UID_COUNT 10\nSUB_UID_MIN 300000\n";
        let rules = SubidRules::parse(text);
        assert_eq!(rules.bounds, 300_000..=500_000);
        assert_eq!(rules.count, 131_072);
    }
}
