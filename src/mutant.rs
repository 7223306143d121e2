//! Planted bugs: what each safety test must turn red for.
//!
//! They stand in `ci/mutants.toml` and are woven into a copy of the source, which is built with `--cfg mutants` and reads
//! the name of the one that is to happen from the environment variable `SLOTGUARD_MUTANT`. Only the weakening of a named
//! edge stands in the source itself ([`edge`]). `ci/mutants` runs the table and prints the score.

use std::sync::atomic::Ordering;

/// Whether the bug `name` is planted in this run.
#[cfg(mutants)]
pub(crate) fn planted(name: &str) -> bool {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| std::env::var("SLOTGUARD_MUTANT").unwrap_or_default()) == name
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
