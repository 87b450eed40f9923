//! `os.path.expandvars` and `os.path.expanduser`.

use std::os::unix::fs::MetadataExt;
use std::{env, fs};

/// The path with `$VAR`, `${VAR}`, `~` and `~user` expanded; what is unknown stays as it is.
pub(crate) fn path(text: &str) -> String {
    user(&variables(text))
}

fn variables(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, length) = match after.strip_prefix('{') {
            Some(braced) => match braced.find('}') {
                Some(end) => (&braced[..end], end + 2),
                None => ("", 0),
            },
            None => {
                let end = after
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        match variable(name) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[at..=at + length]),
        }
        rest = &after[length..];
    }
    out + rest
}

/// `std::env::var` panics on no name, and must not see one with `=`.
fn variable(name: &str) -> Option<String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        None
    } else {
        env::var(name).ok()
    }
}

fn user(text: &str) -> String {
    let Some(after) = text.strip_prefix('~') else {
        return text.to_owned();
    };
    let (name, rest) = after.split_at(after.find('/').unwrap_or(after.len()));
    let home = if name.is_empty() {
        own_home()
    } else {
        home_where(0, name)
    };
    match home {
        Some(home) => {
            let path = format!("{}{rest}", home.trim_end_matches('/'));
            if path.is_empty() { "/".into() } else { path }
        }
        None => text.to_owned(),
    }
}

fn own_home() -> Option<String> {
    env::var("HOME").ok().or_else(|| {
        // The owner of /proc/self is the effective user.
        let uid = fs::metadata("/proc/self").ok()?.uid();
        home_where(2, &uid.to_string())
    })
}

/// The home of the first account in passwd(5) whose field has this value. The file is read rather
/// than the name service asked: a static executable cannot load its libraries.
fn home_where(field: usize, value: &str) -> Option<String> {
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    let fields = accounts
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(field) == Some(&value))?;
    fields.get(5).map(|home| (*home).to_owned())
}
