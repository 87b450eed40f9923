//! The parsers as fuzz targets need them.
#![allow(missing_docs)]

pub use crate::{
    rewrite::replace_path,
    unit_text::{UnitText, paths_in},
};
