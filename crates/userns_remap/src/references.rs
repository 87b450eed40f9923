//! Whatever on the host points into the data root, and would point at nothing once it has moved: jobs, units,
//! log rotation, backups, monitors. Reads, and changes nothing.

use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A line that names the data root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reference {
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    pub text: String,
}

/// Where operators and packages keep what runs on its own.
const PLACES: [&str; 5] = ["/etc", "/opt", "/root", "/usr/local", "/var/spool/cron"];

/// Larger files are data, not configuration. In bytes.
const LARGEST: u64 = 256 * 1024;

/// Deeper directories are data too.
const DEEPEST: usize = 4;

/// The lines in [`PLACES`] that name something below `data_root`, but for the engine's own `config`.
pub fn find(data_root: &Path, config: &Path) -> Vec<Reference> {
    let Some(wanted) = data_root.to_str() else {
        return vec![];
    };
    let mut found = vec![];
    for place in PLACES {
        visit(Path::new(place), 0, &mut |file| {
            if file != config {
                found.extend(in_file(file, wanted));
            }
        });
    }
    found
}

fn visit(directory: &Path, depth: usize, see: &mut impl FnMut(&Path)) {
    // What cannot be read by root is no place for a configuration.
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let mut paths: Vec<_> = entries.flatten().collect();
    paths.sort_by_key(fs::DirEntry::file_name);
    for entry in paths {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < DEEPEST => visit(&entry.path(), depth + 1, see),
            Ok(kind) if kind.is_file() => see(&entry.path()),
            _ => {}
        }
    }
}

fn in_file(file: &Path, wanted: &str) -> Vec<Reference> {
    let small = fs::metadata(file).is_ok_and(|meta| meta.len() <= LARGEST);
    let text = fs::read(file)
        .ok()
        .filter(|bytes| small && !bytes.contains(&0));
    let text = text
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| {
            !line.trim_start().starts_with('#') && below(line, wanted).next().is_some()
        })
        .map(|(at, line)| Reference {
            file: file.to_owned(),
            line: at + 1,
            text: line.trim().to_owned(),
        })
        .collect()
}

/// What follows the path wherever it, or something below it, stands in the line: not a longer name, nor the end of
/// another path.
pub fn below<'l>(line: &'l str, path: &str) -> impl Iterator<Item = &'l str> {
    let part_of_name = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.');
    line.match_indices(path).filter_map(move |(at, _)| {
        let (before, below) = (&line[..at], &line[at + path.len()..]);
        let (before, after) = (before.chars().next_back(), below.chars().next());
        let is_other = before.is_some_and(|char| part_of_name(char) || char == '/')
            || after.is_some_and(part_of_name);
        (!is_other).then_some(below)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_and_what_lies_below_are_found_and_nothing_like_it() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("job");
        let lines = [
            "# /var/lib/docker is only told of",
            "0 3 * * * root tar c /var/lib/docker/volumes/*/_data",
            "dir=/var/lib/docker",
            "dir=\"/var/lib/docker\"",
            "/mnt/var/lib/docker",
            "/var/lib/docker-backup",
            "/var/lib/docker.old",
            "/var/lib/dockerd",
        ];
        fs::write(&file, lines.join("\n")).unwrap();
        let found: Vec<_> = in_file(&file, "/var/lib/docker")
            .iter()
            .map(|found| found.line)
            .collect();
        assert_eq!(found, [2, 3, 4]);
    }
}
