//! The text of `--help`.

use std::fmt::Write as _;

use crate::python;
use crate::{Opt, Spec};

const FLAGS: &str = "
Flags:
  -C, --check      tell what would change, and change nothing
  -D, --diff       show differences
  -v, --verbose    say more; may be repeated
      --json       print the result as JSON
      --argument-spec  print the options as JSON
      --version    print the version
  -h, --help       print this

Called with the path of a JSON file as only argument, or with JSON on standard
input, it speaks Ansible's module protocol.
";

/// The whole text.
pub(crate) fn text(spec: &Spec) -> String {
    let name = spec.name;
    let mut text = format!(
        "{name}: {}\n\nUsage: {name} [OPTION=VALUE]... [FLAG]...\n",
        spec.about
    );
    if !spec.options.is_empty() {
        text.push_str("\nOptions:\n");
        options(&mut text, spec, "  ");
    }
    text + FLAGS
}

fn options(text: &mut String, spec: &Spec, indent: &str) {
    for option in &spec.options {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{indent}{}={}", option.name, kind(option));
        for line in [option.help.to_owned(), facts(option)] {
            if !line.is_empty() {
                let _ = writeln!(text, "{indent}    {line}");
            }
        }
        if let Some(sub) = &option.suboptions {
            options(text, sub, &format!("{indent}    "));
        }
    }
}

fn kind(option: &Opt) -> String {
    match (&option.choices, option.elements) {
        (Some(choices), None) => choices
            .iter()
            .map(python::str)
            .collect::<Vec<_>>()
            .join("|"),
        (_, Some(elements)) => format!("{},...", elements.name().to_uppercase()),
        _ => option.kind.name().to_uppercase(),
    }
}

fn facts(option: &Opt) -> String {
    let mut facts = Vec::new();
    if option.required {
        facts.push("required".to_owned());
    }
    if let Some(default) = &option.default {
        facts.push(format!("default: {}", python::str(default)));
    }
    if let (Some(choices), Some(_)) = (&option.choices, option.elements) {
        let choices: Vec<_> = choices.iter().map(python::str).collect();
        facts.push(format!("choices: {}", choices.join(", ")));
    }
    if !option.aliases.is_empty() {
        facts.push(format!("also: {}", option.aliases.join(", ")));
    }
    if facts.is_empty() {
        String::new()
    } else {
        format!("({})", facts.join("; "))
    }
}
