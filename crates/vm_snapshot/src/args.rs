//! What the user asks for. The only place that names options.

use ansible_module::{Failure, Opt, Spec};
use serde::Deserialize;
use std::time::Duration;

/// The options, as plan and apply see them.
#[derive(Debug, Clone, Deserialize)]
pub struct Args {
    /// Name or UUID.
    pub vm: String,
    pub name: Option<String>,
    pub state: State,
    pub description: Option<String>,
    pub kind: Wanted,
    pub memory: Maybe,
    pub quiesce: Maybe,
    pub keep: Option<i64>,
    pub older_than: Option<String>,
    pub abandoned: Abandoned,
    pub uri: String,
    /// Seconds.
    pub timeout: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Present,
    Absent,
    Reverted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    Auto,
    Internal,
    External,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Maybe {
    Auto,
    True,
    False,
}

/// What is done with the files that a revert left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Abandoned {
    Keep,
    Remove,
}

impl Args {
    /// What no specification can say.
    ///
    /// # Errors
    /// With the option and what is wrong about it.
    pub fn check(&self) -> Result<(), Failure> {
        let refuse = |text: String| Err(Failure::new(text));
        if let Some(name) = &self.name
            && let Some(reason) = bad_name(name)
        {
            return refuse(format!("name \"{name}\" {reason}"));
        }
        if self.keep.is_some_and(|keep| keep < 0) {
            return refuse("keep must be 0 or more".to_owned());
        }
        if let Some(age) = &self.older_than
            && seconds(age).is_none()
        {
            let form = "a number and one of s, m, h, d, w, such as 7d";
            return refuse(format!("older_than must be {form}, got: {age}"));
        }
        let retention = self.keep.is_some() || self.older_than.is_some();
        match self.state {
            State::Reverted if self.name.is_none() => {
                refuse("state is reverted but all of the following are missing: name".to_owned())
            }
            State::Reverted if self.abandoned == Abandoned::Remove => refuse(
                "abandoned=remove does not go with state=reverted, which leaves more behind".to_owned(),
            ),
            State::Reverted if retention => {
                refuse("keep and older_than do not go with state=reverted".to_owned())
            }
            State::Absent if self.name.is_none() && !retention && self.abandoned == Abandoned::Keep => refuse(
                "state is absent but any of the following are missing: name, keep, older_than, abandoned=remove"
                    .to_owned(),
            ),
            State::Present if self.keep == Some(0) => {
                refuse("keep must be 1 or more with state=present: the new snapshot is one".to_owned())
            }
            State::Absent if self.name.is_some() && retention => {
                refuse("keep and older_than do not go with state=absent and a name".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The age from which on snapshots are removed, in seconds.
    #[must_use]
    pub fn older_than(&self) -> Option<i64> {
        self.older_than.as_deref().and_then(seconds)
    }
}

/// `timeout`, once it is known to be a time.
///
/// # Errors
/// When it is not positive.
pub fn patience(timeout: i64) -> Result<Duration, Failure> {
    match u64::try_from(timeout) {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(Failure::new("timeout must be a positive number of seconds")),
    }
}

/// What libvirt, file names and directories cannot take.
fn bad_name(name: &str) -> Option<&'static str> {
    // Overlays are called after it, and a file name has 255 bytes at most.
    match name {
        "" => Some("is empty"),
        _ if name.len() > 100 => Some("is longer than 100 bytes"),
        _ if name.starts_with('.') => Some("begins with a dot"),
        _ if name.contains('/') => Some("holds a slash"),
        _ if name.chars().any(char::is_control) => Some("holds a control character"),
        _ if name.trim() != name => Some("begins or ends with a space"),
        _ => None,
    }
}

/// `7d` in seconds.
fn seconds(age: &str) -> Option<i64> {
    let split = age.char_indices().next_back()?.0;
    let unit = match &age[split..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        "w" => 604_800,
        _ => return None,
    };
    let number: u32 = age[..split].parse().ok()?;
    i64::from(number).checked_mul(unit)
}

/// The options of `vm_snapshot`.
#[must_use]
pub fn spec() -> Spec {
    let spec = Spec::new("vm_snapshot")
        .about("Take, revert or remove a verified snapshot of a VM of libvirt's")
        .option(
            Opt::str("vm")
                .required()
                .help("The VM's name, exactly, or its UUID"),
        )
        .option(Opt::str("name").help("The snapshot's name; dated if unset and state is present"))
        .option(
            Opt::str("state")
                .choices(["present", "absent", "reverted"])
                .default("present")
                .help("Take the snapshot, remove it, or bring the VM back to it"),
        )
        .option(Opt::str("description").help("What to remember about it"))
        .option(
            Opt::str("kind")
                .choices(["auto", "internal", "external"])
                .default("auto")
                .help("Within the disks' own files, or by overlays on top of them"),
        )
        .option(
            Opt::str("memory")
                .choices(["auto", "true", "false"])
                .default("auto")
                .help("Whether the RAM of a running VM belongs to it"),
        )
        .option(
            Opt::str("quiesce")
                .choices(["auto", "true", "false"])
                .default("auto")
                .help("Whether the guest agent brings the file systems to rest for it"),
        )
        .option(
            Opt::int("keep").help("Keep only so many of the VM's snapshots that this module took"),
        )
        .option(Opt::str("older_than").help("Remove those that are older, such as 7d"))
        .option(
            Opt::str("abandoned")
                .choices(["keep", "remove"])
                .default("keep")
                .help("What becomes of files that a revert left behind"),
        );
    connection(spec).supports_check_mode()
}

/// The options that both modules have.
pub fn connection(spec: Spec) -> Spec {
    spec.option(
        Opt::str("uri")
            .default("qemu:///system")
            .help("Where libvirt is"),
    )
    .option(
        Opt::int("timeout")
            .default(300)
            .help("Seconds that each step which waits may take"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_numbers_with_a_unit() {
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("2w"), Some(1_209_600));
        for bad in ["", "7", "d", "-1d", "7 d", "7y", "7é", "1.5h"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_that_files_cannot_have_are_refused() {
        for good in [
            "before",
            "Pre user namespaces",
            "ü \"x\" 'y' & <z>",
            "-x",
            "5",
        ] {
            assert_eq!(bad_name(good), None, "{good}");
        }
        for bad in ["", ".x", "a/b", "a\nb", " a", &"x".repeat(101)] {
            assert!(bad_name(bad).is_some(), "{bad}");
        }
    }
}
