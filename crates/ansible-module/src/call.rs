//! How the executable was called: by ansible with JSON, or by hand with words.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use serde_json::{Map, Value};

use crate::coerce::coerce;
use crate::{Kind, Spec};

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Call {
    Help,
    Version,
    ArgumentSpec,
    Run(Request),
}

/// A run of the module.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Request {
    /// The module's own options, unchecked.
    pub params: Map<String, Value>,
    pub check_mode: bool,
    pub diff_mode: bool,
    pub verbosity: u8,
    /// Say nothing of the parameters.
    pub no_log: bool,
    pub ignore_unknown_opts: bool,
    /// The name ansible knows the module by, for its error texts.
    pub name: Option<String>,
    pub syslog_facility: String,
    /// Print the result for a person.
    pub readable: bool,
}

/// A call that cannot be understood, and whether a person made it.
#[derive(Debug, PartialEq)]
pub(crate) struct Misunderstood {
    pub text: String,
    pub readable: bool,
}

/// Reads the executable's arguments (without its own name) and where they say so its standard input.
pub(crate) fn read(spec: &Spec, args: &[OsString]) -> Result<Call, Misunderstood> {
    let by_machine = |text| Misunderstood {
        text,
        readable: false,
    };
    match args {
        [] if io::stdin().is_terminal() => {
            let request = Request {
                readable: true,
                ..Request::default()
            };
            Ok(if spec.read_only {
                Call::Run(request)
            } else {
                Call::Help
            })
        }
        [] => from_stdin().map_err(by_machine),
        [only] if only == "-" => from_stdin().map_err(by_machine),
        [only] if is_arguments_file(only) => from_file(Path::new(only)).map_err(by_machine),
        words => from_words(spec, words),
    }
}

/// A relative name counts only where it cannot be a word typed wrong.
fn is_arguments_file(arg: &OsString) -> bool {
    let path = Path::new(arg);
    let text = arg.to_string_lossy();
    path.is_absolute() || (!text.starts_with('-') && !text.contains('=') && path.is_file())
}

fn from_stdin() -> Result<Call, String> {
    let mut text = Vec::new();
    io::stdin()
        .read_to_end(&mut text)
        .map_err(|e| format!("cannot read the arguments on standard input: {e}"))?;
    from_json(&text)
}

fn from_file(path: &Path) -> Result<Call, String> {
    let text = fs::read(path)
        .map_err(|e| format!("cannot read the arguments at {}: {e}", path.display()))?;
    from_json(&text)
}

pub(crate) fn from_json(text: &[u8]) -> Result<Call, String> {
    let value =
        serde_json::from_slice(text).map_err(|e| format!("the arguments are not JSON: {e}"))?;
    let Value::Object(mut params) = value else {
        return Err("the arguments are not a JSON object".into());
    };
    if let Some(Value::Object(inner)) = params.get_mut("ANSIBLE_MODULE_ARGS") {
        params = std::mem::take(inner);
    }
    let mut request = Request::default();
    let (internal, params) = params
        .into_iter()
        .partition(|(k, _)| k.starts_with("_ansible_"));
    request.params = params;
    let internal: Map<String, Value> = internal;
    let switch = |name: &str| match internal.get(name) {
        None => Ok(false),
        Some(value) => match coerce(Kind::Bool, value) {
            Ok(value) => Ok(value == true),
            Err(text) => Err(format!("{name}: {text}")),
        },
    };
    request.check_mode = switch("_ansible_check_mode")?;
    request.diff_mode = switch("_ansible_diff")?;
    request.no_log = switch("_ansible_no_log")?;
    request.ignore_unknown_opts = switch("_ansible_ignore_unknown_opts")?;
    let verbosity = internal
        .get("_ansible_verbosity")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    request.verbosity = u8::try_from(verbosity).unwrap_or(u8::MAX);
    let text = |name: &str| {
        internal
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    request.name = text("_ansible_module_name");
    request.syslog_facility = text("_ansible_syslog_facility").unwrap_or_default();
    Ok(Call::Run(request))
}

fn from_words(spec: &Spec, words: &[OsString]) -> Result<Call, Misunderstood> {
    let mut request = Request {
        readable: !words.iter().any(|w| w == "--json"),
        ..Request::default()
    };
    for word in words {
        let word = word.to_string_lossy();
        match &*word {
            "--help" | "-h" => return Ok(Call::Help),
            "--version" => return Ok(Call::Version),
            "--argument-spec" => return Ok(Call::ArgumentSpec),
            "--check" | "-C" => request.check_mode = true,
            "--diff" | "-D" => request.diff_mode = true,
            "--json" => {}
            "--verbose" => request.verbosity = request.verbosity.saturating_add(1),
            v if v.len() > 1
                && v.strip_prefix('-')
                    .is_some_and(|v| v.bytes().all(|b| b == b'v')) =>
            {
                let count = u8::try_from(v.len() - 1).unwrap_or(u8::MAX);
                request.verbosity = request.verbosity.saturating_add(count);
            }
            _ => match word
                .split_once('=')
                .filter(|(name, _)| !name.starts_with('-'))
            {
                Some((name, text)) => {
                    request
                        .params
                        .insert(name.to_owned(), typed(spec, name, text));
                }
                None => {
                    return Err(Misunderstood {
                        text: format!("expected OPTION=VALUE or a flag, got '{word}'; see --help"),
                        readable: request.readable,
                    });
                }
            },
        }
    }
    Ok(Call::Run(request))
}

/// Text, but for lists and mappings written as JSON.
fn typed(spec: &Spec, name: &str, text: &str) -> Value {
    spec.find(name)
        .filter(|o| matches!(o.kind, Kind::List | Kind::Dict))
        .and_then(|_| serde_json::from_str(text).ok())
        .filter(|value: &Value| value.is_array() || value.is_object())
        .unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Opt;
    use serde_json::json;

    fn spec() -> Spec {
        Spec::new("demo")
            .option(Opt::str("state"))
            .option(Opt::list("ids", Kind::Int).aliases(["id"]))
    }

    fn words(words: &[&str]) -> Result<Call, Misunderstood> {
        read(
            &spec(),
            &words.iter().map(OsString::from).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn words_are_options_and_flags() {
        let Ok(Call::Run(request)) = words(&["state=a=b", "--check", "id=[1, 2]", "-vv", "-D"])
        else {
            panic!("not a run");
        };
        assert_eq!(
            Value::Object(request.params),
            json!({"state": "a=b", "id": [1, 2]})
        );
        assert_eq!(
            (request.check_mode, request.diff_mode, request.verbosity),
            (true, true, 2)
        );
        assert!(request.readable);
    }

    #[test]
    fn text_that_is_no_list_stays_text() {
        let Ok(Call::Run(request)) = words(&["ids=1,2", "state=[1]", "--json"]) else {
            panic!("not a run");
        };
        assert_eq!(
            Value::Object(request.params),
            json!({"ids": "1,2", "state": "[1]"})
        );
        assert!(!request.readable);
    }

    #[test]
    fn a_word_without_value_is_refused() {
        for word in ["enabled", "--chekc", "--state=x", "-"] {
            let error = words(&[word, "state=a"]).unwrap_err();
            assert!(error.text.contains(word) && error.readable, "{error:?}");
        }
    }

    #[test]
    fn json_is_split_into_options_and_settings() {
        let text = br#"{"state": "x", "_ansible_check_mode": true, "_ansible_verbosity": 999,
            "_ansible_no_log": "no", "_ansible_tomorrow": {}, "_ansible_module_name": "a.b.c"}"#;
        let Ok(Call::Run(request)) = from_json(text) else {
            panic!("not a run")
        };
        let expected = Request {
            params: Map::from_iter([("state".into(), "x".into())]),
            check_mode: true,
            verbosity: 255,
            name: Some("a.b.c".into()),
            ..Request::default()
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn what_is_no_json_object_is_refused_without_quoting_it() {
        for text in [
            "",
            "{\"pass\": \"hunter2\"",
            "[\"hunter2\"]",
            "{\"_ansible_diff\": []}",
        ] {
            let error = from_json(text.as_bytes()).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
