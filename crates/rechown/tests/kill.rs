//! SIGKILL from outside at random instants: on the way there, while a killed run is taken up, and on the way
//! back. Trees and maps are random, overlapping maps included.
//!
//! `BULKHEAD_KILLS` says how many processes are to be killed (40), `BULKHEAD_SEED` with which trees to begin.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    Tree, example,
    random::{Case, Grown, Scope, cases},
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use rechown::{Progress, recorded};
use std::{
    env,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const SCOPE: Scope = Scope {
    outside_links: false,
    foreign_ids: true,
    immutable_fragile: true,
};

/// What the killed processes had come to.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    /// A journal was begun, and was not at its end.
    half_way: u64,
    /// Of those, on a further attempt, and on the way back.
    taken_up: u64,
    half_way_back: u64,
    overlapping: u64,
}

/// How long a whole run takes, and until it has begun to change anything.
struct Pace {
    begun: Duration,
    whole: Duration,
}

#[test]
fn killed_at_any_instant_every_shift_is_finished_or_taken_back_exactly() {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let wanted = number("BULKHEAD_KILLS").unwrap_or(40);
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let first = number("BULKHEAD_SEED").unwrap_or_else(now);
    let mut tally = Tally::default();
    let start = Instant::now();
    for seed in first.. {
        if tally.kills >= wanted {
            break;
        }
        println!("seed {seed}, {} kills so far", tally.kills);
        Torture::new(seed).run(&mut tally);
    }
    println!("{tally:?} in {:.0?}", start.elapsed());
    assert!(tally.half_way * 2 >= tally.kills, "few in the middle");
    assert!(
        tally.overlapping * 4 >= tally.kills,
        "few by overlapping maps"
    );
    assert!(tally.taken_up > 0 && tally.half_way_back > 0);
}

struct Torture {
    dice: TestRunner,
    grown: Grown,
    case: Case,
    seed: u64,
}

impl Torture {
    /// Every other map overlaps. Three of four trees lie in memory: there a run spends its time among the
    /// entries, on a disk in waiting for it.
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut dice = TestRunner::new_with_rng(Config::default(), rng);
        let overlaps = |case: &Case| case.maps().is_disjoint() == seed.is_multiple_of(2);
        let case = draw(
            &mut dice,
            cases(SCOPE, 50..=250).prop_filter("map", overlaps),
        );
        let tree = match seed / 2 % 4 {
            0 => Tree::new(),
            _ => Tree::volatile(),
        };
        Self {
            dice,
            grown: Grown::new(tree, &case),
            case,
            seed,
        }
    }

    fn run(&mut self, tally: &mut Tally) {
        let before = self.tree().manifest();
        let shifted = self.tree().manifest_mapped(&self.case.extents);
        let (pace, pace_back) = (self.pace("shift"), self.pace("undo"));
        self.shot("shift", &pace, tally);
        if self.progress().is_none() {
            self.check(&before, "killed before the journal was written");
        }
        if draw(&mut self.dice, any::<bool>()) {
            self.finish(&pace, tally);
            self.check(&shifted, "taken up");
        }
        for _ in 0..draw(&mut self.dice, 0..3) {
            let half_way = self.shot("undo", &pace_back, tally);
            tally.half_way_back += u64::from(half_way);
        }
        self.complete("undo");
        self.check(&before, "taken back");
        assert_eq!(self.progress(), None, "seed {}", self.seed);
    }

    /// Takes the shift up until it is complete, killed on the way now and then.
    fn finish(&mut self, pace: &Pace, tally: &mut Tally) {
        // Maps that overlap would take a complete shift for none at all.
        let is_complete = |run: &Self| run.progress() == Some(Progress::Complete);
        for _ in 0..draw(&mut self.dice, 0..3) {
            if !is_complete(self) {
                tally.taken_up += u64::from(self.shot("shift", pace, tally));
            }
        }
        if !is_complete(self) {
            self.complete("shift");
        }
    }

    fn complete(&self, verb: &str) {
        let output = self.command(verb).output().unwrap();
        let (seed, extents) = (self.seed, &self.case.extents);
        assert!(
            output.status.success(),
            "seed {seed}, {extents}: {output:?}"
        );
    }

    /// Runs a verb to its end.
    fn pace(&self, verb: &str) -> Pace {
        let start = Instant::now();
        let mut child = self.spawn(verb);
        let begun = self.await_begin(verb, &mut child);
        assert!(child.wait().unwrap().success(), "seed {}", self.seed);
        Pace {
            begun,
            whole: start.elapsed(),
        }
    }

    /// Until the journal is written, or all is over.
    fn await_begin(&self, verb: &str, child: &mut Child) -> Duration {
        let start = Instant::now();
        let journal = match verb {
            "undo" => self.tree().beside("journal.undo"),
            _ => self.tree().journal(),
        };
        while !journal.exists() && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_micros(20));
        }
        start.elapsed()
    }

    /// Kills a run at an instant of its time, mostly of the time in which it changes something. Says whether
    /// it was half-way.
    fn shot(&mut self, verb: &str, pace: &Pace, tally: &mut Tally) -> bool {
        let anywhere = draw(&mut self.dice, 0..6) == 0;
        let part = draw(&mut self.dice, 0.0..1.0);
        let mut child = self.spawn(verb);
        if anywhere {
            sleep(pace.whole.mul_f64(part));
        } else {
            self.await_begin(verb, &mut child);
            sleep(pace.whole.saturating_sub(pace.begun).mul_f64(part));
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let killed = status.code().is_none();
        assert!(killed || status.success(), "seed {}", self.seed);
        tally.kills += u64::from(killed);
        tally.overlapping += u64::from(killed && !self.case.maps().is_disjoint());
        let half_way =
            [Some(Progress::Begun), Some(Progress::UndoBegun)].contains(&self.progress());
        tally.half_way += u64::from(killed && half_way);
        killed && half_way
    }

    fn spawn(&self, verb: &str) -> Child {
        let mut command = self.command(verb);
        command.stdout(Stdio::null());
        command.spawn().unwrap()
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(example());
        let (tree, journal) = (self.tree(), self.tree().journal());
        match verb {
            "undo" => command.arg(verb).arg(journal),
            _ => command
                .args(["shift+unmapped+strays+immutable", &self.case.extents])
                .args([journal, tree.root()]),
        };
        command
    }

    fn tree(&self) -> &Tree {
        &self.grown.tree
    }

    fn progress(&self) -> Option<Progress> {
        let record = recorded(&self.tree().journal()).unwrap();
        record.map(|record| record.progress)
    }

    fn check(&self, expected: &str, when: &str) {
        let now = self.tree().manifest();
        let differs = |(one, other): &(&str, &str)| one != other;
        let differing = expected.lines().zip(now.lines()).find(differs);
        let (seed, extents) = (self.seed, &self.case.extents);
        assert!(
            now == expected,
            "seed {seed}, {extents}, {when}: {differing:#?}"
        );
    }
}

fn draw<S: Strategy>(dice: &mut TestRunner, strategy: S) -> S::Value {
    strategy.new_tree(dice).unwrap().current()
}
