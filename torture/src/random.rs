//! Numbers that look random and come again with the same seed: every choice of a run is drawn here.

use std::time::Duration;

/// A SplitMix64 generator (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads the bits of one word over the whole word.
pub fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl Random {
    /// The stream of `seed` that belongs to `parts`: other parts, other numbers.
    pub fn of(seed: u64, parts: &[u64]) -> Self {
        let start = parts.iter().fold(mix(seed.wrapping_add(STEP)), |state, part| mix(state ^ part.wrapping_add(STEP)));
        Self(start)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number under `bound`; `bound` is small against 2⁶⁴, so the modulo's bias does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True once in `n` times, on average.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

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
        let mut one = Random::of(7, &[1, 2]);
        let mut two = Random::of(7, &[1, 2]);
        let mut other = Random::of(7, &[2, 1]);
        let first: Vec<u64> = (0..8).map(|_| one.next()).collect();
        assert_eq!(first, (0..8).map(|_| two.next()).collect::<Vec<_>>());
        assert_ne!(first, (0..8).map(|_| other.next()).collect::<Vec<_>>());
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
