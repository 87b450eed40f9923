//! Keeping secrets out of results, as ansible-core's `remove_values` does.

use std::cmp::Reverse;

use serde_json::{Map, Value};

use crate::{Kind, Spec};
use crate::{coerce, python};

const WHOLE: &str = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER";

/// Texts that may not appear in a result.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Adds every text and number in the value. Booleans and nulls are no secrets: hiding each
    /// `true` would hide the result.
    pub(crate) fn add(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Array(a) => a.iter().for_each(|v| self.add(v)),
            Value::Object(o) => o.values().for_each(|v| self.add(v)),
            Value::Number(_) => self.add_text(python::str(value)),
            Value::String(s) => self.add_text(s.clone()),
        }
    }

    /// Adds the values of all `no_log` options.
    ///
    /// # Errors
    /// ansible-core's text when a value that should hold sub-options cannot.
    pub(crate) fn add_params(
        &mut self,
        spec: &Spec,
        params: &Map<String, Value>,
    ) -> Result<(), String> {
        for option in &spec.options {
            let Some(value) = params.get(option.name) else {
                continue;
            };
            if option.no_log == Some(true) && python::truthy(value) {
                self.add(value);
            }
            let Some(sub) = option.suboptions.as_ref().filter(|_| !value.is_null()) else {
                continue;
            };
            for item in value
                .as_array()
                .map_or(std::slice::from_ref(value), Vec::as_slice)
            {
                match item {
                    Value::Object(o) => self.add_params(sub, o)?,
                    Value::String(_) => self.add_params(sub, &coerce::dict(item)?)?,
                    _ => {
                        let wanted = if option.kind == Kind::List {
                            "list"
                        } else {
                            "dict"
                        };
                        return Err(format!(
                            "Value '{}' in the sub parameter field '{}' must be a {wanted}, not '{}'",
                            python::str(item),
                            option.name,
                            python::type_name(item)
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Hides the secrets in everything the value holds; keys are left, as ansible leaves them.
    pub(crate) fn hide(&self, value: &mut Value) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Array(a) => a.iter_mut().for_each(|v| self.hide(v)),
            Value::Object(o) => o.values_mut().for_each(|v| self.hide(v)),
            Value::Number(_) => {
                let text = python::str(value);
                if self.0.iter().any(|secret| text.contains(secret)) {
                    *value = WHOLE.into();
                }
            }
            Value::String(text) if self.0.contains(text) => *text = WHOLE.into(),
            Value::String(text) => {
                for secret in &self.0 {
                    if text.contains(secret) {
                        *text = text.replace(secret, "********");
                    }
                }
            }
        }
    }

    /// Longest first, so that no secret is left standing around a shorter one inside it.
    fn add_text(&mut self, text: String) {
        if text.is_empty() || self.0.contains(&text) {
            return;
        }
        let at = self
            .0
            .partition_point(|s| Reverse(s.chars().count()) <= Reverse(text.chars().count()));
        self.0.insert(at, text);
    }
}
