//! Numbers that look random and can be had again: a xorshift generator with a multiplied output.
//!
//! Source: G. Marsaglia, "Xorshift RNGs", 2003; the multiplier is S. Vigna's, "An experimental exploration of
//! Marsaglia's xorshift generators, scrambled", 2016.

/// A generator; the same seed gives the same numbers.
pub(super) struct Dice(u64);

impl Dice {
    /// Any seed will do.
    pub(super) fn new(seed: u64) -> Self {
        // The state must not be 0, and small seeds are to differ at once.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        ((self.roll() >> 32) as usize) % limit
    }

    /// True once in this many times.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
