//! What is asked of one bind mount: a strategy, or a strategy with what it is allowed.

use crate::step::Direction;
use rechown::{Immutable, OutsideLinks, Policy, Unknown};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    Shift,
    Idmap,
    Leave,
    #[default]
    Auto,
}

/// What becomes of the bind mounts that are not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    Warn,
    Refuse,
    Auto,
}

/// As the options of `volume_rechown` with these names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wish {
    pub strategy: How,
    pub unmapped: OrKeep,
    pub immutable: OrLift,
    pub outside_links: OrKeep,
    pub allow_dangerous_path: bool,
    pub allow_exposed_path: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrKeep {
    #[default]
    Fail,
    Keep,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrLift {
    #[default]
    Fail,
    Lift,
}

impl Wish {
    /// What a shift on the way to remapped is allowed.
    pub fn policy(self) -> Policy {
        Policy {
            unmapped: match self.unmapped {
                OrKeep::Fail => Unknown::Refuse,
                OrKeep::Keep => Unknown::Keep,
            },
            immutable: match self.immutable {
                OrLift::Fail => Immutable::Refuse,
                OrLift::Lift => Immutable::Lift,
            },
            outside_links: match self.outside_links {
                OrKeep::Fail => OutsideLinks::Refuse,
                OrKeep::Keep => OutsideLinks::Keep,
            },
            strays: Direction::ToRemapped.policy().strays,
        }
    }
}

/// `{path: strategy}` or `{path: {strategy: …, …}}`.
pub fn by_path<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Wish>, D::Error> {
    let values = BTreeMap::<String, Value>::deserialize(from)?;
    let wish = |(path, value): (String, Value)| {
        let wish = match value {
            Value::String(_) => How::deserialize(value).map(|strategy| Wish {
                strategy,
                ..Wish::default()
            }),
            value => Wish::deserialize(value),
        };
        match wish {
            Ok(wish) => Ok((path, wish)),
            Err(error) => Err(D::Error::custom(format!("{path}: {error}"))),
        }
    };
    values.into_iter().map(wish).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_wish_is_a_word_or_a_word_with_more_and_an_error_names_its_path() {
        let read = |value: Value| by_path(value);
        let wishes = read(json!({"/a": "shift", "/b": {"strategy": "idmap", "immutable": "lift"}}));
        let wishes = wishes.unwrap();
        assert_eq!(wishes["/a"].strategy, How::Shift);
        assert_eq!(wishes["/b"].policy().immutable, Immutable::Lift);
        assert_eq!(read(json!({"/a": {}})).unwrap()["/a"].strategy, How::Auto);
        for odd in [json!("move"), json!({"stratgey": "shift"}), json!(7)] {
            let said = read(json!({"/odd": odd})).unwrap_err().to_string();
            assert!(said.starts_with("/odd: "), "{said}");
        }
    }
}
