//! What a module reports: an [`Outcome`], or a [`Failure`].

use std::error::Error;

use serde::Serialize;
use serde_json::{Map, Value};

/// One difference for `--diff`. Give `before` and `after`, or `prepared` alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The text before the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The text after the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// What `before` is, usually a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_header: Option<String>,
    /// What `after` is, usually a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_header: Option<String>,
    /// Text to show as it is, in place of a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepared: Option<String>,
}

impl Diff {
    /// A change of the text called `header`.
    pub fn texts(
        header: impl Into<String>,
        before: impl Into<String>,
        after: impl Into<String>,
    ) -> Self {
        let header = header.into();
        Self {
            before: Some(before.into()),
            after: Some(after.into()),
            before_header: Some(header.clone()),
            after_header: Some(header),
            prepared: None,
        }
    }

    /// Text that ansible shows as it is.
    pub fn prepared(text: impl Into<String>) -> Self {
        Self {
            prepared: Some(text.into()),
            ..Self::default()
        }
    }
}

/// What a module that succeeded returns.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Whether something was changed, or in check mode would be.
    pub changed: bool,
    /// Returned in diff mode only, so it may be filled always.
    pub diff: Vec<Diff>,
    /// The module's own return values; `msg` is one of them.
    pub returns: Map<String, Value>,
}

impl Outcome {
    /// An outcome without return values.
    #[must_use]
    pub fn new(changed: bool) -> Self {
        Self {
            changed,
            ..Self::default()
        }
    }

    /// Adds a difference.
    #[must_use]
    pub fn diff(mut self, diff: Diff) -> Self {
        self.diff.push(diff);
        self
    }

    /// Adds a return value.
    #[must_use]
    pub fn returning(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.returns.insert(key.to_owned(), value.into());
        self
    }
}

/// The text of a failure before anything was changed, for one reason or several.
#[must_use]
pub fn refusal(reasons: &[String]) -> String {
    match reasons {
        [one] => format!("refused, nothing was changed: {one}"),
        many => format!("refused, nothing was changed:\n- {}", many.join("\n- ")),
    }
}

/// Why a module failed. Made by `?` from any error, with the whole chain of its sources as text.
///
/// It is no [`Error`] itself: that is what lets `?` turn every error, `anyhow::Error` too, into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong and the way out, for the operator.
    pub msg: String,
    /// Further return values; `changed` is one of them where something was changed before.
    pub returns: Map<String, Value>,
}

impl Failure {
    /// A failure without return values.
    pub fn new(msg: impl Into<String>) -> Self {
        Self {
            msg: msg.into(),
            returns: Map::new(),
        }
    }

    /// Adds a return value.
    #[must_use]
    pub fn returning(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.returns.insert(key.to_owned(), value.into());
        self
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let mut msg = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many errors already end with their source's text.
            if !msg.ends_with(&text) {
                msg = format!("{msg}: {text}");
            }
            source = cause.source();
        }
        Self::new(msg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_the_whole_chain() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("cannot read daemon.json")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let failure = Failure::from(Outer(std::io::Error::other("disk on fire")));
        assert_eq!(failure.msg, "cannot read daemon.json: disk on fire");
        let failure = || -> Result<(), Failure> {
            Err(anyhow::anyhow!("no such file")
                .context("cannot read")
                .context("refused"))?
        };
        assert_eq!(
            failure(),
            Err(Failure::new("refused: cannot read: no such file"))
        );
        assert_eq!(Failure::from("plain text").msg, "plain text");
    }
}
