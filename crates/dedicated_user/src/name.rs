//! Names that every program takes. Pure.
//!
//! Debian's useradd lets nearly anything pass, others do not. What all of them take, systemd (its "strict" rule),
//! adduser's `NAME_REGEX`, upstream shadow's useradd and Podman alike, is `[a-z_][a-z0-9_-]*` of at most 31 letters.

/// A login record has room for so many bytes (utmp(5), with the one that ends it).
const LONGEST: usize = 31;

/// Whether every program takes it for an account or a group.
#[must_use]
pub fn is_legal(name: &str) -> bool {
    let first = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    name.starts_with(first) && name.len() <= LONGEST && name.chars().all(may_follow)
}

/// The same without what is not allowed; `None` where nothing is left.
#[must_use]
pub fn proposal(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let kept: String = lower.chars().filter(|letter| may_follow(*letter)).collect();
    let begins = kept.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '-');
    // All of it is ASCII by now.
    let short = &begins[..begins.len().min(LONGEST)];
    let proposed = short.trim_end_matches('-');
    is_legal(proposed).then(|| proposed.to_owned())
}

fn may_follow(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_every_program_takes_are_legal() {
        for name in [
            "litellm",
            "opnsense-exporter",
            "silly-tavern",
            "_x",
            "a1",
            &"a".repeat(31),
        ] {
            assert!(is_legal(name), "{name}");
        }
        for name in [
            "",
            "Silly",
            "silly tavern",
            "1a",
            "-a",
            "a.b",
            "ü",
            "a$",
            &"a".repeat(32),
        ] {
            assert!(!is_legal(name), "{name}");
        }
    }

    #[test]
    fn a_proposal_is_the_name_without_what_is_not_allowed() {
        for (name, proposed) in [
            ("Silly Tavern", "sillytavern"),
            ("Silly-Tavern", "silly-tavern"),
            ("paperless.ai", "paperlessai"),
            ("2fauth", "fauth"),
            ("-x-", "x"),
            ("Größe", "gre"),
        ] {
            assert_eq!(proposal(name).as_deref(), Some(proposed));
        }
        assert_eq!(proposal("日本"), None);
        assert_eq!(proposal(&"ab".repeat(40)).unwrap().len(), 31);
    }
}
