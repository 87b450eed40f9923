//! The parsers as fuzz targets need them.
#![allow(missing_docs)]

pub use crate::{
    config::{collisions, remap, with_remap},
    overlay::{Setting, with as with_settings},
};
