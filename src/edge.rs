//! Names the orderings that the protocol depends on, so that each can be weakened by itself in a test.
//!
//! `ci/mutants` builds a copy of the source in which the ordering of a chosen name is `Relaxed`, and requires the tests
//! that `ci/mutants.toml` lists for it to fail.

use std::sync::atomic::Ordering;

/// The ordering of one end of a named edge (the table in [`crate::memory`] says what each edge gives).
#[inline(always)]
pub(crate) const fn edge(_name: &str, ordering: Ordering) -> Ordering {
    ordering
}
