//! The data root copied beside itself, by GNU cp, in two passes: what no container writes to while all runs, and the
//! rest once nothing runs. The plain root is only read.

use crate::{
    apply::{aside, context::Context, convert, engine},
    layout::{self, Keep},
    step::Direction,
};
use anyhow::{Context as _, Result, ensure};
use host::command::run;
use idmap::IdMaps;
use std::{
    collections::BTreeSet, fs::DirBuilder, os::unix::fs::DirBuilderExt, path::Path,
    sync::atomic::Ordering, time::Duration,
};

const LAYERS: &str = "overlay2";
/// Where a layer's files show while it is in use: a mount.
const MERGED: &str = "merged";

/// Copies and shifts the layers of images. Those in `running` have to run still at the end: the copy takes its time,
/// and what came meanwhile would not be started again.
pub fn layers(
    from: &Path,
    to: &Path,
    maps: &IdMaps,
    running: &[String],
    context: &mut Context,
) -> Result<()> {
    make_directory(&to.join(LAYERS))?;
    let mut copied = BTreeSet::new();
    for layer in committed(from)? {
        ensure!(
            !context.interrupted.load(Ordering::Relaxed),
            "interrupted by a signal"
        );
        let target = to.join(LAYERS).join(&layer);
        match copy_layer(&from.join(LAYERS).join(&layer), &target) {
            Ok(()) => drop(copied.insert(layer)),
            // Removed with its image meanwhile.
            Err(_) if !committed(from)?.contains(&layer) => aside::delete(&target)?,
            Err(error) => return Err(error),
        }
    }
    let keep = Keep::default();
    context.shifted = Some(convert::shift(
        to,
        maps,
        &keep,
        Direction::ToRemapped,
        "shift-layers",
    )?);
    context.copied_layers = Some(copied);
    engine::still_runs(running)
}

/// Copies and shifts all else, and removes what was removed since the first pass.
pub fn rest(
    from: &Path,
    to: &Path,
    maps: &IdMaps,
    keep: &Keep,
    context: &mut Context,
) -> Result<()> {
    let mut copied = context.copied_layers.clone().unwrap_or_default();
    let committed = committed(from)?;
    copied.retain(|layer| committed.contains(layer));
    copy_all_but(&copied, from, to)?;
    let mut keep = keep.clone();
    keep.layers.extend(copied);
    let report = convert::shift(to, maps, &keep, Direction::ToRemapped, "shift")?;
    let shifted = context.shifted.get_or_insert_default();
    shifted.counts.merge(&report.counts);
    shifted.seconds += report.seconds;
    Ok(())
}

fn copy_all_but(copied: &BTreeSet<String>, from: &Path, to: &Path) -> Result<()> {
    let (layers, target) = (from.join(LAYERS), to.join(LAYERS));
    make_directory(&target)?;
    for (directory, there) in [
        (to, BTreeSet::from([LAYERS.to_owned()])),
        (&target, copied.clone()),
    ] {
        for name in layout::names(directory)?.difference(&there) {
            aside::delete(&directory.join(name))?;
        }
    }
    let carried = layout::carried(from)?.into_iter();
    copy(from, carried.filter(|name| name != LAYERS), to)?;
    copy(
        &layers,
        layout::names(&layers)?.difference(copied).cloned(),
        &target,
    )?;
    // The engine marks a layer once another stands on it.
    copied
        .iter()
        .try_for_each(|layer| copy_layer(&layers.join(layer), &target.join(layer)))
}

/// Copies what is not there yet of a layer.
fn copy_layer(from: &Path, to: &Path) -> Result<()> {
    make_directory(to)?;
    let there = layout::names(to)?;
    let missing = layout::names(from)?
        .into_iter()
        .filter(|name| name != MERGED && !there.contains(name));
    copy(from, missing, to)
}

/// Copies entries of one directory into another, with all that they are.
fn copy(from: &Path, names: impl Iterator<Item = String>, to: &Path) -> Result<()> {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        return Ok(());
    }
    // Should we be killed, a cp that goes on writing would get in the way of whoever cleans up.
    let cp = ["setpriv", "--pdeathsig", "KILL", "cp"];
    // An archive alone does without attributes that it cannot keep.
    let how = [
        "--archive",
        "--preserve=xattr",
        "--reflink=auto",
        "--target-directory",
    ];
    let words = cp
        .into_iter()
        .chain(how)
        .map(Into::into)
        .chain([to.as_os_str().to_owned(), "--".into()]);
    let words = words.chain(names.into_iter().map(Into::into));
    run(words)
        .directory(from)
        .timeout(Duration::MAX)
        .stdout()
        .map(drop)
}

/// The layers that images consist of, by their names in `overlay2/`: they never change. A layer that is being pulled,
/// built or removed, the builder's and those of containers are none of them.
fn committed(root: &Path) -> Result<BTreeSet<String>> {
    let database = root.join("image/overlay2/layerdb/sha256");
    let mut found = BTreeSet::new();
    // `<id>-<random>-removing`
    for id in layout::names(&database)?
        .iter()
        .filter(|id| !id.contains('-'))
    {
        // It may be removed right now.
        if let Some(layer) = host::files::read_text_optional(&database.join(id).join("cache-id"))? {
            found.insert(layer);
        }
    }
    Ok(found)
}

/// Sets aside a copy that containers may have written to, for its owner to look at. Says where it is.
pub fn give_up(copy: &Path, aside: &Path) -> Result<Option<String>> {
    let (Some(directory), Some(name)) = (copy.parent(), copy.file_name()) else {
        return Ok(None);
    };
    let name = name.to_string_lossy().into_owned();
    let is_there = copy.exists();
    aside::put(directory, &[name], aside)?;
    Ok(is_there.then(|| {
        format!(
            "what containers wrote while they ran on the copy is in {}; delete it when nobody misses anything",
            aside.display()
        )
    }))
}

fn make_directory(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o710).create(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::MetadataExt};

    /// A root with these layers of images, and one of a container.
    fn root(layers: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        for layer in layers {
            add(root.path(), layer);
        }
        put(root.path(), "overlay2/container/diff/written");
        put(root.path(), "volumes/v/_data/file");
        root
    }

    fn put(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }

    fn add(root: &Path, layer: &str) {
        put(root, &format!("overlay2/{layer}/diff/file"));
        put(root, &format!("overlay2/{layer}/merged/file"));
        let id = root
            .join("image/overlay2/layerdb/sha256")
            .join(format!("chain{layer}"));
        fs::create_dir_all(&id).unwrap();
        fs::write(id.join("cache-id"), layer).unwrap();
    }

    fn remove(root: &Path, layer: &str) {
        let database = root.join("image/overlay2/layerdb/sha256");
        let id = format!("chain{layer}");
        fs::rename(
            database.join(&id),
            database.join(format!("{id}-1-removing")),
        )
        .unwrap();
        fs::remove_dir_all(root.join("overlay2").join(layer)).unwrap();
    }

    fn first_pass(from: &Path, to: &Path) -> BTreeSet<String> {
        let layers = committed(from).unwrap();
        for layer in &layers {
            copy_layer(&from.join(LAYERS).join(layer), &to.join(LAYERS).join(layer)).unwrap();
        }
        layers
    }

    #[test]
    fn layers_that_came_and_went_between_the_passes_are_there_and_gone() {
        let root = root(&["a", "b"]);
        let (from, to) = (root.path(), &root.path().join("5.6"));
        let first = first_pass(from, to);
        assert_eq!(first, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        let inode = fs::metadata(to.join("overlay2/a/diff/file")).unwrap().ino();
        remove(from, "b");
        add(from, "c");
        put(from, "overlay2/a/committed");
        let copied = first
            .intersection(&committed(from).unwrap())
            .cloned()
            .collect();
        // Cut off in the middle, then repeated.
        put(to, "overlay2/container/diff/half");
        put(to, "volumes/half");
        for _ in 0..2 {
            copy_all_but(&copied, from, to).unwrap();
            assert_eq!(
                Vec::from_iter(layout::names(&to.join(LAYERS)).unwrap()),
                ["a", "c", "container"]
            );
            assert_eq!(
                Vec::from_iter(layout::names(to).unwrap()),
                ["image", "overlay2", "volumes"]
            );
            assert!(
                to.join("overlay2/a/committed").exists() && !to.join("overlay2/a/merged").exists()
            );
            assert!(
                !to.join("volumes/half").exists()
                    && !to.join("overlay2/container/diff/half").exists()
            );
            assert_eq!(
                fs::metadata(to.join("overlay2/a/diff/file")).unwrap().ino(),
                inode
            );
        }
    }

    #[test]
    fn a_copy_that_may_have_been_written_to_is_not_deleted() {
        let root = root(&[]);
        let (copy, aside) = (root.path().join("5.6"), root.path().join("aside"));
        put(&copy, "volumes/v/_data/mail");
        let said = give_up(&copy, &aside).unwrap().unwrap();
        assert!(said.contains(&*aside.to_string_lossy()), "{said}");
        assert_eq!(give_up(&copy, &aside).unwrap(), None);
        assert!(aside.join("5.6/volumes/v/_data/mail").exists() && !copy.exists());
    }
}
