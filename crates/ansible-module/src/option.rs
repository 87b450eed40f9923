//! One option of a specification.

use serde_json::Value;

use crate::Spec;

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

    /// The value where none is given; coerced like a given one. `null` is no default.
    #[must_use]
    pub fn default(self, value: impl Into<Value>) -> Self {
        let default = Some(value.into()).filter(|value| !value.is_null());
        Self { default, ..self }
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

impl Opt {
    pub(crate) fn to_json(&self) -> Value {
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
