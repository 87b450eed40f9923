//! Trees to shift, and an independent eye on them.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

pub mod random;
pub mod seen;

use rechown::{IdMaps, Immutable, OutsideLinks, Policy, Strays, Unknown};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, chown, lchown, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub const OFFSET: u32 = 100_000;

/// 0..65535 to 100000..165535.
pub const CRASH: &str = "BULKHEAD_FAULT_AFTER_CHOWNS";
pub const FAR: &str = "0:100000:65536";
/// Every id is the target of another.
pub const NEAR: &str = "0:10:65536";

pub const LIFT: Policy = Policy {
    unmapped: Unknown::Refuse,
    strays: Strays::Refuse,
    immutable: Immutable::Lift,
    outside_links: OutsideLinks::Refuse,
};

pub fn extents(text: &str) -> IdMaps {
    IdMaps::parse(&[text]).unwrap()
}

pub fn owner(path: &Path) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

pub fn maps() -> IdMaps {
    IdMaps::parse(&["0:100000:65536"]).unwrap()
}

/// What is not on the source side is left alone.
pub fn leaving_strays() -> Policy {
    Policy {
        unmapped: Unknown::Keep,
        strays: Strays::Leave,
        ..Policy::default()
    }
}

/// Without links on the way: the modules name files by their real paths.
fn scratch() -> PathBuf {
    fs::canonicalize(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A directory of its own on a real file system, gone at the end.
pub struct Tree(tempfile::TempDir);

impl Tree {
    /// The directory `data` in it is for the tree, beside it is room for journals.
    pub fn new() -> Self {
        Self::new_in(&scratch())
    }

    /// In memory, where nothing waits for a disk.
    pub fn volatile() -> Self {
        Self::new_in(Path::new("/dev/shm"))
    }

    fn new_in(scratch: &Path) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests change owners: run them as root"
        );
        let tree = Self(tempfile::tempdir_in(scratch).unwrap());
        fs::create_dir(tree.root()).unwrap();
        tree
    }

    pub fn root(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub fn journal(&self) -> PathBuf {
        self.0.path().join("journal")
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.root().join(Path::new(name.as_ref()))
    }

    pub fn file(&self, name: impl AsRef<OsStr>, uid: u32, gid: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.as_os_str().as_bytes()).unwrap();
        chown(&path, Some(uid), Some(gid)).unwrap();
        path
    }

    pub fn node(&self, name: &str, kind: FileType, device: u64) -> PathBuf {
        let path = self.path(name);
        mknodat(CWD, &path, kind, Mode::from_raw_mode(0o640), device).unwrap();
        path
    }

    /// One of everything a shift has to take care of.
    pub fn furnish(&self) {
        self.file("plain", 33, 44);
        self.file("dir/sub/file", 999, 999);
        self.file("set-user-id", 0, 0);
        run(
            "chmod",
            ["4755".as_ref(), self.path("set-user-id").as_os_str()],
        );
        self.file("set-group-id", 5, 43);
        run(
            "chmod",
            ["2711".as_ref(), self.path("set-group-id").as_os_str()],
        );
        self.file("both", 5, 43);
        run("chmod", ["6700".as_ref(), self.path("both").as_os_str()]);
        fs::create_dir(self.path("sticky")).unwrap();
        run("chmod", ["7777".as_ref(), self.path("sticky").as_os_str()]);
        let capability = self.file("capability", 0, 0);
        run(
            "setcap",
            ["cap_net_raw+ep".as_ref(), capability.as_os_str()],
        );
        let capability = self.file("dir/namespaced", 7, 7);
        let arguments = ["-n", "1000", "cap_net_bind_service+ep"].map(OsStr::new);
        run(
            "setcap",
            [&arguments[..], &[capability.as_os_str()]].concat(),
        );
        let everything = self.file("everything", 0, 43);
        acl(&everything, "u:5:r,g:6:rwx");
        run("chmod", ["6775".as_ref(), everything.as_os_str()]);
        run(
            "setcap",
            ["cap_net_raw+ep".as_ref(), everything.as_os_str()],
        );
        acl(&self.file("acl", 1, 1), "u:5:r,u:6:rw,u:7:x,g:8:rw,g:9:-");
        run(
            "setfacl",
            [
                "-m".as_ref(),
                "u:3:rx,d:u:4:rwx,d:g:5:r".as_ref(),
                self.path("dir").as_os_str(),
            ],
        );
        symlink("/etc/passwd", self.path("link")).unwrap();
        lchown(self.path("link"), Some(12), Some(13)).unwrap();
        symlink("dir", self.path("dirlink")).unwrap();
        fs::hard_link(self.path("plain"), self.path("dir/hard")).unwrap();
        self.node("whiteout", FileType::CharacterDevice, 0);
        self.node("device", FileType::BlockDevice, 0x700);
        self.node("fifo", FileType::Fifo, 0);
        acl(&self.path("fifo"), "u:5:r");
        self.node("socket", FileType::Socket, 0);
        self.file(OsStr::from_bytes(b"not\xff\xfe%utf\n8/set\xffid"), 8, 8);
        let odd = self.path(OsStr::from_bytes(b"not\xff\xfe%utf\n8/set\xffid"));
        run("chmod", ["4711".as_ref(), odd.as_os_str()]);
    }

    /// Entries that hold ids of both sides, or of the target side only.
    pub fn stray(&self) {
        self.file("stray", 100_005, 100_006);
        run("chmod", ["6755".as_ref(), self.path("stray").as_os_str()]);
        run(
            "setcap",
            ["cap_net_raw+ep".as_ref(), self.path("stray").as_os_str()],
        );
        acl(
            &self.file("half", 100_005, 6),
            "u:7:r,u:100008:r,g:100009:r",
        );
        run("chmod", ["4755".as_ref(), self.path("half").as_os_str()]);
        symlink("stray", self.path("stray-link")).unwrap();
        lchown(self.path("stray-link"), Some(100_000), Some(7)).unwrap();
        fs::create_dir(self.path("stray-directory")).unwrap();
        chown(self.path("stray-directory"), Some(5), Some(100_000)).unwrap();
        self.file("stray-directory/foreign", 70_000, 5);
    }

    /// The tree as Python sees it.
    pub fn manifest(&self) -> String {
        self.listing(&[])
    }

    /// As it has to be after a shift.
    pub fn shifted_manifest(&self) -> String {
        self.manifest_shifted_by(OFFSET)
    }

    /// As it has to be after container ids became that much higher.
    pub fn manifest_shifted_by(&self, offset: u32) -> String {
        self.manifest_mapped(&format!("0:{offset}:65536"))
    }

    /// As it has to be after these extents have been followed.
    pub fn manifest_mapped(&self, extents: &str) -> String {
        self.listing(&[extents])
    }

    fn listing(&self, arguments: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/manifest.py");
        let mut command = Command::new("python3");
        let output = command
            .arg(script)
            .arg(self.root())
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

pub fn acl(path: &Path, entries: &str) {
    run(
        "setfacl",
        ["-m".as_ref(), entries.as_ref(), path.as_os_str()],
    );
}

/// Runs a program that has to succeed.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The example `rechown`, which `cargo test` builds along.
pub fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let examples = test.parent().unwrap().with_file_name("examples");
    examples.join("rechown")
}

/// The engine in a process of its own.
pub fn engine<S: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = S>,
    environment: &[(&str, &str)],
) -> Output {
    let mut command = Command::new(example());
    command.args(arguments).envs(environment.iter().copied());
    command.output().unwrap()
}

/// Shifts a tree in a process of its own.
pub fn shift_elsewhere(tree: &Tree, environment: &[(&str, &str)]) -> Output {
    elsewhere("shift", tree, environment)
}

/// Shifts what is not shifted in a process of its own.
pub fn shift_rest_elsewhere(tree: &Tree, environment: &[(&str, &str)]) -> Output {
    elsewhere("shift+unmapped+strays", tree, environment)
}

fn elsewhere(verb: &str, tree: &Tree, environment: &[(&str, &str)]) -> Output {
    let arguments = [
        verb.into(),
        "0:100000:65536".into(),
        tree.journal().into_os_string(),
        tree.root().into_os_string(),
    ];
    engine(arguments, environment)
}

/// Undoes in a process of its own.
pub fn undo_elsewhere(tree: &Tree, environment: &[(&str, &str)]) -> Output {
    engine(
        ["undo".into(), tree.journal().into_os_string()],
        environment,
    )
}
