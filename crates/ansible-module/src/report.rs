//! From what a module did to what is printed.

use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::censor::Secrets;
use crate::{Failure, Invocation, Outcome, console, kept};

/// How results of this call are printed, and what they must not tell.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Print for a person rather than JSON.
    pub readable: bool,
    pub diff_mode: bool,
    /// `None` where the parameters may not be told.
    pub module_args: Option<Map<String, Value>>,
    pub secrets: Secrets,
    /// Whether texts from the program itself may be told: not before the secrets are known.
    pub checked: bool,
    /// Where the result lies until delivered.
    pub kept: Option<PathBuf>,
    /// What an earlier run could not deliver.
    pub previous: Option<Value>,
}

impl Report {
    /// Prints the result; the exit code says whether the module succeeded and the result was delivered.
    pub(crate) fn finish(&self, call: &Invocation, result: Result<Outcome, Failure>) -> ExitCode {
        match result {
            Ok(outcome) => self.print(call, self.success(outcome)),
            Err(failure) => self.print(call, failed(failure)),
        }
    }

    /// Prints that check mode is not supported.
    pub(crate) fn skip(&self, call: &Invocation, name: &str) -> ExitCode {
        let msg = format!("remote module ({name}) does not support check mode");
        let fields = [
            ("skipped".to_owned(), true.into()),
            ("msg".to_owned(), msg.into()),
        ];
        self.print(call, fields.into_iter().collect())
    }

    /// Prints a failure in place of a panic's message.
    pub(crate) fn panicked(&self, info: &PanicHookInfo<'_>) -> ExitCode {
        let place = info
            .location()
            .map(|l| format!(" at {l}"))
            .unwrap_or_default();
        let payload = info.payload();
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .filter(|_| self.checked)
            .map(|text| format!(": {text}"))
            .unwrap_or_default();
        let failure = Failure::new(format!("the module panicked{place}{text}"));
        self.finish(&Invocation::default(), Err(failure))
    }

    fn success(&self, outcome: Outcome) -> Map<String, Value> {
        let mut result = outcome.returns;
        result.insert("changed".into(), outcome.changed.into());
        if self.diff_mode && !outcome.diff.is_empty() {
            result.insert("diff".into(), json!(outcome.diff));
        }
        result
    }

    fn print(&self, call: &Invocation, mut result: Map<String, Value>) -> ExitCode {
        let failed = result.get("failed") == Some(&true.into());
        if let Some(args) = &self.module_args {
            result.insert("invocation".into(), json!({ "module_args": args }));
        }
        if let Some(previous) = &self.previous {
            result.insert("previous_result".into(), previous.clone());
        }
        if !call.deprecations.is_empty() {
            result.insert("deprecations".into(), call.deprecations.clone().into());
        }
        let mut warnings = call.warnings.clone();
        let mut told = self.censored(result.clone(), &warnings);
        if let Some(path) = &self.kept
            && let Err(e) = kept::write(path, &Value::Object(told.clone()).to_string())
        {
            warnings.push(format!(
                "the result could not be kept at {}: {e}",
                path.display()
            ));
            told = self.censored(result, &warnings);
        }
        if deliver(&self.render(told)).is_err() {
            return ExitCode::FAILURE;
        }
        if let Some(path) = &self.kept {
            // Mostly there is none: the directory may be missing.
            let _ = std::fs::remove_file(path);
        }
        if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    fn censored(&self, mut result: Map<String, Value>, warnings: &[String]) -> Map<String, Value> {
        if !warnings.is_empty() {
            result.insert("warnings".into(), warnings.into());
        }
        result
            .values_mut()
            .for_each(|value| self.secrets.hide(value));
        result
    }

    fn render(&self, result: Map<String, Value>) -> String {
        if self.readable {
            console::text(&result)
        } else {
            // The empty line before keeps the object on a line of its own after stray output.
            format!("\n{}\n", Value::Object(result))
        }
    }
}

fn failed(failure: Failure) -> Map<String, Value> {
    let mut result = failure.returns;
    result.insert("failed".into(), true.into());
    result.insert("msg".into(), failure.msg.into());
    result
}

fn deliver(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
