//! What control groups have used, by the kernel's own counts (cgroup v2, Documentation/admin-guide/cgroup-v2.rst).

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where the one hierarchy is mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// What a control group and all below it use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes now. `None` without the memory controller.
    pub memory: Option<u64>,
    /// The most bytes at a time since the group came up. `None` without the memory controller, and before Linux 5.19.
    pub memory_peak: Option<u64>,
    /// Processor time since the group came up. `None` where there is no such group.
    pub cpu: Option<Duration>,
    /// How many processes there are.
    pub processes: u64,
}

/// Where the group of an account's sessions and user manager is.
#[must_use]
pub fn of_account(uid: u32) -> PathBuf {
    at(&format!("/user.slice/user-{uid}.slice"))
}

/// Where the group is that systemd names with its property `ControlGroup`.
#[must_use]
pub fn at(control_group: &str) -> PathBuf {
    Path::new(ROOT).join(control_group.trim_start_matches('/'))
}

/// What the group at `path` uses; nothing where it is not there.
#[must_use]
pub fn usage(path: &Path) -> Usage {
    let number = |name: &str| -> Option<u64> {
        let text = fs::read_to_string(path.join(name)).ok()?;
        text.trim().parse().ok()
    };
    let stat = fs::read_to_string(path.join("cpu.stat")).unwrap_or_default();
    let cpu = stat
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
    Usage {
        memory: number("memory.current"),
        memory_peak: number("memory.peak"),
        cpu: cpu.map(Duration::from_micros),
        processes: processes(path),
    }
}

fn processes(group: &Path) -> u64 {
    let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = u64::try_from(listed.lines().count()).unwrap_or(u64::MAX);
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    own + below.map(|entry| processes(&entry.path())).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_read_and_what_it_does_not_stays_unknown() {
        let scratch = tempfile::tempdir().unwrap();
        let group = scratch.path();
        let below = group.join("user@1.service/app.slice");
        fs::create_dir_all(&below).unwrap();
        fs::write(group.join("cgroup.procs"), "").unwrap();
        fs::write(below.join("cgroup.procs"), "7\n8\n").unwrap();
        let stat = "usage_usec 2500000\nuser_usec 1\n";
        fs::write(group.join("cpu.stat"), stat).unwrap();
        let expected = Usage {
            cpu: Some(Duration::from_millis(2500)),
            processes: 2,
            ..Usage::default()
        };
        assert_eq!(usage(group), expected);
        fs::write(group.join("memory.current"), "4096\n").unwrap();
        assert_eq!(usage(group).memory, Some(4096));
        assert_eq!(usage(&group.join("gone")), Usage::default());
    }
}
