//! Waiting a moment after a lost race, so that two writers of one record do not take its cache line from each other in
//! turn.

/// Races that one lane has lost in a row.
pub(crate) struct Backoff {
    losses: u32,
    /// Differs between lanes, so that two losers do not wait equally long.
    random: u32,
}

impl Backoff {
    pub(crate) fn new(lane: u32) -> Self {
        Self { losses: 0, random: lane.wrapping_mul(0x9e37_79b9) | 1 }
    }

    /// Forgets the losses: another operation begins.
    #[inline(always)]
    pub(crate) fn reset(&mut self) {
        self.losses = 0;
    }

    /// Waits a moment that grows with the races lost in a row.
    #[cold]
    pub(crate) fn wait(&mut self) {
        self.losses += 1;
        // xorshift32
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let most = 16u32 << self.losses.min(6);
        for _ in 0..self.random % most {
            super::atomics::pause();
        }
    }
}
