//! docker-compose.override.yml with services set to what a user namespace asks for. The text is changed line by
//! line, so that comments and layout survive, and then read again: it has to say what it said, and that. Pure.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

/// What a service is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// It stays in the host's user namespace.
    HostMode,
    /// It sets no kernel parameter, whatever the base file says. The tag is compose v2's.
    NoSysctls,
}

impl Setting {
    fn key(self) -> &'static str {
        match self {
            Setting::HostMode => "userns_mode",
            Setting::NoSysctls => "sysctls",
        }
    }

    /// As it is written.
    fn text(self) -> &'static str {
        match self {
            Setting::HostMode => "\"host\"",
            Setting::NoSysctls => "!reset []",
        }
    }

    /// As it is read, without its tag.
    fn value(self) -> Value {
        match self {
            Setting::HostMode => "host".into(),
            Setting::NoSysctls => json!([]),
        }
    }
}

/// The file with these settings of services; `None` when it says so already.
///
/// What is not in block style (one key a line, no flow `{}`, no anchor on a service) is refused with the lines to
/// add by hand.
pub fn with(text: Option<&str>, settings: &[(String, Setting)]) -> Result<Option<String>> {
    let old = text.unwrap_or_default();
    let before = parse(old)?;
    let mut wanted = before.clone();
    let mut lines: Vec<String> = old.lines().map(str::to_owned).collect();
    for (service, setting) in settings {
        let key = setting.key();
        match before
            .get("services")
            .and_then(|services| services.get(service)?.get(key))
        {
            Some(value) if *value == setting.value() => continue,
            Some(value) => bail!("service {service} has {key}: {value} already"),
            None => {}
        }
        insert(&mut lines, service, *setting).with_context(|| by_hand(settings))?;
        set(&mut wanted, service, *setting).with_context(|| by_hand(settings))?;
    }
    let mut new = lines.join("\n");
    new.push('\n');
    ensure!(
        parse(&new).is_ok_and(|after| after == wanted),
        "the file is not in a form that can be added to; {}",
        by_hand(settings)
    );
    Ok((wanted != before).then_some(new))
}

/// For the operator whose file cannot be changed.
fn by_hand(settings: &[(String, Setting)]) -> String {
    let entries = settings.iter().map(|(service, setting)| {
        format!("  {service}:\n    {}: {}\n", setting.key(), setting.text())
    });
    format!(
        "add these lines by hand:\nservices:\n{}",
        entries.collect::<String>()
    )
}

fn parse(text: &str) -> Result<Value> {
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(json!({}));
    }
    serde_saphyr::from_str(text).context("it is not YAML")
}

fn set(file: &mut Value, service: &str, setting: Setting) -> Result<()> {
    let mut at = file;
    for key in ["services", service] {
        let map = at
            .as_object_mut()
            .context("it does not hold services by name")?;
        at = map.entry(key).or_insert(Value::Null);
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
    }
    let service = at
        .as_object_mut()
        .context("it does not hold services by name")?;
    service.insert(setting.key().to_owned(), setting.value());
    Ok(())
}

/// Puts the key right below the service, and the service at the end of `services`, where they are missing.
fn insert(lines: &mut Vec<String>, service: &str, setting: Setting) -> Result<()> {
    let services = match find(lines, 0..lines.len(), 0, "services")? {
        Some(at) => at,
        None => {
            lines.push("services:".to_owned());
            lines.len() - 1
        }
    };
    let end = end_of_block(lines, services, 0);
    let indent = first_indent(lines, services + 1..end).unwrap_or(2);
    let at = match find(lines, services + 1..end, indent, service)? {
        Some(at) => at,
        None => {
            lines.insert(end, format!("{:indent$}{service}:", ""));
            end
        }
    };
    let end = end_of_block(lines, at, indent);
    let indent = first_indent(lines, at + 1..end).unwrap_or(indent + 2);
    lines.insert(
        at + 1,
        format!("{:indent$}{}: {}", "", setting.key(), setting.text()),
    );
    Ok(())
}

/// The line that is `key:` at this indentation.
fn find(
    lines: &[String],
    range: std::ops::Range<usize>,
    indent: usize,
    key: &str,
) -> Result<Option<usize>> {
    for at in range {
        let Some((found, rest)) = lines[at]
            .split_once(':')
            .filter(|_| indent_of(&lines[at]) == Some(indent))
        else {
            continue;
        };
        if found.trim().trim_matches(['"', '\'']) == key {
            let rest = rest.trim();
            ensure!(
                rest.is_empty() || rest.starts_with('#'),
                "{key} is not in block style"
            );
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// The line after the last one that belongs to the key on line `at`; comments and empty lines at its end do not.
fn end_of_block(lines: &[String], at: usize, indent: usize) -> usize {
    let mut end = at + 1;
    for (number, line) in lines.iter().enumerate().skip(at + 1) {
        match indent_of(line) {
            Some(found) if found > indent => end = number + 1,
            Some(_) => break,
            None => {}
        }
    }
    end
}

fn first_indent(lines: &[String], range: std::ops::Range<usize>) -> Option<usize> {
    lines[range].iter().find_map(|line| indent_of(line))
}

/// How far a line is indented; `None` for one that says nothing.
fn indent_of(line: &str) -> Option<usize> {
    let text = line.trim_start();
    (!text.is_empty() && !text.starts_with('#')).then(|| line.len() - text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, services: &[&str]) -> Result<Option<String>> {
        let settings = services
            .iter()
            .map(|name| ((*name).to_owned(), Setting::HostMode));
        super::with(Some(text), &settings.collect::<Vec<_>>())
    }

    #[test]
    fn a_file_that_is_not_there_is_made() {
        let settings = [("vpn", Setting::HostMode), ("dns", Setting::NoSysctls)];
        let settings = settings.map(|(name, setting)| (name.to_owned(), setting));
        let text = super::with(None, &settings).unwrap().unwrap();
        assert_eq!(
            text,
            "services:\n  vpn:\n    userns_mode: \"host\"\n  dns:\n    sysctls: !reset []\n"
        );
        assert_eq!(super::with(Some(&text), &settings).unwrap(), None);
    }

    #[test]
    fn comments_layout_and_other_keys_survive() {
        let old = "\
# ours
version: '2.4'
services:
    # the first
    vpn:   # with a remark
        environment:
            A: |
              services:
                vpn:
        # end of vpn

    web:
        image: web  # newer

networks:
    x: {}
";
        let new = with(old, &["vpn", "dns"]).unwrap().unwrap();
        let expected = old
            .replace("remark\n", "remark\n        userns_mode: \"host\"\n")
            .replace(
                "# newer\n",
                "# newer\n    dns:\n      userns_mode: \"host\"\n",
            );
        assert_eq!(new, expected);
        assert_eq!(with(&new, &["vpn", "dns"]).unwrap(), None);
    }

    #[test]
    fn what_is_empty_is_filled() {
        for old in [
            "",
            "# nothing\n",
            "services:\n",
            "services:\n  vpn:\n",
            "services:\n  \"vpn\":\n",
        ] {
            let new = with(old, &["vpn"]).unwrap().unwrap();
            assert!(new.starts_with(old), "{new}");
            assert_eq!(
                parse(&new).unwrap(),
                json!({"services": {"vpn": {"userns_mode": "host"}}})
            );
        }
    }

    #[test]
    fn what_cannot_be_added_to_is_refused_with_the_lines_to_add() {
        for old in [
            "services: {vpn: {image: x}}\n",
            "services:\n  vpn: {image: x}\n",
            "services:\n  vpn: &a\n    image: x\n",
            "services:\n  vpn:\n    <<: *base\nx-base: &base\n",
            "services:\n- vpn\n",
            "services: [\n",
        ] {
            let error = format!("{:#}", with(old, &["vpn"]).unwrap_err());
            assert!(
                error.contains("add these lines") || error.contains("not YAML"),
                "{old}: {error}"
            );
        }
        let other = with("services:\n  vpn:\n    userns_mode: \"\"\n", &["vpn"]).unwrap_err();
        assert!(other.to_string().contains("already"), "{other}");
    }
}
