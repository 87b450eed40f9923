//! How long containers are down, and for what.

use crate::step::Step;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// From the first container's stop to the last one's coming back. What comes before and after is not counted.
#[derive(Debug, Default)]
pub struct Downtime {
    /// Containers and the engine end, and are proven gone.
    stop: Duration,
    /// Whatever is done to the data root and the configuration, but for owners.
    r#move: Duration,
    /// Owners are translated.
    shift: Duration,
    /// The engine and the containers come back.
    start: Duration,
    /// Until when it has been counted; `None` before the first stop and after the last start.
    counted: Option<Instant>,
}

impl Downtime {
    pub fn begin(&mut self) {
        self.counted = Some(Instant::now());
    }

    /// Counts what has passed since it was last called to the part that `step` belongs to.
    pub fn count(&mut self, step: &Step) {
        let Some(since) = &mut self.counted else {
            return;
        };
        let now = Instant::now();
        let passed = now - *since;
        *since = now;
        *self.part(step) += passed;
    }

    /// Counts a last time: all is up again, whatever `step` does from here on.
    pub fn end(&mut self, step: &Step) {
        self.count(step);
        self.counted = None;
    }

    fn part(&mut self, step: &Step) -> &mut Duration {
        match step {
            Step::StopContainers { .. }
            | Step::StopEngine { .. }
            | Step::Hold
            | Step::ProveStopped { .. } => &mut self.stop,
            Step::Shift { .. } | Step::ShiftBindMount { .. } => &mut self.shift,
            Step::Release
            | Step::StartEngine { .. }
            | Step::VerifyInventory(_)
            | Step::StartContainers { .. } => &mut self.start,
            _ => &mut self.r#move,
        }
    }

    /// The parts and their sum, in seconds.
    pub fn seconds(&self) -> Value {
        let seconds = |time: Duration| (time.as_secs_f64() * 100.0).round() / 100.0;
        let total = self.stop + self.r#move + self.shift + self.start;
        json!({
            "total": seconds(total), "stop": seconds(self.stop), "move": seconds(self.r#move),
            "shift": seconds(self.shift), "start": seconds(self.start),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    const TICK: Duration = Duration::from_millis(20);

    #[test]
    fn only_what_passes_between_the_stop_and_the_last_start_is_counted_each_to_its_part() {
        let stop = Step::StopContainers {
            running: vec![],
            idle: vec![],
        };
        let start = Step::StartContainers {
            running: vec![],
            idle: vec![],
            maps: idmap::IdMaps::identity(),
        };
        let mut downtime = Downtime::default();
        sleep(TICK);
        downtime.count(&Step::Hold);
        assert_eq!(downtime.stop, Duration::ZERO);
        downtime.begin();
        sleep(TICK);
        downtime.count(&stop);
        downtime.count(&Step::Hold);
        sleep(2 * TICK);
        downtime.end(&start);
        let counted = downtime.start;
        sleep(TICK);
        downtime.count(&start);
        assert!(downtime.stop >= TICK && counted >= 2 * TICK && downtime.start == counted);
        assert!(downtime.r#move + downtime.shift < TICK);
        let seconds = downtime.seconds();
        assert!(seconds["total"].as_f64() >= Some(0.06), "{seconds}");
    }
}
