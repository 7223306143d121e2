//! Blocks nobody uses: taking one into a cell and giving one back, so that a kill at any instruction loses none.
//!
//! The fate word decides, the cell only says where to look: it is written *before* the fate changes, marked unsettled,
//! and plain again afterwards. A bitmap says where a free block may be; it is a hint and may be wrong in both
//! directions, so before "none is left" the fates themselves are searched.

use super::arena::Arena;
use super::atomics::Ordering::{AcqRel, Acquire, Relaxed, Release};
use super::word::{Cell, Fate, FateKind};
use crate::mutant::planted;

impl Arena {
    /// Takes a free block of `class` into the empty `cell` of `lane`; `None` if all are in use.
    pub(crate) fn take(&self, lane: u32, cell: usize, class: usize) -> Option<u32> {
        let range = self.class_range(class);
        let count = range.end - range.start;
        // Lanes begin at different places, so that they seldom try the same block.
        let start = lane.wrapping_mul(7919) % count;
        let candidates = (0..count).map(|i| range.start + (start + i) % count);
        let mut hinted = candidates.clone().filter(|&block| !self.is_hinted_taken(block));
        if let Some(block) = hinted.find(|&block| self.try_take(lane, cell, block)) {
            return Some(block);
        }
        candidates.into_iter().find(|&block| self.try_take(lane, cell, block))
    }

    fn try_take(&self, lane: u32, cell: usize, index: u32) -> bool {
        let Some(block) = self.block(index) else {
            return false;
        };
        let fate = Fate(block.head.fate.load(Acquire));
        if fate.kind() != FateKind::Free {
            self.hint(index, true);
            return false;
        }
        let cells = &self.lane(lane).expect("a lane this process took").cells;
        if !planted("take without the cell") {
            cells[cell].store(Cell::unsettled(index).0, Release);
        }
        let owned = Fate::owned(lane, fate.tag());
        // Release: the cell is marked before the block is ours. Acquire: edge `pool`, the last owner is done with it.
        let taken = block.head.fate.compare_exchange(fate.0, owned.0, AcqRel, Relaxed).is_ok();
        let settled = if taken { Cell::keeping(index) } else { Cell::EMPTY };
        cells[cell].store(settled.0, Release);
        if taken {
            self.hint(index, true);
        }
        taken
    }

    /// Gives the block in `cell` of `lane` back.
    pub(crate) fn give(&self, lane: u32, cell: usize, index: u32) {
        let Some(block) = self.block(index) else {
            return;
        };
        let cells = &self.lane(lane).expect("a lane this process took").cells;
        // A displaced block still bears its revision, and only an owned word says whose the block is.
        let tag = Fate(block.head.fate.load(Relaxed)).tag();
        let owned = Fate::owned(lane, tag);
        block.head.fate.store(owned.0, Release);
        if !planted("give without the cell") {
            cells[cell].store(Cell::unsettled(index).0, Release);
        }
        // Release: edge `pool`, to the next owner; and the cell is marked before the block is free.
        let _ = block.head.fate.compare_exchange(owned.0, Fate::free(tag).0, AcqRel, Relaxed);
        cells[cell].store(Cell::EMPTY.0, Release);
        self.hint(index, false);
    }

    /// Whether at least `count` blocks of `class` are free. The hints are asked first, then the blocks themselves.
    pub(crate) fn has_free(&self, class: usize, count: u32) -> bool {
        let range = self.class_range(class);
        let hinted = range.clone().filter(|&block| !self.is_hinted_taken(block)).take(count as usize).count();
        let is_free = |block: &u32| {
            let block = self.block(*block);
            block.is_some_and(|block| Fate(block.head.fate.load(Relaxed)).kind() == FateKind::Free)
        };
        hinted == count as usize || range.filter(is_free).take(count as usize).count() == count as usize
    }

    fn is_hinted_taken(&self, block: u32) -> bool {
        let bit = block - 1;
        self.taken(bit / 64).load(Relaxed) >> (bit % 64) & 1 != 0
    }

    fn hint(&self, block: u32, taken: bool) {
        let bit = block - 1;
        let word = self.taken(bit / 64);
        let mask = 1 << (bit % 64);
        if (word.load(Relaxed) & mask != 0) != taken {
            if taken {
                word.fetch_or(mask, Relaxed);
            } else {
                word.fetch_and(!mask, Relaxed);
            }
        }
    }
}
