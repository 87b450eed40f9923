//! What the engine itself says of the configuration file that is about to be written, while it still runs on the
//! old one: it would find out otherwise when all containers are down.

use crate::{
    config,
    observed::Observed,
    step::{Configure, Step},
};
use anyhow::{Context, Result};
use host::command::run;
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, fchown},
    path::{Path, PathBuf},
    process,
};

/// nobody
const NOBODY: u32 = 65534;

/// Why the engine would not start again with the file and the flags it was started with.
pub fn refusal(observed: &Observed, steps: &[Step]) -> Result<Option<String>> {
    let configure = steps.iter().find_map(|step| match step {
        Step::Configure(change) => Some(&**change),
        _ => None,
    });
    let (Some(Configure { path, after, .. }), [program, flags @ ..]) =
        (configure, observed.flags.as_slice())
    else {
        return Ok(None);
    };
    if let Some(other) = other_file(flags, path) {
        return Ok(Some(format!(
            "dockerd reads its configuration from {other}, not from {}; give config_file={other}",
            path.display()
        )));
    }
    // Even to validate a file, dockerd makes the account dockremap that our key names (seen on 26.1). The plan has
    // looked at the key itself.
    let Some(text) = config::with_remap(after.as_deref(), None)? else {
        return Ok(None);
    };
    let complaint = complaint(program, flags, &text)?;
    Ok(complaint.map(|(scratch, words)| {
        let words = words.replace(&*scratch.to_string_lossy(), &path.to_string_lossy());
        format!(
            "with {} as it would be, dockerd would not start: {words}; set that right first",
            path.display()
        )
    }))
}

/// The file that the engine reads, where that is not `path`.
fn other_file<'f>(flags: &'f [String], path: &Path) -> Option<&'f str> {
    let mut words = flags.iter().map(String::as_str);
    let named = words.find_map(|word| word.strip_prefix("--config-file"));
    let file = match named {
        Some("") => words.next()?,
        Some(file) => file.strip_prefix('=')?,
        None => "/etc/docker/daemon.json",
    };
    (Path::new(file) != path).then_some(file)
}

/// What dockerd complains of, and the path that it calls the file.
fn complaint(program: &str, flags: &[String], text: &str) -> Result<Option<(PathBuf, String)>> {
    let scratch = Scratch::new(text)?;
    let file = scratch.0.to_string_lossy();
    let command = [program]
        .into_iter()
        .chain(flags.iter().map(String::as_str));
    let command: Vec<_> = command.chain(["--config-file", &file]).collect();
    let checked = run(command.iter().chain(&["--validate"])).finish()?;
    let (fine, said) = if checked.stderr.contains("unknown flag: --validate") {
        // Docker before 23. To start as nobody fails, but only once the flags and the file are read and merged, and
        // before anything is made.
        let user = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ];
        let said = run(user.iter().chain(&command)).finish()?.stderr;
        (said.contains("needs to be started with root"), said)
    } else {
        (checked.status.success(), checked.stderr)
    };
    // What it logs on the way is not the reason.
    let reason: Vec<_> = said
        .lines()
        .filter(|line| !line.starts_with("time="))
        .collect();
    Ok((!fine).then(|| (scratch.0.clone(), reason.join(" "))))
}

/// A file in memory, which goes when this does.
struct Scratch(PathBuf);

impl Scratch {
    fn new(text: &str) -> Result<Scratch> {
        let scratch = Scratch(format!("/run/bulkhead-daemon-{}.json", process::id()).into());
        let context = || format!("cannot write {}", scratch.0.display());
        let mut options = OpenOptions::new();
        let mut file = (options.write(true).create_new(true).mode(0o400))
            .open(&scratch.0)
            .with_context(context)?;
        file.write_all(text.as_bytes()).with_context(context)?;
        fchown(&file, Some(NOBODY), None).with_context(context)?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_configuration_file_of_the_engines_own_is_found_on_its_command_line() {
        let ours = Path::new("/etc/docker/daemon.json");
        for (line, other) in [
            ("-H fd://", None),
            ("--config-file /etc/docker/daemon.json", None),
            ("--config-file /nix/store/x", Some("/nix/store/x")),
            (
                "-D --config-file=/nix/store/x -H fd://",
                Some("/nix/store/x"),
            ),
            ("--config-file", None),
        ] {
            assert_eq!(other_file(&words(line), ours), other, "{line}");
        }
        let line = words("-H fd://");
        let other = other_file(&line, Path::new("/etc/other.json"));
        assert_eq!(other, Some("/etc/docker/daemon.json"));
    }
}
