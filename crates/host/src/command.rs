//! Running other programs: an argument vector, a time-out, a clean environment, no shell.

use crate::account::Account;
use anyhow::{Context, Result, bail, ensure};
use std::{
    ffi::{OsStr, OsString},
    io::{Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Where programs are looked for, NixOS included: its set-user-id wrappers first, since rootless Podman does not
/// come up with the `newuidmap` that is none.
pub const PATH: &str = "/run/wrappers/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

/// How long a program may take where the caller says nothing else.
pub const USUAL_TIMEOUT: Duration = Duration::from_secs(60);

/// A program and its arguments, ready to run.
pub struct Run {
    argv: Vec<OsString>,
    timeout: Duration,
    directory: PathBuf,
    account: Option<Account>,
    input: Vec<u8>,
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
        account: None,
        input: vec![],
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

    /// Runs it as this account, with the environment of its user manager and no supplementary groups.
    #[must_use]
    pub fn user(mut self, account: &Account) -> Run {
        self.account = Some(account.clone());
        self
    }

    /// What it reads from its standard input; nothing if unset.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Run {
        self.input = input.into();
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
        let input = match self.input.is_empty() {
            true => Stdio::null(),
            false => Stdio::piped(),
        };
        let mut child = self.spawn(input)?;
        feed(child.stdin.take(), self.input.clone());
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

    /// Runs it with its standard output as the standard input of another, and waits for both.
    ///
    /// # Errors
    /// When one of them cannot be started, is not done in time, or ends with anything but success: then with what it
    /// wrote to standard error.
    pub fn pipe(&self, into: &Run) -> Result<()> {
        let deadline = Instant::now() + self.timeout;
        let mut first = self.spawn(Stdio::null())?;
        let piped = first.stdout.take().context("no standard output")?;
        let mut second = into.spawn(Stdio::from(piped))?;
        let said = [&mut first, &mut second].map(|child| collect(child.stderr.take()));
        // What the second says of its success is of no interest, but must not hold it up.
        collect(second.stdout.take());
        let mut ends = vec![];
        for (child, of) in [(&mut first, self), (&mut second, into)] {
            let left = deadline.saturating_duration_since(Instant::now());
            match wait(child, left)? {
                Some(status) => ends.push((of.line(), status)),
                None => ends.push((of.line(), {
                    end_group(child);
                    child.wait()?
                })),
            }
        }
        let failures: Vec<_> = (ends.into_iter().zip(said))
            .map(|((line, status), said)| (line, status, said.join().unwrap_or_default()))
            .filter(|(_, status, _)| !status.success())
            .map(|(line, status, said)| {
                let said = String::from_utf8_lossy(&said);
                format!("{line} ended with {status}: {}", said.trim())
            })
            .collect();
        ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(())
    }

    fn spawn(&self, input: Stdio) -> Result<Child> {
        let (program, arguments) = self.argv.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs([("PATH", PATH), ("LC_ALL", "C.UTF-8"), ("HOME", "/root")])
            .current_dir(&self.directory)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: a hang-up of our terminal does not reach it, a time-out ends it whole.
            .process_group(0);
        if let Some(account) = &self.account {
            let runtime = account.runtime_directory();
            let bus = format!("unix:path={}/bus", runtime.display());
            command
                .uid(account.uid)
                .gid(account.gid)
                .env("HOME", &account.home)
                .env("USER", &account.name)
                .env("LOGNAME", &account.name)
                .env("XDG_RUNTIME_DIR", runtime)
                .env("DBUS_SESSION_BUS_ADDRESS", bus);
        }
        command
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

fn feed(stream: Option<ChildStdin>, input: Vec<u8>) {
    // What the program does not read it does not want.
    thread::spawn(move || stream.map(|mut stream| stream.write_all(&input)));
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

    #[test]
    fn a_program_reads_what_it_is_given() {
        assert_eq!(run(["cat"]).input("a b").stdout().unwrap(), "a b");
    }

    #[test]
    fn what_one_writes_another_reads_and_the_failure_of_either_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let keep = format!("cat >{}", file.path().display());
        run(["echo", "a b"])
            .pipe(&run(["sh", "-c", &keep]))
            .unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "a b\n");
        let failing = ["sh", "-c", "echo why >&2; exit 3"];
        for error in [
            run(failing).pipe(&run(["cat"])).unwrap_err(),
            run(["true"]).pipe(&run(failing)).unwrap_err(),
        ] {
            assert!(error.to_string().contains("why"), "{error}");
        }
        let slow = run(["sleep", "30"]).timeout(Duration::from_millis(100));
        assert!(slow.pipe(&run(["cat"])).is_err());
    }

    #[test]
    fn a_program_of_an_account_has_its_ids_and_its_session() {
        if !crate::process::is_root() {
            return;
        }
        let account = Account {
            name: "somebody".into(),
            uid: 4321,
            gid: 4322,
            home: "/var/lib/somebody".into(),
            shell: "/bin/sh".into(),
        };
        let seen = run(["sh", "-c", "id -u; id -g; id -G; env"]).user(&account);
        let seen = seen.stdout().unwrap();
        assert!(seen.starts_with("4321\n4322\n4322\n"), "{seen}");
        for line in ["HOME=/var/lib/somebody", "XDG_RUNTIME_DIR=/run/user/4321"] {
            assert!(seen.lines().any(|other| other == line), "{seen}");
        }
    }
}
