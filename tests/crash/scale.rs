//! How much of everything: a taste in a debug build, the whole in a release build, and what CRASH_KILLS says in any.

use std::ops::Range;
use std::path::Path;

use harness::isolated::isolated_for;
use harness::random::Random;

/// How many kills a test makes, at the most where it may end sooner.
pub fn kills() -> usize {
    let usual = if cfg!(debug_assertions) { 200 } else { 10_000 };
    std::env::var("CRASH_KILLS").map_or(usual, |text| text.parse().expect("CRASH_KILLS is a number"))
}

/// Runs a test in a process of its own, with a folder in shared memory, for as long as the most kills take.
pub fn isolated<F: FnOnce(&Path)>(body: F) {
    isolated_for(900, body);
}

/// Random numbers of a seed that is printed; CRASH_SEED repeats a run.
pub fn seeded() -> Random {
    Random::from_environment("CRASH_SEED")
}

/// Every point of the range if there are no more than `most`, else every n-th from a random one on.
pub fn some_of(random: &mut Random, range: Range<usize>, most: usize) -> impl Iterator<Item = usize> {
    let stride = range.len().div_ceil(most.max(1)).max(1);
    let first = random.index(stride);
    range.skip(first).step_by(stride)
}
