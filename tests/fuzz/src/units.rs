//! Unit files of systemd and of Podman.

use podman_service::fuzzing::{UnitText, paths_in, replace_path};
use std::path::Path;

const OLD: &str = "/home/db";
const NEW: &str = "/home/shop";

/// All that is read of a unit, and its text for another account. Of that no path is the old account's any more, the
/// others are what they were, and the way back leads to what it was.
pub fn unit(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let unit = UnitText::parse(&text);
    for path in unit.paths() {
        assert!(path.is_absolute() || path.starts_with("%h"), "{path:?}");
    }
    drop((unit.quadlets(), unit.user_namespaces(), unit.id_maps()));
    drop((unit.secrets(), unit.mounted(), unit.runs_podman()));
    assert!(unit.container_names().count() + unit.images().count() <= text.len());
    let paths = |text: &str| -> Vec<_> {
        let found = paths_in(text);
        found
            .map(|(begin, path)| {
                assert_eq!(text.get(begin..begin + path.len()), Some(path));
                path.to_owned()
            })
            .collect()
    };
    let there = replace_path(&text, OLD, NEW);
    let is_old = |path: &str| path == OLD || path.starts_with(&format!("{OLD}/"));
    let expected = paths(&text).into_iter().map(|path| match is_old(&path) {
        true => path.replacen(OLD, NEW, 1),
        false => path,
    });
    assert_eq!(paths(&there), expected.collect::<Vec<_>>());
    if !paths(&text)
        .iter()
        .any(|path| Path::new(path).starts_with(NEW))
    {
        assert_eq!(replace_path(&there, NEW, OLD), text);
    }
}
