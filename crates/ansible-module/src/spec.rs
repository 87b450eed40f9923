//! The argument specification: which options a module takes, and how they relate.

use serde_json::{Map, Value};

use crate::Opt;

/// A rule of `required_if`.
#[derive(Debug, Clone)]
pub(crate) struct RequiredIf {
    pub key: &'static str,
    pub value: Value,
    pub needed: Vec<&'static str>,
    pub any: bool,
}

/// An argument specification: the options of a module (or of one of its mappings) and their relations.
///
/// ```
/// use ansible_module::{Opt, Spec};
///
/// let spec = Spec::new("motd")
///     .about("Write the message of the day")
///     .option(Opt::str("state").choices(["present", "absent"]).default("present"))
///     .option(Opt::str("text").aliases(["content"]).help("What to say"))
///     .required_if("state", "present", &["text"], false)
///     .supports_check_mode();
/// assert_eq!(spec.to_json()["argument_spec"]["state"]["default"], "present");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Spec {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) options: Vec<Opt>,
    pub(crate) mutually_exclusive: Vec<Vec<&'static str>>,
    pub(crate) required_together: Vec<Vec<&'static str>>,
    pub(crate) required_one_of: Vec<Vec<&'static str>>,
    pub(crate) required_if: Vec<RequiredIf>,
    pub(crate) required_by: Vec<(&'static str, Vec<&'static str>)>,
    pub(crate) supports_check_mode: bool,
    pub(crate) read_only: bool,
}

impl Spec {
    /// A module without options, by its name without the collection.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// An empty specification for [`Opt::suboptions`].
    #[must_use]
    pub fn suboptions() -> Self {
        Self::default()
    }

    /// One line on what the module does, for `--help`.
    #[must_use]
    pub fn about(self, text: &'static str) -> Self {
        Self {
            about: text,
            ..self
        }
    }

    /// Adds an option.
    #[must_use]
    pub fn option(mut self, option: Opt) -> Self {
        self.options.push(option);
        self
    }

    /// At most one of these may be given.
    #[must_use]
    pub fn mutually_exclusive(mut self, names: &[&'static str]) -> Self {
        self.mutually_exclusive.push(names.to_vec());
        self
    }

    /// All of these, or none.
    #[must_use]
    pub fn required_together(mut self, names: &[&'static str]) -> Self {
        self.required_together.push(names.to_vec());
        self
    }

    /// At least one of these.
    #[must_use]
    pub fn required_one_of(mut self, names: &[&'static str]) -> Self {
        self.required_one_of.push(names.to_vec());
        self
    }

    /// Where `key` has `value`, all of `needed` must be given, or with `any` at least one.
    #[must_use]
    pub fn required_if(
        mut self,
        key: &'static str,
        value: impl Into<Value>,
        needed: &[&'static str],
        any: bool,
    ) -> Self {
        self.required_if.push(RequiredIf {
            key,
            value: value.into(),
            needed: needed.to_vec(),
            any,
        });
        self
    }

    /// Where `key` is given, all of `needed` must be.
    #[must_use]
    pub fn required_by(mut self, key: &'static str, needed: &[&'static str]) -> Self {
        self.required_by.push((key, needed.to_vec()));
        self
    }

    /// The module can tell what it would change without changing it.
    #[must_use]
    pub fn supports_check_mode(self) -> Self {
        Self {
            supports_check_mode: true,
            ..self
        }
    }

    /// The module never changes anything: it supports check mode, and runs by hand without
    /// arguments, where others show their help.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self {
            read_only: true,
            supports_check_mode: true,
            ..self
        }
    }

    /// The specification as the keyword arguments of Python's `AnsibleModule`, unset ones left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = self.relations();
        object.insert("argument_spec".into(), self.options_json());
        object.insert(
            "supports_check_mode".into(),
            self.supports_check_mode.into(),
        );
        Value::Object(object)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Opt> {
        self.options
            .iter()
            .find(|o| o.name == name || o.aliases.contains(&name))
    }

    pub(crate) fn options_json(&self) -> Value {
        self.options
            .iter()
            .map(|o| (o.name.to_owned(), o.to_json()))
            .collect::<Map<_, _>>()
            .into()
    }

    pub(crate) fn relations(&self) -> Map<String, Value> {
        let required_if: Vec<Value> = self
            .required_if
            .iter()
            .map(|r| {
                vec![
                    r.key.into(),
                    r.value.clone(),
                    r.needed.clone().into(),
                    r.any.into(),
                ]
                .into()
            })
            .collect();
        let required_by: Map<_, _> = self
            .required_by
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.clone().into()))
            .collect();
        [
            (
                "mutually_exclusive",
                Value::from(self.mutually_exclusive.clone()),
            ),
            ("required_together", self.required_together.clone().into()),
            ("required_one_of", self.required_one_of.clone().into()),
            ("required_if", required_if.into()),
            ("required_by", required_by.into()),
        ]
        .into_iter()
        .filter(|(_, v)| !is_empty(v))
        .map(|(k, v)| (k.to_owned(), v))
        .collect()
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}
