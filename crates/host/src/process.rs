//! This process: surviving the loss of whoever started it.

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fmt, fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// Blocks SIGHUP for this thread and all it starts later: the loss of a terminal or of an SSH session
/// does not end a change half-way. (A broken pipe already is an error to a Rust program, not a signal.)
///
/// # Errors
/// When the system refuses, which it has no reason to.
pub fn survive_hangup() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGHUP);
    signals.thread_block().context("cannot block SIGHUP")
}

/// A flag that SIGINT and SIGTERM set from now on, instead of ending the process in the middle of a step.
///
/// # Errors
/// When the system refuses, which it has no reason to.
pub fn on_interrupt() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&interrupted)).context("cannot handle signals")?;
    }
    Ok(interrupted)
}

/// Every process: its id, and its directory in /proc.
fn processes() -> Result<impl Iterator<Item = (u32, PathBuf)>> {
    let entries = fs::read_dir("/proc").context("cannot read /proc")?;
    Ok(entries.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, entry.path()))
    }))
}

/// Which of `paths` programs outside of containers use, and the programs' names: those that see the host's own
/// mounts and have a file or their working directory on or below it.
///
/// # Errors
/// When /proc cannot be read. A process that ends meanwhile is passed over.
pub fn users_of(paths: &[&Path]) -> Result<BTreeSet<(PathBuf, String)>> {
    let mut found = BTreeSet::new();
    if paths.is_empty() {
        return Ok(found);
    }
    let own = fs::read_link("/proc/1/ns/mnt").context("cannot read /proc")?;
    for (_, process) in processes()? {
        if fs::read_link(process.join("ns/mnt")).ok().as_ref() != Some(&own) {
            continue;
        }
        let files = fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        let links = files.map(|file| file.path()).chain([process.join("cwd")]);
        let used: Vec<_> = links.filter_map(|link| fs::read_link(link).ok()).collect();
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        let uses = |path: &&&Path| used.iter().any(|file| file.starts_with(path));
        found.extend(
            paths
                .iter()
                .filter(uses)
                .map(|path| (path.to_path_buf(), name.trim().to_owned())),
        );
    }
    Ok(found)
}

/// A program that may write to a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Writer {
    /// Its process.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// The file, by the name it was opened with.
    pub path: PathBuf,
}

/// The programs that have a file whose path passes open for writing, or mapped so that they write to it. Those in
/// a pid namespace of their own, as containers are, are passed over.
///
/// # Errors
/// When /proc cannot be read. A process that ends meanwhile is passed over.
pub fn writers(passes: impl Fn(&Path) -> bool) -> Result<Vec<Writer>> {
    let own = fs::read_link("/proc/self/ns/pid").context("cannot read /proc")?;
    let mut found = BTreeSet::new();
    for (pid, process) in processes()? {
        if fs::read_link(process.join("ns/pid")).ok().as_ref() != Some(&own) {
            continue;
        }
        let paths = opened(&process).into_iter().chain(mapped(&process));
        found.extend(paths.filter(|path| passes(path)).map(|path| Writer {
            pid,
            command: command(&process),
            path,
        }));
    }
    Ok(found.into_iter().collect())
}

/// The files that a process has open for writing (proc_pid_fdinfo(5)).
fn opened(process: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    let for_writing = files.filter(|file| {
        let info = fs::read_to_string(process.join("fdinfo").join(file.file_name()));
        let flags = info.ok().and_then(|info| {
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
            u32::from_str_radix(flags.trim(), 8).ok()
        });
        // O_WRONLY or O_RDWR
        flags.is_some_and(|flags| flags & 3 != 0)
    });
    for_writing
        .filter_map(|file| fs::read_link(file.path()).ok())
        .collect()
}

/// The files that it has mapped shared and writable (proc_pid_maps(5)).
fn mapped(process: &Path) -> Vec<PathBuf> {
    let maps = fs::read(process.join("maps")).unwrap_or_default();
    let maps = String::from_utf8_lossy(&maps);
    let shared = maps.lines().filter_map(|line| {
        let (fields, path) = line.split_at_checked(line.find('/')?)?;
        let permissions = fields.split(' ').nth(1)?.as_bytes();
        (permissions.get(1) == Some(&b'w') && permissions.last() == Some(&b's'))
            .then(|| path.into())
    });
    shared.collect()
}

fn command(process: &Path) -> String {
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    let words = line
        .split(|&byte| byte == 0)
        .filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
    words.join(" ")
}

/// A process, and where systemd keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its command line, or its name where it has none.
    pub command: String,
    /// Its control group (cgroup v2); empty where there is none.
    pub control_group: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, self.command)
    }
}

/// The processes of which one of the uids passes.
///
/// # Errors
/// When /proc cannot be read. A process that ends meanwhile is passed over.
pub fn of(passes: impl Fn(u32) -> bool) -> Result<Vec<Process>> {
    let mut found = vec![];
    for (pid, process) in processes()? {
        let text = |name: &str| fs::read_to_string(process.join(name)).unwrap_or_default();
        let status = text("status");
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        let mut uids = uids.unwrap_or_default().split_whitespace();
        if !uids.any(|uid| uid.parse().is_ok_and(&passes)) {
            continue;
        }
        let line = command(&process);
        let groups = text("cgroup");
        let group = groups.lines().find_map(|line| line.strip_prefix("0::"));
        found.push(Process {
            pid,
            command: match line.is_empty() {
                true => text("comm").trim().to_owned(),
                false => line,
            },
            control_group: group.unwrap_or_default().to_owned(),
        });
    }
    Ok(found)
}

/// The processes that were started with `path`, or something below it, as one of their arguments.
///
/// # Errors
/// When /proc cannot be read. A process that ends meanwhile is passed over.
pub fn started_with(path: &Path) -> Result<Vec<u32>> {
    let mut found = vec![];
    for (pid, process) in processes()? {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let mut words = line.split(|&byte| byte == 0);
        if words.any(|word| Path::new(OsStr::from_bytes(word)).starts_with(path)) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Whether this process is root's.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn this_process_is_its_owners() {
        let own = nix::unistd::geteuid().as_raw();
        let found = of(|uid| uid == own).unwrap();
        assert!(
            found
                .iter()
                .any(|process| process.pid == std::process::id())
        );
        assert_eq!(of(|uid| uid == 4_000_000_001).unwrap(), []);
    }

    #[test]
    fn only_who_has_a_file_open_for_writing_is_found() {
        let scratch = tempfile::tempdir().unwrap();
        let found = || writers(|path| path.starts_with(scratch.path())).unwrap();
        let path = scratch.path().join("file");
        let file = File::create(&path).unwrap();
        let [writer] = &*found() else {
            panic!("{:?}", found())
        };
        assert_eq!((writer.pid, &writer.path), (std::process::id(), &path));
        assert!(!writer.command.is_empty());
        drop(file);
        let _reader = File::open(&path).unwrap();
        assert_eq!(found(), []);
    }
}
