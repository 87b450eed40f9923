//! The parsers as fuzz targets need them.
#![allow(missing_docs)]

use crate::{accounts, mounts};

#[must_use]
pub fn accounts(text: &str) -> Vec<accounts::Account> {
    accounts::parse(text).collect()
}

#[must_use]
pub fn mount(line: &str) -> Option<mounts::Mount> {
    mounts::parse(line)
}
