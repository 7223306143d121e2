//! Chooses the planted bug of this run, in the copy of the source that the bugs are woven into.
//!
//! It stands in place of `src/edge.rs` there. The environment variable `SLOTGUARD_MUTANT` holds the name of the bug.

use std::sync::atomic::Ordering;

/// Whether the bug `name` is planted in this run.
pub(crate) fn planted(name: &str) -> bool {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| std::env::var("SLOTGUARD_MUTANT").unwrap_or_default()) == name
}

/// The ordering of one end of a named edge: `Relaxed` if the edge of this name is the planted bug.
pub(crate) fn edge(name: &str, ordering: Ordering) -> Ordering {
    if planted(name) { Ordering::Relaxed } else { ordering }
}
