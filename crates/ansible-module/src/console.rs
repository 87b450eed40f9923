//! A result as text for a person.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::python;

/// Lines of unchanged text shown around a difference.
const CONTEXT: usize = 3;

/// Said in the text's own place rather than among the returned values.
const SAID: [&str; 8] = [
    "changed",
    "failed",
    "skipped",
    "msg",
    "diff",
    "warnings",
    "deprecations",
    "invocation",
];

/// The state and message, the differences, the warnings, then the returned values.
pub(crate) fn text(result: &Map<String, Value>) -> String {
    let mut out = String::new();
    let is = |key| result.get(key) == Some(&Value::Bool(true));
    out += match () {
        () if is("failed") => "failed",
        () if is("skipped") => "skipped",
        () if is("changed") => "changed",
        () => "ok",
    };
    if let Some(msg) = result.get("msg") {
        out += &format!(": {}", plain(msg));
    }
    out.push('\n');
    for diff in list(result, "diff") {
        out += &difference(diff);
    }
    for warning in list(result, "warnings") {
        let _ = writeln!(out, "warning: {}", plain(warning));
    }
    for deprecation in list(result, "deprecations") {
        let _ = writeln!(out, "deprecated: {}", plain(&deprecation["msg"]));
    }
    for (key, value) in result
        .iter()
        .filter(|(key, _)| !SAID.contains(&key.as_str()))
    {
        let _ = writeln!(out, "{key}: {}", plain(value));
    }
    printable(&out)
}

fn list<'a>(result: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    result
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => format!("{value:#}"),
        other => python::str(other),
    }
}

/// Container names and error texts come from outside and must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

fn difference(diff: &Value) -> String {
    if let Some(prepared) = diff["prepared"].as_str() {
        return format!("{}\n", prepared.trim_end());
    }
    let side = |key: &str| diff[key].as_str().unwrap_or_default();
    let before: Vec<&str> = side("before").lines().collect();
    let after: Vec<&str> = side("after").lines().collect();
    let same_start = before
        .iter()
        .zip(&after)
        .take_while(|(b, a)| b == a)
        .count();
    let same_end = before[same_start..]
        .iter()
        .rev()
        .zip(after[same_start..].iter().rev())
        .take_while(|(b, a)| b == a)
        .count();
    let (before_end, after_end) = (before.len() - same_end, after.len() - same_end);
    if same_start == before_end && same_start == after_end {
        return String::new();
    }
    let mut out = format!(
        "--- {}\n+++ {}\n",
        side("before_header"),
        side("after_header")
    );
    let mut add = |mark: char, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(out, "{mark}{line}");
        }
    };
    add(' ', &before[same_start.saturating_sub(CONTEXT)..same_start]);
    add('-', &before[same_start..before_end]);
    add('+', &after[same_start..after_end]);
    add(
        ' ',
        &before[before_end..before.len().min(before_end + CONTEXT)],
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn says_state_difference_warnings_and_values() {
        let result = json!({
            "changed": true, "msg": "done", "warnings": ["look \u{1b}[31m out"], "start": 100_000,
            "diff": [{"before": "1\n2\n3\n4\n5\nold\n7\n", "after": "1\n2\n3\n4\n5\nnew\nmore\n7\n",
                "before_header": "/etc/a", "after_header": "/etc/a"}],
            "invocation": {"module_args": {"a": 1}},
        });
        let expected = "changed: done\n--- /etc/a\n+++ /etc/a\n 3\n 4\n 5\n-old\n+new\n+more\n 7\n\
                        warning: look \u{fffd}[31m out\nstart: 100000\n";
        assert_eq!(text(result.as_object().unwrap()), expected);
    }

    #[test]
    fn equal_texts_are_no_difference() {
        assert_eq!(difference(&json!({"before": "a\n", "after": "a\n"})), "");
        assert_eq!(
            difference(&json!({"before": "a\na\n", "after": "a\n"})),
            "--- \n+++ \n a\n-a\n"
        );
    }
}
