//! Directories that belong to the host or to a person, where nobody changes owners by mistake.

use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Trees that are the kernel's, or hold our own records. Nobody may insist.
const NEVER: [&str; 4] = ["/dev", "/proc", "/sys", "/var/lib/bulkhead"];

/// Trees that are the system's from end to end.
const SYSTEM: [&str; 9] = [
    "/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/nix", "/sbin", "/usr",
];

/// Directories that hold much else beside what belongs to containers.
const SHARED: [&str; 19] = [
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/run",
    "/srv",
    "/tmp",
    "/var",
    "/var/backups",
    "/var/cache",
    "/var/lib",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/log",
    "/var/mail",
    "/var/spool",
    "/var/tmp",
];

/// Refuses directories that belong to the host or to a person, unless they are `insisted` on.
///
/// # Errors
/// The refusal, with the way out.
pub fn check_path(path: &Path, homes: &[PathBuf], insisted: bool) -> Result<()> {
    let lies_in = |trees: &[&str]| trees.iter().any(|tree| path.starts_with(tree));
    ensure!(
        path != Path::new("/") && !lies_in(&NEVER),
        "{} belongs to the system and is never shifted",
        path.display()
    );
    let shared = SHARED.iter().any(|directory| path == Path::new(directory));
    let home = path.parent() == Some(Path::new("/home"))
        || homes.iter().any(|home| home.starts_with(path));
    let whose = match (lies_in(&SYSTEM) || shared, home) {
        (true, _) => "belongs to the system",
        (_, true) => "is, or holds, somebody's home",
        _ => return Ok(()),
    };
    ensure!(
        insisted,
        "{} {whose}; name the directory that the containers use, or insist with allow_dangerous_path",
        path.display()
    );
    Ok(())
}

/// Everybody's home directory.
///
/// # Errors
/// When there is no /etc/passwd to read.
pub fn homes() -> Result<Vec<PathBuf>> {
    let bytes = fs::read("/etc/passwd").context("cannot read /etc/passwd")?;
    let text = String::from_utf8_lossy(&bytes);
    let homes = text.lines().filter_map(|line| line.split(':').nth(5));
    Ok(homes
        .filter(|home| home.starts_with('/'))
        .map(|home| fs::canonicalize(home).unwrap_or_else(|_| home.into()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_the_system_and_homes_are_refused_unless_insisted_on() {
        let homes = ["/srv/people/ann".into(), "/".into()];
        let check = |path: &str, insisted| check_path(path.as_ref(), &homes, insisted).is_ok();
        for path in [
            "/",
            "/proc/1",
            "/sys",
            "/dev/shm",
            "/var/lib/bulkhead/rechown",
        ] {
            assert!(!check(path, false) && !check(path, true), "{path}");
        }
        for path in [
            "/etc",
            "/etc/nginx",
            "/usr/share/x",
            "/var",
            "/var/lib/docker",
            "/home",
            "/home/a",
            "/srv/people",
            "/srv/people/ann",
        ] {
            assert!(!check(path, false) && check(path, true), "{path}");
        }
        for path in [
            "/srv/www",
            "/home/a/data",
            "/srv/people/ann/data",
            "/var/lib/docker/volumes/v/_data",
            "/etcetera",
        ] {
            assert!(check(path, false), "{path}");
        }
    }
}
