//! Running other programs: an argument vector, a time-out, a clean environment, no shell.

use anyhow::{Context, Result, bail};
use std::{
    ffi::{OsStr, OsString},
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Where programs are looked for, NixOS included.
pub const PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

/// How long a program may take where the caller says nothing else.
pub const USUAL_TIMEOUT: Duration = Duration::from_secs(60);

/// A program and its arguments, ready to run.
pub struct Run {
    argv: Vec<OsString>,
    timeout: Duration,
    directory: PathBuf,
}

/// What a program left behind.
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything it wrote to its standard output, as UTF-8.
    pub stdout: String,
    /// Everything it wrote to its standard error.
    pub stderr: String,
}

/// A program with its arguments.
pub fn run<A: AsRef<OsStr>>(argv: impl IntoIterator<Item = A>) -> Run {
    Run {
        argv: argv
            .into_iter()
            .map(|word| word.as_ref().to_owned())
            .collect(),
        timeout: USUAL_TIMEOUT,
        directory: "/".into(),
    }
}

impl Run {
    /// Ends the program, and fails, when it takes longer than this.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Run {
        self.timeout = timeout;
        self
    }

    /// Runs it there rather than in the root directory.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Run {
        self.directory = directory.to_owned();
        self
    }

    /// Runs it and gives its standard output.
    ///
    /// # Errors
    /// When it cannot be started, is not done in time, or ends with anything but success: then with
    /// all it wrote to standard error (standard output where that is empty).
    pub fn stdout(&self) -> Result<String> {
        let finished = self.finish()?;
        if finished.status.success() {
            return Ok(finished.stdout);
        }
        let said = if finished.stderr.trim().is_empty() {
            finished.stdout
        } else {
            finished.stderr
        };
        bail!(
            "{} ended with {}: {}",
            self.line(),
            finished.status,
            said.trim()
        )
    }

    /// Runs it, for callers to whom its exit status is an answer.
    ///
    /// # Errors
    /// When it cannot be started or is not done in time.
    pub fn finish(&self) -> Result<Finished> {
        let mut child = self.spawn()?;
        let (out, err) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let Some(status) = wait(&mut child, self.timeout)? else {
            end_group(&mut child);
            bail!(
                "{} was not done after {} s",
                self.line(),
                self.timeout.as_secs()
            )
        };
        let text = |reader: thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
        };
        Ok(Finished {
            status,
            stdout: text(out),
            stderr: text(err),
        })
    }

    fn spawn(&self) -> Result<Child> {
        let (program, arguments) = self.argv.split_first().context("an empty command")?;
        Command::new(program)
            .args(arguments)
            .env_clear()
            .envs([("PATH", PATH), ("LC_ALL", "C.UTF-8"), ("HOME", "/root")])
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: a hang-up of our terminal does not reach it, a time-out ends it whole.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {}", program.to_string_lossy()))
    }

    fn line(&self) -> String {
        let words: Vec<_> = self
            .argv
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        format!("`{}`", words.join(" "))
    }
}

/// Whether a program of this name is to be found.
#[must_use]
pub fn exists(program: &str) -> bool {
    PATH.split(':')
        .any(|directory| std::path::Path::new(directory).join(program).is_file())
}

fn collect(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = vec![];
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn wait(child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    let (since, mut pause) = (Instant::now(), Duration::from_millis(1));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if since.elapsed() >= timeout {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn end_group(child: &mut Child) {
    let group = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

/// Calls `probe` until it gives `Some`, or fails with `what` after `timeout`.
///
/// # Errors
/// With the last thing the probe complained of.
pub fn until<T>(
    timeout: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let since = Instant::now();
    loop {
        let seen = probe();
        if let Ok(Some(value)) = seen {
            return Ok(value);
        }
        if since.elapsed() >= timeout {
            let seconds = timeout.as_secs();
            return match seen {
                Err(error) => Err(error.context(format!("{what}: not within {seconds} s"))),
                Ok(_) => bail!("{what}: not within {seconds} s"),
            };
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_failure_reach_the_caller_whole() {
        assert_eq!(run(["echo", "a b"]).stdout().unwrap(), "a b\n");
        let error = run(["ls", "/no such place"])
            .stdout()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`ls /no such place`") && error.contains("No such file"),
            "{error}"
        );
        assert!(run(["no-such-program"]).stdout().is_err());
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let since = Instant::now();
        let slow = run(["sh", "-c", "sleep 30; echo"]).timeout(Duration::from_millis(200));
        let error = slow.stdout().unwrap_err().to_string();
        assert!(error.contains("was not done after 0 s"), "{error}");
        assert!(since.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn the_environment_is_clean() {
        let environment = run(["env"]).stdout().unwrap();
        assert!(!environment.contains("CARGO") && environment.contains("LC_ALL=C.UTF-8"));
    }
}
