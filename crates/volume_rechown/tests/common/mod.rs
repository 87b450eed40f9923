//! The executable on real trees, each test with a /var/lib/bulkhead, /run/bulkhead and accounts of its own.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

pub mod machine;

use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

/// Runs its arguments where the first is seen as /var/lib/bulkhead and the second holds files for /etc. The script
/// BEFORE runs there first.
const ISOLATE: &str = r#"set -e
mkdir -p -m 0700 /var/lib/bulkhead /run/bulkhead
mount --bind "$1" /var/lib/bulkhead
mount -t tmpfs none /run/bulkhead
for name in passwd subuid subgid; do mount --bind "$2/$name" "/etc/$name"; done
shift 2
eval "$BEFORE"
exec "$@""#;

/// Without links on the way: the module names files by their real paths.
fn scratch() -> PathBuf {
    fs::canonicalize(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

pub struct Host(tempfile::TempDir);

impl Host {
    pub fn new() -> Self {
        let host = Self(tempfile::tempdir_in(scratch()).unwrap());
        for directory in ["state", "etc", "data/sub"] {
            fs::create_dir_all(host.path(directory)).unwrap();
        }
        host.etc(
            "passwd",
            "root:x:0:0:::\nalice:x:1000:1001:::\nbob:x:2000:2001:::\ndockremap:x:500:500:::\n",
        );
        for file in ["subuid", "subgid"] {
            host.etc(
                file,
                "alice:300000:65536\n2000:400000:65536\ndockremap:100000:65536\n",
            );
        }
        host.file("sub/file", 5, 6);
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn etc(&self, name: &str, text: &str) {
        fs::write(self.path("etc").join(name), text).unwrap();
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn file(&self, name: &str, uid: u32, gid: u32) -> PathBuf {
        let path = self.data().join(name);
        fs::write(&path, "").unwrap();
        chown(&path, Some(uid), Some(gid)).unwrap();
        path
    }

    /// Runs the module on the tree.
    pub fn run(&self, options: Value) -> Value {
        let output = self.command(options).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// Lets it die after this many changes of owner.
    pub fn crash(&self, options: Value, chowns: u32) {
        let mut command = self.command(options);
        command.env("BULKHEAD_FAULT_AFTER_CHOWNS", chowns.to_string());
        assert_eq!(command.output().unwrap().status.code(), None);
    }

    pub fn command(&self, mut options: Value) -> Command {
        if options.get("path").is_none() {
            options["path"] = self.data().to_str().unwrap().into();
        }
        let arguments = self.path("arguments.json");
        fs::write(
            &arguments,
            json!({"ANSIBLE_MODULE_ARGS": options}).to_string(),
        )
        .unwrap();
        let mut command = Command::new("unshare");
        command
            .env("BEFORE", "")
            .args(["--mount", "sh", "-c", ISOLATE, "isolate"])
            .args([self.path("state"), self.path("etc")])
            .arg(env!("CARGO_BIN_EXE_volume_rechown"))
            .arg(&arguments);
        command
    }

    pub fn owner(&self, name: &str) -> (u32, u32) {
        owner(&self.data().join(name))
    }
}

pub fn owner(path: &Path) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

pub fn to_docker() -> Value {
    json!({"from": {"engine": "host"}, "to": {"engine": "docker"}})
}

pub fn with(mut options: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        options[key] = value.clone();
    }
    options
}

pub fn restored() -> Value {
    json!({"state": "restored"})
}
