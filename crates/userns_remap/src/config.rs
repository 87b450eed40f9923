//! daemon.json, merged: unknown keys, their order and the indentation survive. Pure.

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Map, Value, ser::PrettyFormatter};

const KEY: &str = "userns-remap";

/// The value of `userns-remap`, if the file sets one.
pub fn remap(text: Option<&str>) -> Result<Option<String>> {
    match parse(text)?.get(KEY) {
        None => Ok(None),
        Some(Value::String(value)) if value.is_empty() => Ok(None),
        Some(Value::String(value)) => Ok(Some(value.clone())),
        Some(other) => bail!("its {KEY} is {other}, not a string"),
    }
}

/// The file with `userns-remap` set, or taken out. `None` where there is, or should be, no file.
pub fn with_remap(text: Option<&str>, value: Option<&str>) -> Result<Option<String>> {
    let mut keys = parse(text)?;
    match value {
        Some(value) => keys.insert(KEY.to_owned(), Value::from(value)),
        // `shift_remove` keeps the order of the rest.
        None => keys.shift_remove(KEY),
    };
    if text.is_none() && keys.is_empty() {
        return Ok(None);
    }
    render(&keys, indentation(text.unwrap_or_default())).map(Some)
}

/// Whether the file turns a feature on.
pub fn has_feature(text: Option<&str>, name: &str) -> Result<bool> {
    Ok(parse(text)?
        .get("features")
        .and_then(|features| features.get(name))
        == Some(&Value::Bool(true)))
}

/// The flags on the command line that the file sets too, on which the engine refuses to start. Flags and keys
/// have the same names, but for the plural of those that can be given several times.
pub fn collisions(text: Option<&str>, command_line: &[String]) -> Result<Vec<String>> {
    let keys = parse(text)?;
    let in_file = |flag: &str| {
        let name = match flag {
            "-H" => "host",
            "-D" => "debug",
            "-l" => "log-level",
            "-g" => "data-root",
            "-s" => "storage-driver",
            "-G" => "group",
            "-b" => "bridge",
            "-p" => "pidfile",
            long => long.strip_prefix("--")?,
        };
        let name = name.split('=').next()?;
        let plural = format!("{name}s");
        [name, &plural]
            .into_iter()
            .find(|key| keys.contains_key(*key))
            .map(|_| flag.to_owned())
    };
    Ok(command_line
        .iter()
        .filter_map(|flag| in_file(flag))
        .collect())
}

fn parse(text: Option<&str>) -> Result<Map<String, Value>> {
    let text = text.unwrap_or_default();
    // The engine takes an empty file for an empty object.
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text).context("it is not JSON")? {
        Value::Object(keys) => Ok(keys),
        _ => bail!("it is JSON, but not an object"),
    }
}

fn render(keys: &Map<String, Value>, indentation: &str) -> Result<String> {
    let mut out = vec![];
    let formatter = PrettyFormatter::with_indent(indentation.as_bytes());
    keys.serialize(&mut serde_json::Serializer::with_formatter(
        &mut out, formatter,
    ))?;
    out.push(b'\n');
    Ok(String::from_utf8(out)?)
}

/// The white space before the first key, four spaces where there is none.
fn indentation(text: &str) -> &str {
    let first = text.lines().find(|line| line.trim_start().starts_with('"'));
    let white = first.map(|line| &line[..line.len() - line.trim_start().len()]);
    white.filter(|white| !white.is_empty()).unwrap_or("    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str =
        "{\n  \"log-driver\": \"local\",\n  \"a\": 1.5,\n  \"dns\": [\n    \"10.0.0.1\"\n  ]\n}\n";

    #[test]
    fn flags_that_the_file_sets_too_are_found() {
        let file = Some(
            r#"{"hosts": ["tcp://127.0.0.1:2375"], "userns-remap": "default", "debug": true}"#,
        );
        let line = [
            "dockerd",
            "-H",
            "fd://",
            "--userns-remap=x",
            "--containerd=/run/c.sock",
        ]
        .map(str::to_owned);
        assert_eq!(collisions(file, &line).unwrap(), ["-H", "--userns-remap=x"]);
        assert!(collisions(None, &line).unwrap().is_empty());
    }

    #[test]
    fn a_feature_is_on_only_where_the_file_says_true() {
        let on = |text| has_feature(Some(text), "containerd-snapshotter").unwrap();
        assert!(on(r#"{"features": {"containerd-snapshotter": true}}"#));
        assert!(!on(r#"{"features": {"containerd-snapshotter": false}}"#));
        assert!(!on(r#"{"features": {"buildkit": true}}"#) && !on(""));
    }

    #[test]
    fn other_keys_their_order_and_the_indentation_survive() {
        let new = with_remap(Some(OLD), Some("default")).unwrap().unwrap();
        let expected = OLD.replace("  ]\n}", "  ],\n  \"userns-remap\": \"default\"\n}");
        assert_eq!(new, expected);
        assert_eq!(remap(Some(&new)).unwrap().as_deref(), Some("default"));
        assert_eq!(with_remap(Some(&new), None).unwrap().as_deref(), Some(OLD));
    }

    #[test]
    fn a_missing_file_is_made_and_an_empty_one_is_an_empty_object() {
        let new = "{\n    \"userns-remap\": \"u\"\n}\n";
        assert_eq!(with_remap(None, Some("u")).unwrap().as_deref(), Some(new));
        assert_eq!(
            with_remap(Some(" \n"), Some("u")).unwrap().as_deref(),
            Some(new)
        );
        assert_eq!(with_remap(None, None).unwrap(), None);
        assert_eq!(remap(Some(r#"{"userns-remap": ""}"#)).unwrap(), None);
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for bad in ["{", "[1]", "{} x", r#"{"userns-remap": 1}"#] {
            assert!(remap(Some(bad)).is_err(), "{bad}");
        }
    }
}
