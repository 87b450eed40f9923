//! One call of a module.

use std::cell::Cell;
use std::iter;

use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
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
    /// A person called it, and gets the result as text.
    pub by_hand: bool,
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
    /// When the type does not fit what the specification lets pass (a negative number for a `u32`),
    /// with the option's name.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let current = Cell::new(None);
        let mut params = self.params.iter();
        let pairs = iter::from_fn(|| {
            let pair = params.next();
            current.set(pair.map(|(name, _)| name));
            pair.map(|(name, value)| (name.as_str(), value.clone()))
        });
        T::deserialize(MapDeserializer::<_, serde_json::Error>::new(pairs)).map_err(|e| {
            let name = current
                .get()
                .map(|name| format!(" '{name}'"))
                .unwrap_or_default();
            Failure::new(format!("invalid argument{name}: {e}"))
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Args {
        start: u32,
        user: Option<String>,
        state: State,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum State {
        On,
    }

    fn parse(params: &Value) -> Result<Args, Failure> {
        let params = params.as_object().cloned().unwrap();
        Invocation {
            params,
            ..Invocation::default()
        }
        .parse()
    }

    #[test]
    fn parameters_become_a_type() {
        let args = parse(&json!({"start": 100_000, "user": null, "state": "on"}));
        assert_eq!(
            args,
            Ok(Args {
                start: 100_000,
                user: None,
                state: State::On
            })
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        for (params, text) in [
            (
                json!({"user": "u", "start": -5, "state": "on"}),
                "argument 'start': invalid value: integer `-5`",
            ),
            (
                json!({"start": true, "state": "on"}),
                "argument 'start': invalid type: boolean `true`",
            ),
            (
                json!({"start": 1, "state": "off"}),
                "argument 'state': unknown variant `off`",
            ),
            (json!({"state": "on"}), "argument: missing field `start`"),
        ] {
            let msg = parse(&params).unwrap_err().msg;
            assert!(msg.contains(text), "{msg}");
        }
    }
}
