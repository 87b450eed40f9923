//! Values as Python sees and prints them: ansible's texts and comparisons are made of `str`, `repr`
//! and `==`.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// `type(value).__name__`
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// `str(type(value))`
pub(crate) fn class(value: &Value) -> String {
    format!("<class '{}'>", type_name(value))
}

/// `str(value)`
pub(crate) fn str(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => repr(other),
    }
}

/// `repr(value)`
pub(crate) fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(n) => number(n),
        Value::String(s) => repr_str(s),
        Value::Array(a) => format!("[{}]", a.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(o) => {
            let pairs: Vec<_> = o
                .iter()
                .map(|(k, v)| format!("{}: {}", repr_str(k), repr(v)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// `bool(value)`
pub(crate) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

/// `a == b`: `True` equals `1`, and `1` equals `1.0`.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| equal(v, w)))
        }
        _ => match (as_number(a), as_number(b)) {
            (Some(a), Some(b)) => match (a.as_i128(), b.as_i128()) {
                (Some(a), Some(b)) => a == b,
                _ => a.as_f64() == b.as_f64(),
            },
            _ => a == b,
        },
    }
}

/// `json.dumps(value)`: a space after each separator, ASCII only.
pub(crate) fn dumps(value: &Value) -> String {
    match value {
        Value::Number(n) => number(n),
        Value::String(s) => dumps_str(s),
        Value::Array(a) => format!("[{}]", a.iter().map(dumps).collect::<Vec<_>>().join(", ")),
        Value::Object(o) => {
            let pairs: Vec<_> = o
                .iter()
                .map(|(k, v)| format!("{}: {}", dumps_str(k), dumps(v)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

fn as_number(value: &Value) -> Option<Number> {
    match value {
        Value::Bool(b) => Some(u8::from(*b).into()),
        Value::Number(n) => Some(n.clone()),
        _ => None,
    }
}

fn number(n: &Number) -> String {
    match n.as_f64() {
        Some(f) if n.is_f64() => float(f),
        _ => n.to_string(),
    }
}

/// The shortest digits that read back the same, in scientific notation from 1e16 up and below 1e-4.
fn float(f: f64) -> String {
    let scientific = format!("{f:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(e) if !(-4..16).contains(&e) => {
            let sign = if e < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", e.abs())
        }
        _ if f.fract() == 0.0 => format!("{f:.1}"),
        _ => f.to_string(),
    }
}

fn repr_str(s: &str) -> String {
    let quote = if s.contains('\'') && !s.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for c in s.chars() {
        // Writing to a String cannot fail.
        let _ = match c {
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            '\\' => write!(out, "\\\\"),
            c if c == quote => write!(out, "\\{c}"),
            c if c.is_control() => write!(out, "\\x{:02x}", u32::from(c)),
            c => write!(out, "{c}"),
        };
    }
    out.push(quote);
    out
}

fn dumps_str(s: &str) -> String {
    let mut out = String::new();
    for c in Value::from(s).to_string().chars() {
        if matches!(c, ' '..='~') {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prints_as_python_does() {
        let value = json!({"a": [1, 1.0, 1e16, 1.5e-5, 0.0001, true, null], "it's": "\"\n\u{1}é"});
        assert_eq!(
            repr(&value),
            r#"{'a': [1, 1.0, 1e+16, 1.5e-05, 0.0001, True, None], "it's": '"\n\x01é'}"#
        );
        assert_eq!(
            dumps(&json!({"é": ["𝄞", 2.0]})),
            r#"{"\u00e9": ["\ud834\udd1e", 2.0]}"#
        );
    }

    #[test]
    fn compares_numbers_and_booleans_by_value() {
        assert!(equal(&json!([1, true]), &json!([1.0, 1])));
        assert!(!equal(&json!(1), &json!("1")));
        assert!(!equal(&json!({"a": 1}), &json!({"b": 1})));
    }
}
