//! A module whose specification comes from the environment variable `SPEC`, as the keyword
//! arguments of Python's `AnsibleModule` in JSON. It returns its parameters and the JSON in `ECHO`, of
//! which `fail` and `panic` do what they say. `KEEP` is where the result is kept.
//!
//! The compliance test runs it beside a real `AnsibleModule` of the same specification.

use std::env;
use std::error::Error;
use std::process::ExitCode;

use ansible_module::{Diff, Kind, Module, Opt, Outcome, Spec};
use serde_json::{Map, Value};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let spec: Value = serde_json::from_str(&env::var("SPEC")?)?;
    let echo: Value = serde_json::from_str(&env::var("ECHO")?)?;
    let mut module = Module::new(read_spec("from_spec", &spec, &spec["argument_spec"])?);
    if let Ok(path) = env::var("KEEP") {
        module = module.keep_result_at(path);
    }
    Ok(module.run(move |call| {
        if let Some(text) = echo["panic"].as_str() {
            let text = text.to_owned();
            #[expect(clippy::panic, reason = "what a panic prints is under test")]
            let _ = std::thread::spawn(move || panic!("{text}")).join();
        }
        if let Some(text) = echo["fail"].as_str() {
            return Err(text.into());
        }
        Ok(Outcome::new(false)
            .diff(Diff::texts("/etc/demo", "old\n", "new\n"))
            .returning("params", call.params().clone())
            .returning("echo", echo))
    }))
}

fn read_spec(name: &str, relations: &Value, options: &Value) -> Result<Spec, Box<dyn Error>> {
    let mut spec = Spec::new(leak(name));
    for (name, option) in options.as_object().into_iter().flatten() {
        spec = spec.option(read_option(name, option)?);
    }
    for group in list(&relations["mutually_exclusive"]) {
        spec = spec.mutually_exclusive(&names(group));
    }
    for group in list(&relations["required_together"]) {
        spec = spec.required_together(&names(group));
    }
    for group in list(&relations["required_one_of"]) {
        spec = spec.required_one_of(&names(group));
    }
    for rule in list(&relations["required_if"]) {
        let any = rule[3].as_bool().unwrap_or_default();
        let key = leak(rule[0].as_str().ok_or("required_if without key")?);
        spec = spec.required_if(key, rule[1].clone(), &names(&rule[2]), any);
    }
    for (key, needed) in relations["required_by"].as_object().unwrap_or(&Map::new()) {
        spec = spec.required_by(leak(key), &names(needed));
    }
    let check_mode = relations["supports_check_mode"] == true;
    Ok(if check_mode {
        spec.supports_check_mode()
    } else {
        spec
    })
}

fn read_option(name: &str, json: &Value) -> Result<Opt, Box<dyn Error>> {
    let name = leak(name);
    let mut option = match kind(json.get("type").unwrap_or(&"str".into()))? {
        Kind::List => Opt::list(name, kind(json.get("elements").unwrap_or(&"raw".into()))?),
        other => Opt::new(name, other),
    };
    if json["required"] == true {
        option = option.required();
    }
    if json["apply_defaults"] == true {
        option = option.apply_defaults();
    }
    if let Some(default) = json.get("default") {
        option = option.default(default.clone());
    }
    if let Some(choices) = json["choices"].as_array() {
        option = option.choices(choices.clone());
    }
    if let Some(no_log) = json["no_log"].as_bool() {
        option = option.no_log(no_log);
    }
    if json["options"].is_object() {
        option = option.suboptions(read_spec("", json, &json["options"])?);
    }
    Ok(option.aliases(names(&json["aliases"])))
}

fn kind(name: &Value) -> Result<Kind, Box<dyn Error>> {
    const KINDS: [Kind; 11] = [
        Kind::Str,
        Kind::Int,
        Kind::Float,
        Kind::Bool,
        Kind::Path,
        Kind::Raw,
        Kind::Json,
        Kind::Bytes,
        Kind::Bits,
        Kind::List,
        Kind::Dict,
    ];
    let kind = KINDS.into_iter().find(|kind| *name == kind.name());
    kind.ok_or_else(|| format!("no such kind: {name}").into())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn names(value: &Value) -> Vec<&'static str> {
    list(value)
        .iter()
        .filter_map(Value::as_str)
        .map(leak)
        .collect()
}

/// A real module's names are literals.
fn leak(name: &str) -> &'static str {
    name.to_owned().leak()
}
