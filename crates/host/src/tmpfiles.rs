//! Directories and files that come back at every boot: tmpfiles.d(5).

use crate::boot;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Where the administrator's are.
const DIRECTORY: &str = "/etc/tmpfiles.d";

/// The file of this name, without `.conf`.
#[must_use]
pub fn file(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{name}.conf"))
}

/// The line that makes a directory of root's that a group may read, mode 0750.
///
/// # Errors
/// When the path has letters that no line can name.
pub fn directory(path: &Path, group: &str) -> Result<String> {
    Ok(format!("d {} 0750 root {group} -\n", boot::quoted(path)?))
}

/// The line that copies a file to where it is missing, with this owner and mode.
///
/// # Errors
/// When the path has letters that no line can name.
pub fn copy(from: &Path, to: &Path, mode: u32, (uid, gid): (u32, u32)) -> Result<String> {
    // What comes last is taken as it is, to the end of the line.
    let plain = from
        .to_str()
        .filter(|text| !text.contains(char::is_control));
    let plain = plain.with_context(|| format!("{} cannot stand in a line", from.display()))?;
    Ok(format!(
        "C {} {mode:04o} {uid} {gid} - {}\n",
        boot::quoted(to)?,
        plain.replace('%', "%%")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_quoted_where_quotes_are_read() {
        let line = copy("/var/a b%".as_ref(), "/run/a b%".as_ref(), 0o400, (1, 2)).unwrap();
        assert_eq!(line, "C \"/run/a b%%\" 0400 1 2 - /var/a b%%\n");
        assert!(copy("/a\nb".as_ref(), "/c".as_ref(), 0o400, (1, 2)).is_err());
    }
}
