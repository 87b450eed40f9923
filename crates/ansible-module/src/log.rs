//! The record of an invocation in the system log, as ansible's Python modules leave it.

use std::os::unix::net::UnixDatagram;

use serde_json::{Map, Value};

use crate::censor::Secrets;
use crate::{Spec, python};

/// syslog.h: facilities an operator may set as `syslog_facility`.
const FACILITIES: [(&str, u8); 13] = [
    ("LOG_USER", 1),
    ("LOG_DAEMON", 3),
    ("LOG_AUTH", 4),
    ("LOG_SYSLOG", 5),
    ("LOG_AUTHPRIV", 10),
    ("LOG_LOCAL0", 16),
    ("LOG_LOCAL1", 17),
    ("LOG_LOCAL2", 18),
    ("LOG_LOCAL3", 19),
    ("LOG_LOCAL4", 20),
    ("LOG_LOCAL5", 21),
    ("LOG_LOCAL6", 22),
    ("LOG_LOCAL7", 23),
];

const INFO: u8 = 6;

/// Sends the record. A host without a log is no reason to fail.
pub(crate) fn invocation(facility: &str, name: &str, text: &str) {
    let facility = FACILITIES
        .iter()
        .find(|(f, _)| *f == facility)
        .map_or(1, |(_, number)| *number);
    let line = format!("<{}>ansible-{name}: {text}", facility * 8 + INFO);
    let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(line.as_bytes(), "/dev/log"));
}

/// `Invoked with a=1 b=2`, without secrets.
pub(crate) fn text(spec: &Spec, params: &Map<String, Value>, secrets: &Secrets) -> String {
    let mut text = "Invoked".to_owned();
    for (index, (name, value)) in params.iter().enumerate() {
        let no_log = spec.find(name).and_then(|option| option.no_log);
        let mut value = Value::String(python::str(value));
        secrets.hide(&mut value);
        let value = match value.as_str() {
            _ if no_log == Some(true) => "NOT_LOGGING_PARAMETER",
            _ if no_log.is_none() && looks_secret(name) => "NOT_LOGGING_PASSWORD",
            // `https://user:password@host`
            Some(url) if url.contains("://") && url.contains('@') => "NOT_LOGGING_PARAMETER",
            other => other.unwrap_or_default(),
        };
        text += if index == 0 { " with " } else { " " };
        text += &format!("{name}={value}");
    }
    text
}

/// `^(?:.+[-_\s])?pass(?:[-_\s]?(?:word|phrase|wrd|wd)?)(?:[-_\s].+)?$`, any case
pub(crate) fn looks_secret(name: &str) -> bool {
    let separator = |c: char| c == '-' || c == '_' || c.is_whitespace();
    let name = name.to_lowercase();
    name.match_indices("pass").any(|(at, _)| {
        let before = &name[..at];
        let starts =
            before.is_empty() || (before.ends_with(separator) && before.chars().count() > 1);
        let rest = &name[at + 4..];
        let word = rest.strip_prefix(separator).unwrap_or(rest);
        let ends = |tail: &str| {
            tail.is_empty()
                || tail
                    .strip_prefix(separator)
                    .is_some_and(|more| !more.is_empty())
        };
        let words = ["", "word", "phrase", "wrd", "wd"];
        starts && (ends(rest) || words.iter().filter_map(|w| word.strip_prefix(w)).any(ends))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Opt;
    use serde_json::json;

    #[test]
    fn names_of_passwords_are_recognised_as_ansible_does() {
        for name in [
            "pass",
            "password",
            "DB_Password",
            "pass_phrase",
            "my-passwd",
            "passwd_file",
            "a_pass_b",
        ] {
            assert!(looks_secret(name), "{name}");
        }
        for name in [
            "bypass",
            "passive",
            "compass_x",
            "passwords",
            "_password",
            "user",
        ] {
            assert!(!looks_secret(name), "{name}");
        }
    }

    #[test]
    fn the_record_holds_no_secrets() {
        let spec = Spec::new("demo")
            .option(Opt::str("key").no_log(true).aliases(["token"]))
            .option(Opt::str("password"))
            .option(Opt::str("password_file").no_log(false))
            .option(Opt::bool("force"));
        let params = json!({"key": "hunter2", "token": "hunter2", "password": "p", "force": true,
            "password_file": "/etc/hunter2", "url": "https://u:p@host/"});
        let mut secrets = Secrets::default();
        secrets.add(&"hunter2".into());
        assert_eq!(
            text(&spec, params.as_object().unwrap(), &secrets),
            "Invoked with key=NOT_LOGGING_PARAMETER token=NOT_LOGGING_PARAMETER \
             password=NOT_LOGGING_PASSWORD force=True password_file=/etc/******** \
             url=NOT_LOGGING_PARAMETER"
        );
        assert_eq!(text(&spec, &Map::new(), &secrets), "Invoked");
    }
}
