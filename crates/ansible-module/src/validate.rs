//! Parameters checked against a specification in the order of ansible-core's `ArgumentSpecValidator`.

use serde_json::{Map, Value};

use crate::censor::Secrets;
use crate::coerce::coerce;
use crate::python;
use crate::relations;
use crate::{Kind, Opt, Spec};

/// What is wrong with the parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// In ansible-core's words.
    Other(String),
    /// Options that do not exist: the names and what is supported, without the module's name.
    Unsupported(String),
}

/// Parameters after the checks.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// With defaults, by aliases too; a value that could not be coerced is as it came.
    pub params: Map<String, Value>,
    /// ansible reports the first error only.
    pub error: Option<Invalid>,
    pub warnings: Vec<String>,
    pub secrets: Secrets,
    unsupported: Vec<String>,
    supported: String,
}

/// Checks and coerces the parameters.
pub(crate) fn validate(spec: &Spec, mut params: Map<String, Value>) -> Checked {
    let mut checked = Checked::default();
    checked.level(spec, &mut params, &Place::default());
    if !checked.unsupported.is_empty() {
        checked.unsupported.sort();
        let names = checked.unsupported.join(", ");
        let text = format!(
            "{names}. Supported parameters include: {}.",
            checked.supported
        );
        checked.fail(Invalid::Unsupported(text));
    }
    // ansible hides the values as they came; what coercion made of them is as secret. Values that
    // do not fit were reported above.
    let _ = checked.secrets.add_params(spec, &params);
    checked.params = params;
    checked
}

/// Where in the nested options we are.
#[derive(Debug, Clone, Default)]
struct Place {
    /// The names of the options around.
    context: Vec<&'static str>,
    /// The same for warnings, with the index in lists: `volumes[0].`.
    prefix: String,
}

impl Place {
    fn in_context(&self, text: String) -> String {
        if self.context.is_empty() {
            text
        } else {
            format!("{text} found in {}", self.path())
        }
    }

    fn path(&self) -> String {
        self.context.join(" -> ")
    }

    /// `argument 'x' is of type …` has its place in the middle, with a full stop.
    fn in_sentence(&self, end: &str) -> String {
        if self.context.is_empty() {
            String::new()
        } else {
            format!(" found in '{}'{end}", self.path())
        }
    }
}

impl Checked {
    fn fail(&mut self, error: Invalid) {
        self.error.get_or_insert(error);
    }

    fn check(&mut self, error: Option<String>, place: &Place) {
        if let Some(text) = error {
            self.fail(Invalid::Other(place.in_context(text)));
        }
    }

    fn level(&mut self, spec: &Spec, params: &mut Map<String, Value>, place: &Place) {
        self.aliases(spec, params, place);
        if let Err(text) = self.secrets.add_params(spec, params) {
            self.fail(Invalid::Other(text));
        }
        self.unknown(spec, params, place);
        self.check(relations::mutually_exclusive(spec, params), place);
        self.defaults(spec, params, false);
        self.check(relations::required(spec, params), place);
        self.types(spec, params, place);
        self.choices(spec, params, place);
        self.check(relations::required_together(spec, params), place);
        self.check(relations::required_one_of(spec, params), place);
        self.check(relations::required_if(spec, params), place);
        self.check(relations::required_by(spec, params), place);
        self.defaults(spec, params, true);
        self.suboptions(spec, params, place);
    }

    fn aliases(&mut self, spec: &Spec, params: &mut Map<String, Value>, place: &Place) {
        for option in &spec.options {
            if option.required && option.default.is_some() {
                self.fail(Invalid::Other(format!(
                    "internal error: required and default are mutually exclusive for {}",
                    option.name
                )));
                return;
            }
            for alias in &option.aliases {
                let Some(value) = params.get(*alias).cloned() else {
                    continue;
                };
                if params.insert(option.name.to_owned(), value).is_some() {
                    let (prefix, name) = (&place.prefix, option.name);
                    self.warnings.push(format!(
                        "Both option {prefix}{name} and its alias {prefix}{alias} are set."
                    ));
                }
            }
        }
    }

    fn unknown(&mut self, spec: &Spec, params: &Map<String, Value>, place: &Place) {
        let before = self.unsupported.len();
        for name in params.keys().filter(|name| spec.find(name).is_none()) {
            let path = place
                .context
                .iter()
                .copied()
                .chain([name.as_str()])
                .collect::<Vec<_>>();
            self.unsupported.push(path.join("."));
        }
        if self.unsupported.len() > before {
            self.supported = supported(spec);
        }
    }

    fn defaults(&mut self, spec: &Spec, params: &mut Map<String, Value>, null_too: bool) {
        for option in &spec.options {
            if params.contains_key(option.name) || (option.default.is_none() && !null_too) {
                continue;
            }
            let default = option.default.clone().unwrap_or_default();
            if option.no_log == Some(true) {
                self.secrets.add(&default);
            }
            params.insert(option.name.to_owned(), default);
        }
    }

    fn types(&mut self, spec: &Spec, params: &mut Map<String, Value>, place: &Place) {
        for option in &spec.options {
            let Some(value) = params.get_mut(option.name) else {
                continue;
            };
            if value.is_null() && !option.required && option.default.is_none() {
                continue;
            }
            match coerce(option.kind, value) {
                Ok(Value::Array(items)) if option.elements.is_some() => {
                    *value = self.elements(option, items, place).into();
                }
                Ok(coerced) => *value = coerced,
                Err(text) => self.fail(Invalid::Other(format!(
                    "argument '{}' is of type {}{} and we were unable to convert to {}: {text}",
                    option.name,
                    python::type_name(value),
                    place.in_sentence("."),
                    option.kind.name()
                ))),
            }
        }
    }

    fn elements(&mut self, option: &Opt, items: Vec<Value>, place: &Place) -> Vec<Value> {
        let kind = option.elements.unwrap_or(Kind::Raw);
        let mut coerced = Vec::new();
        for item in items {
            match coerce(kind, &item) {
                Ok(item) => coerced.push(item),
                Err(text) => self.fail(Invalid::Other(format!(
                    "Elements value for option '{}'{} is of type {} and we were unable to convert to {}: {text}",
                    option.name,
                    place.in_sentence(""),
                    python::type_name(&item),
                    kind.name()
                ))),
            }
        }
        coerced
    }

    fn choices(&mut self, spec: &Spec, params: &mut Map<String, Value>, place: &Place) {
        for option in &spec.options {
            let Some(choices) = &option.choices else {
                continue;
            };
            let Some(value) = params.get_mut(option.name) else {
                continue;
            };
            let allowed = choices
                .iter()
                .map(python::str)
                .collect::<Vec<_>>()
                .join(", ");
            let name = option.name;
            if let Value::Array(items) = value {
                let strange: Vec<_> = items
                    .iter()
                    .filter(|item| !contains(choices, item))
                    .map(python::str)
                    .collect();
                let error = format!(
                    "value of {name} must be one or more of: {allowed}. Got no match for: {}",
                    strange.join(", ")
                );
                self.check((!strange.is_empty()).then_some(error), place);
                continue;
            }
            if !contains(choices, value) {
                unyaml(value, choices);
            }
            if !contains(choices, value) {
                let got = python::str(value);
                self.check(
                    Some(format!(
                        "value of {name} must be one of: {allowed}, got: {got}"
                    )),
                    place,
                );
            }
        }
    }

    fn suboptions(&mut self, spec: &Spec, params: &mut Map<String, Value>, place: &Place) {
        for option in &spec.options {
            let Some(sub) = &option.suboptions else {
                continue;
            };
            let Some(value) = params.get_mut(option.name) else {
                continue;
            };
            if value.is_null() {
                if !option.apply_defaults {
                    continue;
                }
                *value = Value::Object(Map::new());
            }
            let items = match value {
                Value::Array(items) => items.as_mut_slice(),
                single => std::slice::from_mut(single),
            };
            for (index, item) in items.iter_mut().enumerate() {
                let Value::Object(map) = item else {
                    self.fail(Invalid::Other(format!(
                        "value of '{}' must be of type dict or list of dicts",
                        option.name
                    )));
                    continue;
                };
                let mut inner = place.clone();
                inner.context.push(option.name);
                inner.prefix += option.name;
                inner.prefix += &if option.kind == Kind::List {
                    format!("[{index}].")
                } else {
                    ".".into()
                };
                self.level(sub, map, &inner);
            }
        }
    }
}

fn contains(choices: &[Value], value: &Value) -> bool {
    choices.iter().any(|choice| python::equal(choice, value))
}

/// YAML makes booleans of `yes` and `no`, which text options then see as `True` and `False`: where
/// only one choice can be meant, it is taken back.
fn unyaml(value: &mut Value, choices: &[Value]) {
    let truth = match value.as_str() {
        Some("True") => true,
        Some("False") => false,
        _ => return,
    };
    let mut meant: Vec<&Value> = Vec::new();
    for choice in choices {
        let words: &[&str] = if truth {
            &["y", "yes", "on", "1", "true", "t"]
        } else {
            &["n", "no", "off", "0", "false", "f"]
        };
        let same = choice
            .as_str()
            .map_or(python::equal(choice, &truth.into()), |c| words.contains(&c));
        if same && !meant.iter().any(|m| python::equal(m, choice)) {
            meant.push(choice);
        }
    }
    if let [only] = meant[..] {
        *value = only.clone();
    }
}

fn supported(spec: &Spec) -> String {
    let mut names: Vec<_> = spec.options.iter().map(|o| o.name).collect();
    let mut aliases: Vec<_> = spec
        .options
        .iter()
        .flat_map(|o| o.aliases.clone())
        .collect();
    names.sort_unstable();
    aliases.sort_unstable();
    let names = names.join(", ");
    if aliases.is_empty() {
        names
    } else {
        format!("{names} ({})", aliases.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: &Spec, params: &Value) -> Checked {
        validate(spec, params.as_object().cloned().unwrap())
    }

    fn error(spec: &Spec, params: &Value) -> Option<String> {
        check(spec, params).error.map(|error| match error {
            Invalid::Other(text) | Invalid::Unsupported(text) => text,
        })
    }

    fn spec() -> Spec {
        let volume = Spec::suboptions().option(Opt::str("name").aliases(["id"]).required());
        Spec::new("demo")
            .option(Opt::str("state").choices(["on", "off"]).default("on"))
            .option(Opt::int("count"))
            .option(Opt::list("volumes", Kind::Dict).suboptions(volume))
            .required_if("state", "off", &["count"], false)
    }

    #[test]
    fn the_first_error_is_reported_in_ansibles_words() {
        let spec = spec();
        for (params, expected) in [
            (
                json!({"state": "of", "bogus": 1}),
                "value of state must be one of: on, off, got: of",
            ),
            (
                json!({"state": "off"}),
                "state is off but all of the following are missing: count",
            ),
            (
                json!({"volumes": [{}]}),
                "missing required arguments: name found in volumes",
            ),
            (
                json!({"volumes": [{"name": "a", "size": 1}]}),
                "volumes.size. Supported parameters include: name (id).",
            ),
            (
                json!({"count": "abc"}),
                "argument 'count' is of type str and we were unable to convert to int: \
                 \"'abc'\" cannot be converted to an int",
            ),
        ] {
            assert_eq!(error(&spec, &params).as_deref(), Some(expected));
        }
    }

    #[test]
    fn parameters_are_coerced_and_completed() {
        let params = json!({"count": " 1_0e1 ", "volumes": [{"id": 5, "name": "x"}]});
        let checked = check(&spec(), &params);
        assert_eq!(checked.error, None);
        let expected = json!({"count": 100, "volumes": [{"id": 5, "name": "5"}], "state": "on"});
        assert_eq!(Value::from(checked.params), expected);
        let warning = "Both option volumes[0].name and its alias volumes[0].id are set.";
        assert_eq!(checked.warnings, [warning]);
    }
}
