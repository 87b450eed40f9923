//! The time of day.

use jiff::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Seconds since 1970 as ISO 8601, in UTC: `2026-11-22T07:15:00Z`.
#[must_use]
pub fn iso(seconds: i64) -> String {
    timestamp(seconds).to_string()
}

/// Seconds since 1970 as part of a name, in UTC: `20261122-071500`.
#[must_use]
pub fn stamp(seconds: i64) -> String {
    timestamp(seconds).strftime("%Y%m%d-%H%M%S").to_string()
}

fn timestamp(seconds: i64) -> Timestamp {
    // Only what lies beyond the year 9999 is out of its range.
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(iso(1_795_331_700), "2026-11-22T07:15:00Z");
        assert_eq!(stamp(1_795_331_700), "20261122-071500");
    }
}
