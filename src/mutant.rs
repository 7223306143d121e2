//! Planted bugs: what each safety test must turn red for.
//!
//! A build with `--cfg mutants` reads one name from the environment variable `SLOTGUARD_MUTANT` and breaks exactly
//! that spot; every other build compiles these functions away. `ci/mutants` runs the list and prints the score.

use std::sync::atomic::Ordering;

/// Whether the bug `name` is planted in this run.
#[cfg(mutants)]
pub(crate) fn planted(name: &str) -> bool {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| std::env::var("SLOTGUARD_MUTANT").unwrap_or_default()) == name
}

/// Whether the bug `name` is planted in this run: never, in a build without `--cfg mutants`.
#[cfg(not(mutants))]
#[inline(always)]
pub(crate) const fn planted(_name: &str) -> bool {
    false
}

/// The ordering of one end of a named edge (the table in [`crate::memory`] says what each edge gives).
///
/// A planted bug of the same name weakens it to `Relaxed`.
#[cfg(mutants)]
pub(crate) fn edge(name: &str, ordering: Ordering) -> Ordering {
    if planted(name) { Ordering::Relaxed } else { ordering }
}

/// The ordering of one end of a named edge (the table in [`crate::memory`] says what each edge gives).
#[cfg(not(mutants))]
#[inline(always)]
pub(crate) const fn edge(_name: &str, ordering: Ordering) -> Ordering {
    ordering
}
