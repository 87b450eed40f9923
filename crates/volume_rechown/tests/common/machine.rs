//! The executable with the strategy `idmap`, in a mount namespace that outlives a run. systemd does not run there:
//! a stand-in for systemctl starts a unit by running its command. What a real one makes of the units is tested in
//! tests/e2e.

use super::{Host, with};
use serde_json::{Value, json};
use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

const PREPARE: &str = r#"set -e
mkdir -p -m 0700 /var/lib/bulkhead
mount --bind "$1/state" /var/lib/bulkhead
for name in passwd subuid subgid; do mount --bind "$1/etc/$name" "/etc/$name"; done
mkdir -p /etc/systemd/system
mount --bind "$1/units" /etc/systemd/system
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
mount -t tmpfs tmpfs /usr/local/sbin
cp "$1/systemctl" /usr/local/sbin/systemctl
echo ready
exec cat"#;

const SYSTEMCTL: &str = r#"#!/bin/sh
verb=$1
shift
for unit; do :; done
case $verb in
show) if [ -e "/run/active-$unit" ]; then echo active; else echo inactive; fi ;;
start)
    if [ -e /run/broken ] || rm /run/broken-once 2>/dev/null; then
        echo "start: broken for the test" >&2
        exit 1
    fi
    $(sed -n s/^ExecStart=//p "/etc/systemd/system/$unit") && touch "/run/active-$unit" ;;
stop) rm -f "/run/active-$unit" ;;
daemon-reload|reset-failed) ;;
*) exit 1 ;;
esac"#;

pub struct Machine {
    pub host: Host,
    namespace: Child,
}

impl Machine {
    pub fn new() -> Self {
        let host = Host::new();
        let root_only = fs::Permissions::from_mode(0o700);
        fs::set_permissions(host.path(""), root_only).unwrap();
        fs::create_dir_all(host.path("units")).unwrap();
        let systemctl = host.path("systemctl");
        fs::write(&systemctl, SYSTEMCTL).unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        let mut namespace = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .args(["sh", "-c", PREPARE, "prepare"])
            .arg(host.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        namespace
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        Self { host, namespace }
    }

    pub fn command(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.namespace.id().to_string();
        command.args(["--target", &pid, "--mount", "--"]).args(argv);
        command
    }

    /// Standard output of a command that must succeed.
    pub fn said(&self, argv: &[&str]) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(argv).output().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{argv:?}: {stderr}");
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }

    pub fn sh(&self, script: &str) -> String {
        let data = self.host.data();
        self.said(&["sh", "-euc", script, "sh", data.to_str().unwrap()])
    }

    pub fn run(&self, options: Value) -> Value {
        let mut options = with(json!({"strategy": "idmap"}), options);
        if options.get("path").is_none() {
            options["path"] = self.host.data().to_str().unwrap().into();
        }
        let arguments = self.host.path("arguments.json");
        let text = json!({"ANSIBLE_MODULE_ARGS": options}).to_string();
        fs::write(&arguments, text).unwrap();
        let exe = env!("CARGO_BIN_EXE_volume_rechown");
        let output = self.command(&[exe, arguments.to_str().unwrap()]).output();
        let output = output.unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// Whether a run that must succeed says that it changed something.
    pub fn changes(&self, options: Value) -> bool {
        let result = self.run(options);
        assert_eq!(result["failed"], Value::Null, "{result}");
        result["changed"] == true
    }

    pub fn refused(&self, options: Value) -> String {
        let result = self.run(options);
        assert_eq!(result["failed"], true, "{result}");
        result["msg"].as_str().unwrap().to_owned()
    }

    /// Owner and group, as seen in the namespace.
    pub fn seen(&self, path: &Path) -> String {
        self.said(&["stat", "-c", "%u:%g", path.to_str().unwrap()])
    }

    pub fn options_of(&self, path: &Path) -> String {
        let path = path.to_str().unwrap();
        let table = self.said(&["cat", "/proc/self/mountinfo"]);
        let options = table.lines().filter_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            (fields[4] == path).then(|| format!("{} {}", fields[0], fields[5]))
        });
        options.collect::<Vec<_>>().join("\n")
    }

    /// Every file that a run makes for itself.
    pub fn traces(&self) -> String {
        let script = "find /var/lib/bulkhead /etc/systemd/system ! -type d ! -name lock \
                      ! -name '*.result.json' -printf '%p\n' | sort";
        self.sh(script)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Ends with its standard input, and the namespace with it.
        drop(self.namespace.stdin.take());
        let _ = self.namespace.wait();
    }
}
