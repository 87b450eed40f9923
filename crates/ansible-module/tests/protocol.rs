//! The protocol from outside: what an executable reads, prints and leaves behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// The example beside the test executables, which `cargo test` builds.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent()
        .unwrap()
        .with_file_name("examples")
        .join("from_spec")
}

fn spec() -> Value {
    json!({
        "argument_spec": {
            "state": {"type": "str", "choices": ["on", "off"], "default": "on"},
            "secret": {"type": "str", "no_log": true, "aliases": ["hidden"]},
            "ids": {"type": "list", "elements": "int"},
            "engine": {"type": "dict", "options": {"root": {"type": "path", "required": true}},
                "required_together": [["root"]]},
        },
        "mutually_exclusive": [["ids", "engine"]],
        "required_if": [["state", "off", ["secret"], true]],
        "required_by": {"ids": ["state"]},
        "supports_check_mode": true,
    })
}

struct Run {
    command: Command,
    directory: PathBuf,
}

impl Run {
    /// A call of the example, with a directory of the test's own.
    fn new(test: &str) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let mut command = Command::new(example());
        command.env("SPEC", spec().to_string()).env("ECHO", "null");
        Self { command, directory }
    }

    fn echo(mut self, echo: &Value) -> Self {
        self.command.env("ECHO", echo.to_string());
        self
    }

    fn keep(mut self) -> (Self, PathBuf) {
        let path = self.directory.join("result.json");
        self.command.env("KEEP", &path);
        (self, path)
    }

    fn words(mut self, words: &[&str]) -> Output {
        self.command
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn stdin(&mut self, text: &[u8]) -> Output {
        self.spawned(text, false)
    }

    /// Nobody reads the result.
    fn hung_up(&mut self, text: &[u8]) -> Output {
        self.spawned(text, true)
    }

    fn spawned(&mut self, text: &[u8], hang_up: bool) -> Output {
        let command = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        if hang_up {
            drop(child.stdout.take());
        }
        child.stdin.take().unwrap().write_all(text).unwrap();
        child.wait_with_output().unwrap()
    }
}

fn text(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The result, which must be one line after an empty one.
fn result(output: &Output) -> Value {
    let text = text(output);
    let line = text
        .strip_prefix('\n')
        .and_then(|t| t.strip_suffix('\n'))
        .unwrap();
    assert!(!line.contains('\n'), "{text}");
    serde_json::from_str(line).unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn arguments_come_from_a_file_or_standard_input() {
    let args = br#"{"state": "off", "secret": "s3cret", "_ansible_verbosity": 3}"#;
    let run = Run::new("file");
    let path = run.directory.join("args=1");
    fs::write(&path, args).unwrap();
    let by_file = run.words(&[path.to_str().unwrap()]);
    let by_stdin = Run::new("stdin").stdin(args);
    assert_eq!(result(&by_file), result(&by_stdin));
    assert_eq!(result(&by_file)["params"]["state"], "off");
    assert_eq!(code(&by_file), Some(0));
}

#[test]
fn what_cannot_be_read_is_a_failure_in_json() {
    for input in [&b""[..], b"\xff\xfe", b"[]", b"{\"state\": \"on\""] {
        let output = Run::new("unreadable").stdin(input);
        assert_eq!(result(&output)["failed"], true);
        assert_eq!(code(&output), Some(1));
    }
    let output = Run::new("missing").words(&["/no/such/file"]);
    assert!(
        result(&output)["msg"]
            .as_str()
            .unwrap()
            .contains("/no/such/file")
    );
}

#[test]
fn diffs_are_returned_in_diff_mode_only() {
    let plain = result(&Run::new("diff").stdin(b"{}"));
    assert_eq!(plain.get("diff"), None);
    let diff = result(&Run::new("diff").stdin(br#"{"_ansible_diff": true}"#));
    let expected = json!([{"before": "old\n", "after": "new\n",
        "before_header": "/etc/demo", "after_header": "/etc/demo"}]);
    assert_eq!(diff["diff"], expected);
}

#[test]
fn with_no_log_the_parameters_are_not_told() {
    let output = Run::new("no_log").stdin(br#"{"state": "bad", "_ansible_no_log": true}"#);
    assert_eq!(result(&output).get("invocation"), None);
}

#[test]
fn a_panic_in_any_thread_is_a_failure_without_secrets() {
    let mut run = Run::new("panic").echo(&json!({"panic": "lost hunter2"}));
    let output = run.stdin(br#"{"secret": "hunter2"}"#);
    let msg = result(&output)["msg"].as_str().unwrap().to_owned();
    assert!(
        msg.starts_with("the module panicked at") && msg.ends_with(": lost ********"),
        "{msg}"
    );
    assert_eq!(
        (code(&output), &result(&output)["failed"]),
        (Some(1), &true.into())
    );
}

#[test]
fn an_undelivered_result_is_returned_by_the_next_run() {
    let (mut run, path) = Run::new("kept").echo(&json!(["hunter2"])).keep();
    let lost = run.hung_up(br#"{"secret": "hunter2"}"#);
    assert_eq!(code(&lost), Some(1));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let kept = fs::read_to_string(&path).unwrap();
    assert!(!kept.contains("hunter2"), "{kept}");

    let checked = result(&run.stdin(br#"{"_ansible_check_mode": true}"#));
    assert_eq!(checked.get("previous_result"), None);
    let invalid = result(&run.stdin(br#"{"bogus": 1}"#));
    assert_eq!(invalid.get("previous_result"), None);
    assert_eq!(fs::read_to_string(&path).unwrap(), kept);

    let next = result(&run.stdin(b"{}"));
    assert_eq!(
        next["previous_result"],
        serde_json::from_str::<Value>(&kept).unwrap()
    );
    assert_eq!(fs::read_dir(&run.directory).unwrap().count(), 0);
    assert_eq!(result(&run.stdin(b"{}")).get("previous_result"), None);
}

#[test]
fn a_failure_and_a_panic_are_kept_too() {
    for echo in [json!({"fail": "no"}), json!({"panic": "no"})] {
        let (mut run, path) = Run::new("kept_failure").echo(&echo).keep();
        assert_eq!(code(&run.hung_up(b"{}")), Some(1));
        let kept: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(kept["failed"], true);
    }
}

#[test]
fn nothing_is_kept_where_there_is_no_state_directory() {
    let mut run = Run::new("unkept");
    run.command
        .env("KEEP", Path::new("/no/such/directory/result.json"));
    let result = result(&run.stdin(b"{}"));
    assert_eq!(
        (result.get("warnings"), &result["changed"]),
        (None, &false.into())
    );
}

#[test]
fn what_cannot_be_kept_is_a_warning() {
    let (mut run, path) = Run::new("unwritable").keep();
    fs::create_dir(&path).unwrap();
    let result = result(&run.stdin(b"{}"));
    assert!(
        result["warnings"][0]
            .as_str()
            .unwrap()
            .contains(path.to_str().unwrap()),
        "{result}"
    );
    assert_eq!(
        fs::read_dir(&run.directory).unwrap().count(),
        1,
        "a temporary file is left"
    );
}

#[test]
fn by_hand_it_prints_for_people() {
    let output =
        Run::new("hand")
            .echo(&json!("s3cret"))
            .words(&["ids=[1, 2]", "secret=s3cret", "--diff"]);
    let text = text(&output);
    assert!(
        text.starts_with("ok\n--- /etc/demo\n+++ /etc/demo\n-old\n+new\n"),
        "{text}"
    );
    assert!(
        text.contains("echo: VALUE_SPECIFIED_IN_NO_LOG_PARAMETER\n"),
        "{text}"
    );
    assert!(
        !text.contains("invocation") && !text.contains("s3cret"),
        "{text}"
    );

    let output = Run::new("hand").words(&["state=of"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "failed: value of state must be one of: on, off, got: of\n"
    );
    assert_eq!(code(&output), Some(1));

    let output = Run::new("hand").words(&["state=on", "--json"]);
    assert_eq!(result(&output)["changed"], false);
}

#[test]
fn help_names_every_option() {
    let help = text(&Run::new("help").words(&["--help"]));
    for part in [
        "from_spec",
        "state=on|off",
        "default: on",
        "also: hidden",
        "ids=INT,...",
        "root=PATH",
        "--check",
    ] {
        assert!(help.contains(part), "{part} is not in\n{help}");
    }
    assert!(text(&Run::new("help").words(&["--version"])).starts_with("from_spec 0."));
}

#[test]
fn the_specification_is_printed_as_it_was_built() {
    let output = Run::new("spec").words(&["--argument-spec"]);
    assert_eq!(
        serde_json::from_str::<Value>(&text(&output)).unwrap(),
        spec()
    );
}
