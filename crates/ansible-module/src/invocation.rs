//! One call of a module.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::Failure;

/// One call of the module: the checked parameters and how it was asked to run.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// Tell what would change, and change nothing.
    pub check_mode: bool,
    /// Differences are wanted.
    pub diff_mode: bool,
    /// How many `-v` were given.
    pub verbosity: u8,
    pub(crate) params: Map<String, Value>,
    pub(crate) warnings: Vec<String>,
    pub(crate) deprecations: Vec<Value>,
}

impl Invocation {
    /// The parameters by the options' own names, coerced, with defaults; `null` where neither was given.
    #[must_use]
    pub fn params(&self) -> &Map<String, Value> {
        &self.params
    }

    /// The parameters as a type of the module's own.
    ///
    /// # Errors
    /// When the type does not fit what the specification lets pass (a negative number for a `u32`).
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        T::deserialize(Value::Object(self.params.clone()))
            .map_err(|e| Failure::new(format!("invalid argument: {e}")))
    }

    /// Adds a warning to the result, each text once.
    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// Adds a deprecation to the result: what goes, and in which version of which collection.
    pub fn deprecate(&mut self, msg: &str, version: &str, collection_name: &str) {
        self.deprecations.push(json!({
            "msg": msg, "version": version, "collection_name": collection_name,
        }));
    }
}
