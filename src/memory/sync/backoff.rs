//! Giving way after a lost race, so that two writers of one record do not spend their time taking the line from each
//! other.

use crate::memory::block::arena::Arena;
use crate::memory::record::publish::LaneHandle;

impl LaneHandle {
    /// Waits a moment that grows with the races lost in a row.
    #[cold]
    pub(crate) fn back_off(&mut self, arena: &Arena) {
        self.losses += 1;
        let lane = arena.lane(self.index).expect("a lane this process took");
        use super::atomics::Ordering::Relaxed;
        lane.conflicts.store(lane.conflicts.load(Relaxed).wrapping_add(1), Relaxed);
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
