//! All targets in one executable, so that it is built once: `FUZZ_TARGET` names the one.
#![no_main]

use fuzz::{TARGETS, Target};
use std::{env, sync::LazyLock};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    let target = TARGETS.iter().find(|(other, _)| *other == name);
    target
        .unwrap_or_else(|| panic!("FUZZ_TARGET={name} is no target"))
        .1
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
