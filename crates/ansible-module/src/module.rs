//! Running a module: read the call, check it, run it, print the result.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::{env, panic, process};

use serde_json::{Map, Value};

use crate::call::{self, Call, Request};
use crate::report::Report;
use crate::validate::{Checked, Invalid, validate};
use crate::{Failure, Invocation, Outcome, Spec, help, kept, log};

/// A module: a specification and how it runs.
#[derive(Debug, Clone)]
pub struct Module {
    spec: Spec,
    version: &'static str,
    kept: Option<PathBuf>,
    kept_by: Option<&'static str>,
    logged: bool,
}

impl Module {
    /// A module of this specification.
    #[must_use]
    pub fn new(spec: Spec) -> Self {
        Self {
            spec,
            version: env!("CARGO_PKG_VERSION"),
            kept: None,
            kept_by: None,
            logged: false,
        }
    }

    /// What `--version` prints; `env!("CARGO_PKG_VERSION")` of the executable.
    #[must_use]
    pub fn version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    /// Where the result lies until it is delivered: the next run returns the result of one whose
    /// controller vanished as `previous_result`. Nothing is kept in check mode, and nowhere but in
    /// a directory that exists when the module ends.
    #[must_use]
    pub fn keep_result_at(self, path: impl Into<PathBuf>) -> Self {
        Self {
            kept: Some(path.into()),
            ..self
        }
    }

    /// For a module whose runs for different things do not wait for one another: each value of this
    /// option has a kept result of its own, whose name has the value before that of
    /// [`Module::keep_result_at`].
    #[must_use]
    pub fn keep_results_by(self, option: &'static str) -> Self {
        Self {
            kept_by: Some(option),
            ..self
        }
    }

    /// Records every valid invocation in the system log, as ansible's Python modules do: without
    /// secrets, and not at all where a task says `no_log`.
    #[must_use]
    pub fn log_invocation(self) -> Self {
        Self {
            logged: true,
            ..self
        }
    }

    /// Reads the call, checks it, calls `body` unless something was wrong, and prints the result.
    ///
    /// From here on a panic, in any thread, prints a failure and ends the process with exit code 1.
    pub fn run(self, body: impl FnOnce(&mut Invocation) -> Result<Outcome, Failure>) -> ExitCode {
        report_panics(Arc::default());
        let args: Vec<_> = env::args_os().skip(1).collect();
        match call::read(&self.spec, &args) {
            Ok(Call::Run(request)) => self.run_request(request, body),
            Ok(Call::Help) => print(&help::text(&self.spec)),
            Ok(Call::Version) => print(&format!("{} {}\n", self.spec.name, self.version)),
            Ok(Call::ArgumentSpec) => print(&format!("{:#}\n", self.spec.to_json())),
            Err(error) => {
                let report = Report {
                    readable: error.readable,
                    ..Report::default()
                };
                report.finish(&Invocation::default(), Err(Failure::new(error.text)))
            }
        }
    }

    fn run_request(
        self,
        request: Request,
        body: impl FnOnce(&mut Invocation) -> Result<Outcome, Failure>,
    ) -> ExitCode {
        let name = request.name.as_deref().unwrap_or(self.spec.name);
        let checked = validate(&self.spec, request.params);
        let error = invalid(&checked, name, request.ignore_unknown_opts);
        let mut call = Invocation {
            check_mode: request.check_mode,
            diff_mode: request.diff_mode,
            verbosity: request.verbosity,
            by_hand: request.readable,
            params: own_names(&self.spec, &checked.params),
            warnings: checked.warnings,
            deprecations: Vec::new(),
        };
        let mut report = Report {
            readable: request.readable,
            diff_mode: request.diff_mode,
            module_args: (!request.no_log).then_some(checked.params),
            secrets: checked.secrets,
            checked: true,
            kept: None,
            previous: None,
        };
        if let Some(error) = error {
            return report.finish(&call, Err(Failure::new(error)));
        }
        if call.check_mode && !self.spec.supports_check_mode {
            return report.skip(&call, name);
        }
        if let Some(args) = &report.module_args {
            undeclared_secrets(&self.spec, args).for_each(|warning| call.warn(warning));
            if self.logged {
                let text = log::text(&self.spec, args, &report.secrets);
                log::invocation(&request.syslog_facility, name, &text);
            }
        }
        let value = self.kept_by.and_then(|option| call.params.get(option));
        let kept = match (self.kept, value.and_then(Value::as_str)) {
            (Some(path), Some(value)) => Some(kept::of(&path, value)),
            (kept, _) => kept,
        };
        report.kept = kept.filter(|_| !call.check_mode);
        report.previous = report.kept.as_deref().and_then(kept::read);
        let report = Arc::new(report);
        report_panics(Arc::clone(&report));
        let result = body(&mut call);
        report.finish(&call, result)
    }
}

fn invalid(checked: &Checked, name: &str, ignore_unknown: bool) -> Option<String> {
    match checked.error.as_ref()? {
        Invalid::Other(text) => Some(text.clone()),
        Invalid::Unsupported(_) if ignore_unknown => None,
        Invalid::Unsupported(text) => Some(format!(
            "Unsupported parameters for ({name}) module: {text}"
        )),
    }
}

/// Without the aliases, which a type with `deny_unknown_fields` would stumble on.
fn own_names(spec: &Spec, params: &Map<String, Value>) -> Map<String, Value> {
    spec.options
        .iter()
        .filter_map(|option| Some((option.name.to_owned(), params.get(option.name)?.clone())))
        .collect()
}

/// ansible's warning for options named like a password whose author did not say whether they are one.
fn undeclared_secrets(spec: &Spec, params: &Map<String, Value>) -> impl Iterator<Item = String> {
    params
        .keys()
        .filter(|name| {
            spec.find(name)
                .is_some_and(|option| option.no_log.is_none())
        })
        .filter(|name| log::looks_secret(name))
        .map(|name| format!("Module did not set no_log for {name}"))
}

/// The process ends in the hook: the release profile aborts on panic, and a module half done must
/// not go on in its other threads.
fn report_panics(report: Arc<Report>) {
    // A second panic waits here for the first to end the process.
    let once = Mutex::new(());
    panic::set_hook(Box::new(move |info| {
        let _first = once.lock();
        report.panicked(info);
        process::exit(1);
    }));
}

fn print(text: &str) -> ExitCode {
    match io::stdout()
        .write_all(text.as_bytes())
        .and_then(|()| io::stdout().flush())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
