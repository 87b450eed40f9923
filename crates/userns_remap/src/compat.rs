//! Links at the old places below a data root that has moved into `<uid>.<gid>`, for whatever on the host names them.

use crate::{
    layout::{self, KNOWN},
    observed::{Entry, Observed},
    references::{self, Reference},
};
use anyhow::{Context, Result};
use host::files;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// What a line names of a data root.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named<'l> {
    /// The root itself, or by a pattern whatever is in it.
    Root,
    /// One of the engine's directories.
    Directory(&'l str),
    /// Something in one of them.
    Inside(&'l str),
}

fn named<'l>(reference: &'l Reference, data_root: &Path) -> Vec<Named<'l>> {
    let root = data_root.to_string_lossy();
    let ends = |char: char| char.is_whitespace() || "\"'`:;,|&<>()".contains(char);
    let found = references::below(&reference.text, &root).filter_map(|rest| {
        let rest = rest.split(ends).next().unwrap_or_default();
        let mut parts = rest.split('/').skip(1);
        match (parts.next(), parts.next()) {
            // It knows where the engine is, or was.
            (Some(name), _) if layout::is_beside(name) => None,
            (Some(name), Some(_)) if KNOWN.contains(&name) => Some(Named::Inside(name)),
            (Some(name), None) if KNOWN.contains(&name) => Some(Named::Directory(name)),
            _ => Some(Named::Root),
        }
    });
    found.collect()
}

/// The entries of the data root that have to be links, so that what the references name is there.
pub fn wanted(references: &[Reference], data_root: &Path) -> BTreeSet<String> {
    let all = references
        .iter()
        .flat_map(|reference| named(reference, data_root));
    let names = all.filter_map(|named| match named {
        Named::Root => None,
        Named::Directory(name) | Named::Inside(name) => Some(name.to_owned()),
    });
    names.collect()
}

/// What is to be done about a reference beside the links; `None` where they are all it needs.
pub fn by_hand(reference: &Reference, data_root: &Path) -> Option<String> {
    let named = named(reference, data_root);
    let root = data_root.display();
    if reference.file.starts_with("/etc/apparmor.d") {
        Some(format!(
            "AppArmor sees where a link leads: add {root}/<uid>.<gid>"
        ))
    } else if named.contains(&Named::Root) {
        Some(format!("what lay in {root} is in {root}/<uid>.<gid>"))
    } else if named
        .iter()
        .any(|named| matches!(named, Named::Directory(_)))
    {
        Some("end the path with a slash: tar, rsync, cp -a and find do not follow a link that they are given".to_owned())
    } else {
        None
    }
}

/// The links that are wanted of a root's entries, and are not there yet.
pub fn to_make(observed: &Observed, root: &[Entry]) -> Vec<String> {
    let wanted = wanted(&observed.references, &observed.data_root);
    let names = root.iter().map(|entry| entry.name.clone());
    names
        .filter(|name| wanted.contains(name) && !observed.compat_links.contains(name))
        .collect()
}

/// A word on each reference that links are not enough for.
pub fn warnings(observed: &Observed) -> Vec<String> {
    let references = observed.references.iter();
    let told = references.filter_map(|reference| {
        let what = by_hand(reference, &observed.data_root)?;
        let (file, line) = (reference.file.display(), reference.line);
        Some(format!(
            "{file}:{line} names the data root, and links do not help it: {what}"
        ))
    });
    told.collect()
}

/// Takes the links that [`set`] made out of the entries of a data root, and gives their names.
pub fn split(data_root: &Path, root: Vec<Entry>) -> (Vec<Entry>, Vec<String>) {
    let (links, others): (Vec<_>, Vec<_>) = root
        .into_iter()
        .partition(|entry| is_ours(data_root, &entry.name));
    (others, links.into_iter().map(|entry| entry.name).collect())
}

fn is_ours(data_root: &Path, name: &str) -> bool {
    let target = fs::read_link(data_root.join(name)).unwrap_or_default();
    let root = target.parent().and_then(Path::to_str).unwrap_or_default();
    layout::remapped_root(root).is_some() && target == Path::new(root).join(name)
}

/// Sees that the links are there, or that none is.
pub fn set(data_root: &Path, engine_root: &Path, names: &[String], make_them: bool) -> Result<()> {
    if make_them {
        make(data_root, engine_root, names)
    } else {
        remove(data_root, names)
    }
}

/// Makes links to what is in `engine_root`, a directory of the data root.
fn make(data_root: &Path, engine_root: &Path, names: &[String]) -> Result<()> {
    let root = PathBuf::from(engine_root.file_name().unwrap_or_default());
    for name in names {
        let link = data_root.join(name);
        if link.symlink_metadata().is_err() {
            symlink(root.join(name), &link)
                .with_context(|| format!("cannot make the link {}", link.display()))?;
        }
    }
    files::sync_directory(data_root)
}

/// Removes them, and nothing else that has their names.
fn remove(data_root: &Path, names: &[String]) -> Result<()> {
    for name in names.iter().filter(|name| is_ours(data_root, name)) {
        files::remove_optional(&data_root.join(name))?;
    }
    files::sync_directory(data_root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(file: &str, text: &str) -> Reference {
        Reference {
            file: file.into(),
            line: 1,
            text: text.to_owned(),
        }
    }

    #[test]
    fn links_are_wanted_where_something_in_a_known_directory_is_named() {
        let root = Path::new("/r/docker");
        let cases = [
            ("tar c /r/docker/volumes/*/_data", Some("volumes"), true),
            ("tar c \"/r/docker/volumes\"", Some("volumes"), false),
            ("/r/docker/containers/*/*.log {", Some("containers"), true),
            ("rsync -a /r/docker/volumes/ /b", Some("volumes"), true),
            ("tar c /r/docker", None, false),
            ("du /r/docker/*", None, false),
            ("ls /r/docker/mine/x", None, false),
            (
                "ls /r/docker/5.6/volumes /r/dockerd /mnt/r/docker",
                None,
                true,
            ),
        ];
        for (text, link, cured) in cases {
            let found = reference("/etc/cron.d/x", text);
            let links = wanted(std::slice::from_ref(&found), root);
            assert_eq!(links.iter().next().map(String::as_str), link, "{text}");
            assert_eq!(by_hand(&found, root).is_none(), cured, "{text}");
        }
        let rule = reference("/etc/apparmor.d/x", "/r/docker/volumes/** r,");
        assert!(by_hand(&rule, root).unwrap().contains("AppArmor"));
    }

    #[test]
    fn links_are_made_found_and_removed_and_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        let engine_root = root.join("5.6");
        fs::create_dir_all(engine_root.join("volumes/v")).unwrap();
        fs::create_dir(root.join("tmp")).unwrap();
        symlink("elsewhere/image", root.join("image")).unwrap();
        let names = ["volumes", "tmp", "image"].map(str::to_owned);
        make(root, &engine_root, &names).unwrap();
        make(root, &engine_root, &names).unwrap();
        assert!(root.join("volumes/v").is_dir());
        let entries = ["image", "tmp", "volumes"].map(crate::samples::entry);
        let (others, links) = split(root, entries.into());
        assert_eq!(links, ["volumes"]);
        assert_eq!(others.len(), 2);
        remove(root, &names).unwrap();
        let left: BTreeSet<_> = fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["5.6", "image", "tmp"].map(Into::into).into());
    }
}
