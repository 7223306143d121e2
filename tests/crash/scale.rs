//! How much of everything: a taste in a debug build, the whole in a release build, and what CRASH_KILLS says in any.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// How many kills a test makes, at the most where it may end sooner.
pub fn kills() -> usize {
    let usual = if cfg!(debug_assertions) { 200 } else { 10_000 };
    std::env::var("CRASH_KILLS").map_or(usual, |text| text.parse().expect("CRASH_KILLS is a number"))
}

/// Random numbers from a seed that is printed.
pub struct Dice(u64);

impl Dice {
    /// Prints the seed first; CRASH_SEED repeats a run.
    pub fn new() -> Self {
        let seed = match std::env::var("CRASH_SEED") {
            Ok(text) => text.parse().expect("CRASH_SEED is a number"),
            Err(_) => RandomState::new().hash_one(0) >> 32,
        };
        println!("CRASH_SEED={seed}");
        Self::from(seed)
    }

    pub fn from(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end
    }

    /// Every point of the range if there are no more than `most`, else every so many'th from a random one on.
    pub fn some_of(&mut self, range: Range<usize>, most: usize) -> impl Iterator<Item = usize> {
        let stride = range.len().div_ceil(most.max(1)).max(1);
        let first = self.below(stride as u64) as usize;
        range.skip(first).step_by(stride)
    }
}
