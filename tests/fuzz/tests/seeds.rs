//! The fuzz targets on a stable compiler: the seeds, the seeds a little changed, and random bytes.

use fuzz::{TARGETS, Target};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::TestRunner,
};
use std::{fmt, fs, path::Path};

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(name);
    let entries =
        fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let seeds: Vec<_> = entries
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds
}

/// Shown as text.
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// A seed with bytes overwritten, a piece taken out, or a piece doubled.
fn changed(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), select(b"\0\n\t ,:;%\\\"'{}[]()+-09e".to_vec())];
    let edits = vec((any::<Index>(), byte), 0..6);
    let piece = (any::<Index>(), any::<Index>(), 0..3_u8);
    (select(seeds), edits, piece).prop_map(|(mut bytes, edits, (one, other, what))| {
        for (at, byte) in edits {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let (one, other) = (one.index(bytes.len() + 1), other.index(bytes.len() + 1));
        let piece = one.min(other)..one.max(other);
        match what {
            0 => drop(bytes.drain(piece)),
            1 => bytes.extend_from_within(piece),
            _ => {}
        }
        bytes
    })
}

fn test((name, target): (&str, Target)) {
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| target(seed));
    let bytes = prop_oneof![4 => changed(seeds), 1 => vec(any::<u8>(), 0..200)].prop_map(Input);
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(2000)
    });
    let run = runner.run(&bytes, |Input(bytes)| {
        target(&bytes);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn every_parser_keeps_its_word_on_seeds_and_random_bytes() {
    TARGETS.into_iter().for_each(test);
}
