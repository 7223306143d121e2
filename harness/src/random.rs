//! Random numbers that a seed repeats: the same seed gives the same numbers with every release of this crate.
//!
//! ```
//! use harness::random::Random;
//!
//! let mut random = Random::of(7, &[1, 2]);
//! let again = Random::of(7, &[1, 2]).next();
//! assert_eq!(random.next(), again);
//! assert!(random.below(6) < 6);
//! ```

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random(SplitMix64);

/// What SplitMix64 adds to its state before each number.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads the bits of one word over the whole word: the number that SplitMix64 makes of this state.
pub fn mix(word: u64) -> u64 {
    SplitMix64::seed_from_u64(word.wrapping_sub(STEP)).next_u64()
}

/// A seed that is different in each run.
pub fn fresh_seed() -> u64 {
    RandomState::new().hash_one(0)
}

impl Random {
    /// The stream of `seed` that belongs to `parts`: other parts, other numbers.
    pub fn of(seed: u64, parts: &[u64]) -> Self {
        let fold = |state: u64, part: &u64| mix(state ^ part.wrapping_add(STEP));
        Self::from_seed(parts.iter().fold(mix(seed.wrapping_add(STEP)), fold))
    }

    /// The stream of `seed` itself.
    pub fn from_seed(seed: u64) -> Self {
        Self(SplitMix64::seed_from_u64(seed))
    }

    /// The stream of the seed in the environment variable `name`, else of a fresh one. Prints `name=seed` first.
    pub fn from_environment(name: &str) -> Self {
        let seed = match env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: give a whole number")),
            Err(_) => fresh_seed() >> 32,
        };
        println!("{name}={seed}");
        Self::from_seed(seed)
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "a stream without an end is no iterator here")]
    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number under `bound`; `bound` is small against 2⁶⁴, so the modulo's bias does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// An index into something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True once in `n` times, on average.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A length of time between these two, both included.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low).as_nanos() as u64;
        low + Duration::from_nanos(self.below(span + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_parts_give_the_same_numbers() {
        let numbers = |mut random: Random| [(); 8].map(|()| random.next());
        assert_eq!(numbers(Random::of(7, &[1, 2])), numbers(Random::of(7, &[1, 2])));
        assert_ne!(numbers(Random::of(7, &[1, 2])), numbers(Random::of(7, &[2, 1])));
    }

    #[test]
    fn a_seed_in_a_track_record_keeps_its_numbers() {
        // Drawn before this crate existed; 0xe220… is the first number of SplitMix64's reference code for seed 0.
        assert_eq!(Random::from_seed(0).next(), 0xe220_a839_7b1d_cdaf);
        let mut random = Random::of(7, &[1, 2]);
        assert_eq!([random.next(), random.next()], [0x6f5f_de03_c42e_070e, 0x84f0_a08c_12ba_5180]);
    }

    #[test]
    fn a_number_between_two_lengths_of_time_stays_between_them() {
        let mut random = Random::of(1, &[]);
        let (low, high) = (Duration::from_millis(3), Duration::from_millis(5));
        for _ in 0..1_000 {
            let drawn = random.between(low, high);
            assert!(low <= drawn && drawn <= high);
        }
    }
}
