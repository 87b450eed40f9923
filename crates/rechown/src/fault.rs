//! Faults for tests, compiled in by the feature `faults` and set by the environment:
//! `BULKHEAD_FAULT_AFTER_CHOWNS=N` aborts after the Nth change of owner, before anything else is given back;
//! `BULKHEAD_FAULT_NO_XATTRAT` hides listxattrat(2).

#[cfg(feature = "faults")]
use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

#[cfg(feature = "faults")]
pub(crate) fn chowned() {
    static LIMIT: LazyLock<Option<u64>> = LazyLock::new(|| {
        std::env::var("BULKHEAD_FAULT_AFTER_CHOWNS")
            .ok()?
            .parse()
            .ok()
    });
    static CHOWNS: AtomicU64 = AtomicU64::new(0);
    if let Some(limit) = *LIMIT
        && CHOWNS.fetch_add(1, Ordering::Relaxed) + 1 >= limit
    {
        std::process::abort();
    }
}

#[cfg(not(feature = "faults"))]
pub(crate) fn chowned() {}

#[cfg(feature = "faults")]
pub(crate) fn no_xattrat() -> bool {
    static SET: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os("BULKHEAD_FAULT_NO_XATTRAT").is_some());
    *SET
}

#[cfg(not(feature = "faults"))]
pub(crate) fn no_xattrat() -> bool {
    false
}
