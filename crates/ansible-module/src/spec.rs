//! The argument specification: which options a module takes, and how they relate.

use serde_json::{Map, Value};

/// The type of an option or of a list's elements, as in ansible's `type:` and `elements:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text; anything else is turned into its Python `str()`.
    Str,
    /// An integer of 64 bits.
    Int,
    /// A finite floating point number.
    Float,
    /// A boolean: `yes`, `on`, `1`, `true`, `t`, `y` and their opposites, any case.
    Bool,
    /// Text in which `~`, `~user`, `$VAR` and `${VAR}` are expanded.
    Path,
    /// Whatever was given.
    Raw,
    /// JSON text; a list or mapping is serialised.
    Json,
    /// A number of bytes such as `10M` or `1.5 GB`.
    Bytes,
    /// A number of bits such as `10Mb`.
    Bits,
    /// A list; text is split at commas.
    List,
    /// A mapping; text is read as JSON, a Python literal or `key=value` pairs.
    Dict,
}

impl Kind {
    /// The name in ansible's documentation and error texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Str => "str",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Path => "path",
            Self::Raw => "raw",
            Self::Json => "json",
            Self::Bytes => "bytes",
            Self::Bits => "bits",
            Self::List => "list",
            Self::Dict => "dict",
        }
    }
}

/// One option of a module.
#[derive(Debug, Clone)]
pub struct Opt {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) elements: Option<Kind>,
    pub(crate) suboptions: Option<Spec>,
    pub(crate) apply_defaults: bool,
    pub(crate) required: bool,
    pub(crate) default: Option<Value>,
    pub(crate) choices: Option<Vec<Value>>,
    pub(crate) aliases: Vec<&'static str>,
    pub(crate) no_log: Option<bool>,
    pub(crate) help: &'static str,
}

impl Opt {
    /// An option of the given kind; optional and without default.
    #[must_use]
    pub fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            elements: None,
            suboptions: None,
            apply_defaults: false,
            required: false,
            default: None,
            choices: None,
            aliases: Vec::new(),
            no_log: None,
            help: "",
        }
    }

    /// Text.
    #[must_use]
    pub fn str(name: &'static str) -> Self {
        Self::new(name, Kind::Str)
    }

    /// An integer.
    #[must_use]
    pub fn int(name: &'static str) -> Self {
        Self::new(name, Kind::Int)
    }

    /// A floating point number.
    #[must_use]
    pub fn float(name: &'static str) -> Self {
        Self::new(name, Kind::Float)
    }

    /// A boolean.
    #[must_use]
    pub fn bool(name: &'static str) -> Self {
        Self::new(name, Kind::Bool)
    }

    /// A path; `~` and environment variables are expanded.
    #[must_use]
    pub fn path(name: &'static str) -> Self {
        Self::new(name, Kind::Path)
    }

    /// A value that is taken as it comes.
    #[must_use]
    pub fn raw(name: &'static str) -> Self {
        Self::new(name, Kind::Raw)
    }

    /// JSON text.
    #[must_use]
    pub fn json(name: &'static str) -> Self {
        Self::new(name, Kind::Json)
    }

    /// A number of bytes.
    #[must_use]
    pub fn bytes(name: &'static str) -> Self {
        Self::new(name, Kind::Bytes)
    }

    /// A number of bits.
    #[must_use]
    pub fn bits(name: &'static str) -> Self {
        Self::new(name, Kind::Bits)
    }

    /// A list of `elements`. With [`Kind::Dict`] and [`Opt::suboptions`], a list of records.
    #[must_use]
    pub fn list(name: &'static str, elements: Kind) -> Self {
        Self {
            elements: Some(elements),
            ..Self::new(name, Kind::List)
        }
    }

    /// A mapping: free, or checked when [`Opt::suboptions`] follows.
    #[must_use]
    pub fn dict(name: &'static str) -> Self {
        Self::new(name, Kind::Dict)
    }

    /// What the mapping, or each mapping of the list, may hold. The specification's name is unused.
    #[must_use]
    pub fn suboptions(self, suboptions: Spec) -> Self {
        Self {
            suboptions: Some(suboptions),
            ..self
        }
    }

    /// Fills in the sub-options' defaults even where the option was not given.
    #[must_use]
    pub fn apply_defaults(self) -> Self {
        Self {
            apply_defaults: true,
            ..self
        }
    }

    /// Must be given. Excludes [`Opt::default`].
    #[must_use]
    pub fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    /// The value where none is given; coerced like a given one.
    #[must_use]
    pub fn default(self, value: impl Into<Value>) -> Self {
        Self {
            default: Some(value.into()),
            ..self
        }
    }

    /// The only values allowed; for a list, the only elements.
    #[must_use]
    pub fn choices<V: Into<Value>>(self, choices: impl IntoIterator<Item = V>) -> Self {
        Self {
            choices: Some(choices.into_iter().map(Into::into).collect()),
            ..self
        }
    }

    /// Other names for the option.
    #[must_use]
    pub fn aliases(self, aliases: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            aliases: aliases.into_iter().collect(),
            ..self
        }
    }

    /// Whether the value is a secret. Say `false` for names such as `password_file` that look like
    /// one and are none: left unsaid, ansible warns about them.
    #[must_use]
    pub fn no_log(self, secret: bool) -> Self {
        Self {
            no_log: Some(secret),
            ..self
        }
    }

    /// One line for `--help`.
    #[must_use]
    pub fn help(self, text: &'static str) -> Self {
        Self { help: text, ..self }
    }
}

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

    fn options_json(&self) -> Value {
        self.options
            .iter()
            .map(|o| (o.name.to_owned(), o.to_json()))
            .collect::<Map<_, _>>()
            .into()
    }

    fn relations(&self) -> Map<String, Value> {
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

impl Opt {
    fn to_json(&self) -> Value {
        let mut object = self
            .suboptions
            .as_ref()
            .map(Spec::relations)
            .unwrap_or_default();
        let mut set = |key: &str, value: Value| object.insert(key.to_owned(), value);
        set("type", self.kind.name().into());
        if let Some(elements) = self.elements {
            set("elements", elements.name().into());
        }
        if let Some(suboptions) = &self.suboptions {
            set("options", suboptions.options_json());
        }
        if let Some(default) = &self.default {
            set("default", default.clone());
        }
        if let Some(choices) = &self.choices {
            set("choices", choices.clone().into());
        }
        if let Some(no_log) = self.no_log {
            set("no_log", no_log.into());
        }
        if !self.aliases.is_empty() {
            set("aliases", self.aliases.clone().into());
        }
        for (key, on) in [
            ("required", self.required),
            ("apply_defaults", self.apply_defaults),
        ] {
            if on {
                set(key, true.into());
            }
        }
        object.into()
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}
