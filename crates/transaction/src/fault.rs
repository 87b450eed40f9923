//! Faults on request, for the tests that kill a run after each step. Compiled to nothing without the
//! feature `faults`, which no released executable has.

/// Honours `BULKHEAD_FAULT=<kill|pause|fail>@<point>`: kill this process, wait to be killed or for the file
/// `/run/bulkhead-paused` that says so to go away, or fail. Points are `begun`, `started:NAME`, `applied:NAME`,
/// `done:NAME`, `committed`, `undone:NAME`.
#[cfg(feature = "faults")]
pub(crate) fn point(point: &str) -> Result<(), String> {
    let Ok(wanted) = std::env::var("BULKHEAD_FAULT") else {
        return Ok(());
    };
    let (what, at) = wanted.split_once('@').unwrap_or((&wanted, ""));
    if at != point {
        return Ok(());
    }
    match what {
        "kill" => {
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
        }
        "pause" => {
            let paused = std::path::Path::new("/run/bulkhead-paused");
            let _ = std::fs::write(paused, point);
            while paused.exists() {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        _ => return Err(format!("failed on request at {point}")),
    }
    Ok(())
}

#[cfg(not(feature = "faults"))]
#[allow(clippy::unnecessary_wraps)]
pub(crate) fn point(_point: &str) -> Result<(), String> {
    Ok(())
}
