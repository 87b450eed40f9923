use crate::Error;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A run of ids mapped one to one, as a line of `/proc/PID/uid_map`: `container + i` is `host + i` for
/// `i < size`. Written `container:host:size`, in serde too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Extent {
    /// First id inside the container.
    pub container: u32,
    /// First id on the host.
    pub host: u32,
    /// Number of ids.
    pub size: u32,
}

impl Extent {
    pub(crate) fn contains_container(&self, id: u32) -> bool {
        id >= self.container && id - self.container < self.size
    }

    pub(crate) fn contains_host(&self, id: u32) -> bool {
        id >= self.host && id - self.host < self.size
    }

    pub(crate) fn inverted(self) -> Self {
        Self {
            container: self.host,
            host: self.container,
            size: self.size,
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.container, self.host, self.size)
    }
}

impl FromStr for Extent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |field: &str| number(field).ok_or_else(|| Error::Syntax(text.to_owned()));
        let mut fields = text.split(':').map(number);
        match (fields.next(), fields.next(), fields.next(), fields.next()) {
            (Some(container), Some(host), Some(size), None) => Ok(Self {
                container: container?,
                host: host?,
                size: size?,
            }),
            _ => Err(Error::Syntax(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Extent {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Extent> for String {
    fn from(extent: Extent) -> Self {
        extent.to_string()
    }
}

/// A decimal number without the sign that `u32::from_str` would let pass.
pub(crate) fn number(text: &str) -> Option<u32> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// A subordinate range, as a line of subuid(5) names it: `count` ids from `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubRange {
    /// First id on the host.
    pub start: u32,
    /// Number of ids.
    pub count: u32,
}

impl SubRange {
    /// Whether the two share an id.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        u64::from(self.start) < other.end()
            && u64::from(other.start) < self.end()
            && self.count > 0
            && other.count > 0
    }

    /// Whether `id` lies in the range.
    #[must_use]
    pub fn contains(&self, id: u32) -> bool {
        id >= self.start && id - self.start < self.count
    }

    /// The id after the last one; 64 bits wide because a line of the file may say anything.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.start) + u64::from(self.count)
    }
}

impl fmt::Display for SubRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.start, self.count)
    }
}
