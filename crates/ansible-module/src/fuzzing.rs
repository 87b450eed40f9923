//! The parsers as fuzz targets need them.
#![allow(missing_docs, clippy::missing_errors_doc)]

use serde_json::{Map, Value};

use crate::call::{self, Call};
use crate::validate::{Invalid, validate};
use crate::{Spec, literal, python};

#[must_use]
pub fn literal(text: &str) -> Option<Value> {
    literal::parse(text)
}

#[must_use]
pub fn repr(value: &Value) -> String {
    python::repr(value)
}

/// The arguments on standard input, checked.
pub fn arguments(spec: &Spec, text: &[u8]) -> Result<Map<String, Value>, String> {
    let Call::Run(request) = call::from_json(text)? else {
        return Err("no run".to_owned());
    };
    let checked = validate(spec, request.params);
    match checked.error {
        None => Ok(checked.params),
        Some(Invalid::Other(text) | Invalid::Unsupported(text)) => Err(text),
    }
}
