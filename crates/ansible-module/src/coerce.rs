//! One value made to fit one kind, as ansible-core's `check_type_*` do it.

use serde_json::{Map, Value};

use crate::Kind;
use crate::{expand, literal, python};

/// The value as `kind`.
///
/// # Errors
/// The text ansible-core gives for it.
pub(crate) fn coerce(kind: Kind, value: &Value) -> Result<Value, String> {
    match kind {
        Kind::Str => Ok(text(value).into()),
        Kind::Path => Ok(expand::path(&text(value)).into()),
        Kind::Raw => Ok(value.clone()),
        Kind::Int => int(value),
        Kind::Float => float(value),
        Kind::Bool => bool(value),
        Kind::Json => json(value),
        Kind::Bytes => human(value, false).ok_or_else(|| cannot(value, "a Byte value")),
        Kind::Bits => human(value, true).ok_or_else(|| cannot(value, "a Bit value")),
        Kind::List => list(value),
        Kind::Dict => dict(value).map(Value::Object),
    }
}

fn cannot(value: &Value, wanted: &str) -> String {
    format!("{} cannot be converted to {wanted}", python::class(value))
}

fn text(value: &Value) -> String {
    if value.is_null() {
        String::new()
    } else {
        python::str(value)
    }
}

fn int(value: &Value) -> Result<Value, String> {
    match value {
        // A boolean is an integer to Python, and passes as it is.
        Value::Bool(_) => Some(value.clone()),
        Value::Number(n) if !n.is_f64() => Some(value.clone()),
        Value::Number(_) => whole(&python::str(value)),
        Value::String(s) => whole(s),
        _ => None,
    }
    .ok_or_else(|| format!("\"{}\" cannot be converted to an int", python::repr(value)))
}

/// A decimal number without fraction, as Python's `decimal` reads it: `12`, `1_000`, `5.0`, `1e3`.
fn whole(text: &str) -> Option<Value> {
    let text = text.trim().replace('_', "");
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(&text)),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{before}{after}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if digits.bytes().all(|b| b == b'0') {
        return exponent.parse::<i32>().ok().map(|_| 0.into());
    }
    let shift = exponent
        .parse::<i32>()
        .ok()?
        .checked_sub(i32::try_from(after.len()).ok()?)?;
    for _ in shift..0 {
        if digits.pop().is_some_and(|d| d != '0') {
            return None;
        }
    }
    // No integer of 64 bits has more than 20 digits; the cap keeps 1e999999999 from filling memory.
    digits.extend((0..shift.min(20)).map(|_| '0'));
    let number = format!("{sign}{digits}");
    number
        .parse::<i64>()
        .map(Value::from)
        .or_else(|_| number.parse::<u64>().map(Value::from))
        .ok()
}

fn float(value: &Value) -> Result<Value, String> {
    match value {
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        Value::Number(n) => n.as_f64(),
        Value::String(s) => s.trim().replace('_', "").parse().ok(),
        _ => None,
    }
    // JSON has no infinities.
    .filter(|f| f.is_finite())
    .map(Value::from)
    .ok_or_else(|| cannot(value, "a float"))
}

fn bool(value: &Value) -> Result<Value, String> {
    let word = match value {
        Value::Bool(_) => return Ok(value.clone()),
        Value::Number(n) if n.as_f64() == Some(1.0) => "1".into(),
        Value::Number(n) if n.as_f64() == Some(0.0) => "0".into(),
        Value::Number(_) | Value::String(_) => python::str(value).to_lowercase(),
        _ => return Err(cannot(value, "a bool")),
    };
    match word.trim() {
        "y" | "yes" | "on" | "1" | "true" | "t" => Ok(true.into()),
        "n" | "no" | "off" | "0" | "false" | "f" => Ok(false.into()),
        _ => Err(format!(
            "The value '{}' is not a valid boolean. Valid booleans include: 'y', 'yes', 'on', '1', \
             'true', 't', 1, 'n', 'no', 'off', '0', 'false', 'f', 0",
            python::str(value)
        )),
    }
}

fn json(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(s) => Ok(s.trim().into()),
        Value::Array(_) | Value::Object(_) => Ok(python::dumps(value).into()),
        _ => Err(cannot(value, "a json string")),
    }
}

fn list(value: &Value) -> Result<Value, String> {
    match value {
        Value::Array(_) => Ok(value.clone()),
        Value::String(s) => Ok(s.split(',').collect()),
        Value::Number(_) | Value::Bool(_) => Ok(vec![python::str(value)].into()),
        _ => Err(cannot(value, "a list")),
    }
}

/// A mapping, JSON, a Python literal, or `k1=v1, k2="v 2"`.
pub(crate) fn dict(value: &Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(o) => Ok(o.clone()),
        Value::String(s) if s.starts_with('{') => {
            match serde_json::from_str(s).ok().or_else(|| literal::parse(s)) {
                Some(Value::Object(o)) => Ok(o),
                _ => Err("unable to evaluate string as dictionary".into()),
            }
        }
        Value::String(s) if s.contains('=') => key_values(s).ok_or_else(|| {
            "unable to evaluate string in the \"key=value\" format as dictionary".into()
        }),
        Value::String(_) => Err("dictionary requested, could not parse JSON or key=value".into()),
        _ => Err(cannot(value, "a dict")),
    }
}

fn key_values(text: &str) -> Option<Map<String, Value>> {
    let mut fields = vec![String::new()];
    let mut quote = None;
    let mut chars = text.trim().chars();
    while let Some(c) = chars.next() {
        let push = match c {
            '\\' => chars.next(),
            '\'' | '"' if quote.is_none() => {
                quote = Some(c);
                None
            }
            c if quote == Some(c) => {
                quote = None;
                None
            }
            ',' | ' ' if quote.is_none() => {
                fields.push(String::new());
                None
            }
            c => Some(c),
        };
        if let (Some(c), Some(field)) = (push, fields.last_mut()) {
            field.push(c);
        }
    }
    fields
        .iter()
        .filter(|field| !field.is_empty())
        .map(|field| field.split_once('=').map(|(k, v)| (k.to_owned(), v.into())))
        .collect()
}

/// `10M`, `1.5 GB`, `2kilobyte`; with `bits` `10Mb` and `2kilobit`. A single letter may be of any case.
fn human(value: &Value, bits: bool) -> Option<Value> {
    const UNITS: [(char, &str); 9] = [
        ('B', ""),
        ('K', "kilo"),
        ('M', "mega"),
        ('G', "giga"),
        ('T', "tera"),
        ('P', "peta"),
        ('E', "exa"),
        ('Z', "zeta"),
        ('Y', "yotta"),
    ];
    let text = python::str(value);
    let text = text.trim_end();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start();
    if number.ends_with('.') || !unit.bytes().all(|b| b.is_ascii_alphabetic()) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let factor = match unit.chars().next() {
        None => 1.0,
        Some(letter) => {
            let letter = letter.to_ascii_uppercase();
            let power = UNITS.iter().position(|(l, _)| *l == letter)?;
            let (symbol, word) = if bits { ('b', "bit") } else { ('B', "byte") };
            let short = if letter == 'B' {
                symbol.to_string()
            } else {
                format!("{letter}{symbol}")
            };
            let long = format!("{}{word}", UNITS[power].1);
            if unit.len() > 1 && unit != short && unit.to_ascii_lowercase() != long {
                return None;
            }
            1024_f64.powi(i32::try_from(power).ok()?)
        }
    };
    whole(&format!("{:.0}", (number * factor).round_ties_even()))
}
