//! The parsers as fuzz targets need them.
#![allow(missing_docs)]

use crate::{account, mounts};

#[must_use]
pub fn accounts(text: &str) -> Vec<account::Account> {
    account::parse(text).collect()
}

#[must_use]
pub fn mount(line: &str) -> Option<mounts::Mount> {
    mounts::parse(line)
}
