//! Detached idmapped mounts; attached ones are tested with volume_rechown, in mount namespaces of their own.
#![allow(clippy::unwrap_used)]

use idmap::IdMaps;
use rechown::{
    Owner,
    idmapped::{Error, View, translated},
};
use std::{
    fs::{self, File},
    os::{
        fd::AsFd,
        unix::fs::{chown, symlink},
    },
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// A user namespace with the map `0 100000 10` for both kinds of ids.
fn namespace() -> File {
    let mut holder = Command::new("unshare")
        .args(["--user", "cat"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let file = |name| format!("/proc/{}/{name}", holder.id());
    let ours = fs::read_link("/proc/self/ns/user").unwrap();
    while fs::read_link(file("ns/user")).unwrap() == ours {
        thread::sleep(Duration::from_millis(1));
    }
    for map in ["uid_map", "gid_map"] {
        fs::write(file(map), "0 100000 10").unwrap();
    }
    let namespace = File::open(file("ns/user")).unwrap();
    drop(holder.stdin.take());
    holder.wait().unwrap();
    namespace
}

fn view(path: &Path, maps: &str) -> Result<View, Error> {
    let maps = IdMaps::parse(&[maps]).unwrap();
    View::new(path, &maps, namespace().as_fd())
}

#[test]
fn a_view_whose_namespace_has_other_maps_is_an_error() {
    let tree = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    chown(tree.path(), Some(5), Some(6)).unwrap();
    assert!(view(tree.path(), "0:100000:10").is_ok());
    let error = view(tree.path(), "0:200000:10").unwrap_err();
    assert!(matches!(
        error,
        Error::Mismatch {
            seen: Owner {
                uid: 100_005,
                gid: 100_006
            },
            expected: Owner {
                uid: 200_005,
                gid: 200_006
            },
            ..
        }
    ));
    // An id that is not mapped is nobody's.
    chown(tree.path(), Some(50), Some(6)).unwrap();
    assert!(view(tree.path(), "0:100000:10").is_ok());
    let maps = IdMaps::parse(&["0:100000:10"]).unwrap();
    let nobody = translated(&maps, Owner { uid: 50, gid: 6 });
    assert_eq!((nobody.uid, nobody.gid), (65_534, 100_006));
}

#[test]
fn a_file_system_that_cannot_and_a_symbolic_link_are_errors_and_a_file_is_not() {
    let cannot = view("/proc/sys".as_ref(), "0:100000:10").unwrap_err();
    assert!(matches!(cannot, Error::Unsupported(path) if path == Path::new("/proc/sys")));
    let tree = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (file, link) = (tree.path().join("file"), tree.path().join("link"));
    fs::write(&file, "").unwrap();
    symlink(&file, &link).unwrap();
    assert!(view(&file, "0:100000:10").is_ok());
    let link = view(&link, "0:100000:10").unwrap_err();
    assert!(
        link.to_string()
            .ends_with("link: Too many levels of symbolic links (os error 40)")
    );
}
