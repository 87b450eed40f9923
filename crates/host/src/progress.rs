//! Tells how far a long run is: in a file, which the controller reads, and on a terminal's last line.

use serde::Serialize;
use std::{
    fs::{self, DirBuilder},
    io::{self, IsTerminal, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Where the run that holds the collection's lock on this host says how far it is: one JSON object, there from
/// the run's second second to its end.
pub const FILE: &str = "/run/bulkhead/progress.json";

/// Between one word and the next.
const PAUSE: Duration = Duration::from_secs(1);

/// What is going on right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Now {
    /// In a word or two; a new one starts the clock anew.
    pub doing: &'static str,
    /// Done so far.
    pub entries: u64,
    /// To be done in all, where that is known.
    pub total: Option<u64>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Told<'a> {
    module: &'a str,
    pid: u32,
    #[serde(flatten)]
    now: &'a Now,
    percent: Option<u64>,
    /// Since this began.
    seconds: u64,
    seconds_left: Option<u64>,
}

/// Tells until dropped.
pub struct Teller {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts telling what `now` says, in [`FILE`] where `to_file`, and on standard error where `by_hand` and
/// it is a terminal. What cannot be told is left out: no run fails for it.
pub fn tell(
    module: &'static str,
    to_file: bool,
    by_hand: bool,
    now: impl Fn() -> Now + Send + 'static,
) -> Teller {
    let file = to_file.then_some(Path::new(FILE));
    let line = by_hand && io::stderr().is_terminal();
    let (stop, stopped) = mpsc::channel();
    let work = move || {
        // Of a run that was killed.
        if let Some(file) = file {
            let _ = fs::remove_file(file);
        }
        let (mut began, mut last) = ((Instant::now(), ""), Instant::now());
        while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            let now = now();
            if began.1 != now.doing {
                began = (last, now.doing);
            }
            last = Instant::now();
            let told = Told::new(module, &now, began.0.elapsed());
            if let Some(file) = file {
                let _ = write(file, &told);
            }
            if line {
                let _ = write!(io::stderr(), "\r\x1b[K{}", told.line());
            }
        }
        if let Some(file) = file {
            let _ = fs::remove_file(file);
        }
        if line {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    };
    Teller {
        stop: Some(stop),
        thread: thread::Builder::new().spawn(work).ok(),
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<'a> Told<'a> {
    fn new(module: &'a str, now: &'a Now, since: Duration) -> Self {
        let total = now.total.filter(|total| *total > 0);
        let entries = total.map_or(now.entries, |total| now.entries.min(total));
        Self {
            module,
            pid: std::process::id(),
            now,
            percent: total.map(|total| entries * 100 / total),
            seconds: since.as_secs(),
            seconds_left: total.and_then(|total| left(since, entries, total - entries)),
        }
    }

    fn line(&self) -> String {
        let Now {
            doing,
            entries,
            total,
        } = self.now;
        let mut line = (*doing).to_owned();
        match total {
            Some(total) => line += &format!(": {entries} of {total} entries"),
            None if *entries > 0 => line += &format!(": {entries} entries"),
            None => {}
        }
        if let Some(percent) = self.percent {
            line += &format!(", {percent} %");
        }
        if let Some(left) = self.seconds_left {
            line += &format!(", {}:{:02} left", left / 60, left % 60);
        }
        line
    }
}

/// Whole seconds, if it goes on as it did; unknown before anything is done.
fn left(since: Duration, done: u64, open: u64) -> Option<u64> {
    let seconds = since.as_millis() * u128::from(open) / 1000;
    u64::try_from(seconds.checked_div(u128::from(done))?).ok()
}

/// Whole at any time, for whoever reads it meanwhile; gone after a power cut, as its run is.
fn write(file: &Path, told: &Told<'_>) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let draft = file.with_extension("tmp");
    fs::write(&draft, serde_json::to_vec(told)?)?;
    fs::rename(&draft, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(entries: u64, total: Option<u64>) -> Now {
        Now {
            doing: "shift",
            entries,
            total,
        }
    }

    #[test]
    fn what_is_known_is_told() {
        for (entries, total, line) in [
            (
                250,
                Some(1000),
                "shift: 250 of 1000 entries, 25 %, 4:30 left",
            ),
            (0, Some(1000), "shift: 0 of 1000 entries, 0 %"),
            (
                1200,
                Some(1000),
                "shift: 1200 of 1000 entries, 100 %, 0:00 left",
            ),
            (7, None, "shift: 7 entries"),
            (0, None, "shift"),
            (0, Some(0), "shift: 0 of 0 entries"),
        ] {
            let now = now(entries, total);
            let told = Told::new("m", &now, Duration::from_secs(90));
            assert_eq!(told.line(), line);
        }
    }

    #[test]
    fn the_file_is_one_flat_object() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("new/progress.json");
        let now = now(500, Some(1000));
        write(&file, &Told::new("m", &now, Duration::from_secs(3))).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let expected = serde_json::json!({
            "module": "m", "pid": std::process::id(), "doing": "shift", "entries": 500, "total": 1000,
            "percent": 50, "seconds": 3, "seconds_left": 3,
        });
        assert_eq!(told, expected);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
