//! The pool of free blocks: allocating one into a spare of a lane, and freeing it, so that a kill at any instruction leaks
//! none.
//!
//! The state word decides, the spare only says where to look: it is written *before* the state changes, marked unsettled,
//! and plain again afterwards. A bitmap says where a free block may be; it is a hint and may be wrong in both
//! directions, so before "none is left" the states themselves are searched.

use std::ops::Range;

use super::arena::Arena;
use crate::memory::layout::word::{BlockState, BlockStateKind, Spare};
use crate::memory::sync::atomics::Ordering::{AcqRel, Acquire, Relaxed, Release};

impl Arena {
    /// Takes a free block of `class` into the empty `spare` of `lane`; `None` if all are in use.
    pub(crate) fn take(&self, lane: u32, spare: usize, class: usize) -> Option<u32> {
        let range = self.class_range(class);
        if range.is_empty() {
            return None;
        }
        // Where one was found or given back last; lanes begin at different bits there, so that they seldom try the same.
        let near = self.cursor(class).clamp(range.start, range.end - 1);
        let found = self.hinted_free(&range, near).find_map(|(first, free)| {
            let mut left = free.rotate_right(lane % 64);
            while left != 0 {
                let block = first + (left.trailing_zeros() + lane) % 64;
                if self.try_take(lane, spare, block) {
                    return Some(block);
                }
                left &= left - 1;
            }
            None
        });
        let found = found.or_else(|| range.clone().find(|&block| self.try_take(lane, spare, block)));
        found.inspect(|block| self.set_cursor(class, *block))
    }

    /// The words of the hint for these blocks, from that of `near` on and round: the block of the first bit, and a bit for
    /// each block of the range that is believed free.
    fn hinted_free(&self, range: &Range<u32>, near: u32) -> impl Iterator<Item = (u32, u64)> {
        let (first, last) = (range.start - 1, range.end - 2);
        let (low, high) = (first / 64, last / 64);
        let words = high - low + 1;
        let start = (near - 1) / 64 - low;
        (0..words).map(move |i| {
            let word = low + (start + i) % words;
            let mut mask = u64::MAX;
            if word == low {
                mask &= u64::MAX << (first % 64);
            }
            if word == high {
                mask &= u64::MAX >> (63 - last % 64);
            }
            (word * 64 + 1, !self.taken(word).load(Relaxed) & mask)
        })
    }

    fn try_take(&self, lane: u32, spare: usize, candidate: u32) -> bool {
        let Some(block) = self.block(candidate) else {
            return false;
        };
        let state = BlockState(block.head.state.load(Acquire));
        if state.kind() != BlockStateKind::Free {
            self.hint(candidate, true);
            return false;
        }
        let spares = &self.lane(lane).expect("a lane this process took").spares;
        spares[spare].store(Spare::unsettled(candidate).0, Release);
        let owned = BlockState::owned(lane, state.tag());
        // Release: the spare is marked before the block is ours. Acquire: edge `pool`, the last owner is done with it.
        let taken = block.head.state.compare_exchange(state.0, owned.0, AcqRel, Relaxed).is_ok();
        let settled = if taken { Spare::keeping(candidate) } else { Spare::EMPTY };
        spares[spare].store(settled.0, Release);
        if taken {
            self.hint(candidate, true);
        }
        taken
    }

    /// Gives the block in `spare` of `lane` back.
    pub(crate) fn give(&self, lane: u32, spare: usize, index: u32) {
        let Some(block) = self.block(index) else {
            return;
        };
        let spares = &self.lane(lane).expect("a lane this process took").spares;
        // A displaced block still bears its revision, and only an owned word says whose the block is.
        let tag = BlockState(block.head.state.load(Relaxed)).tag();
        let owned = BlockState::owned(lane, tag);
        block.head.state.store(owned.0, Release);
        spares[spare].store(Spare::unsettled(index).0, Release);
        // Release: edge `pool`, to the next owner; and the spare is marked before the block is free.
        let _ = block.head.state.compare_exchange(owned.0, BlockState::free(tag).0, AcqRel, Relaxed);
        spares[spare].store(Spare::EMPTY.0, Release);
        self.hint(index, false);
        if let Some(class) = self.class_of(index) {
            self.set_cursor(class, index);
        }
    }

    /// Whether at least `count` blocks of `class` are free. The hints are asked first, then the blocks themselves.
    pub(crate) fn has_free(&self, class: usize, count: u32) -> bool {
        let range = self.class_range(class);
        if range.is_empty() {
            return count == 0;
        }
        let near = self.cursor(class).clamp(range.start, range.end - 1);
        let mut hinted = 0;
        if self.hinted_free(&range, near).any(|(_, free)| {
            hinted += free.count_ones();
            hinted >= count
        }) {
            return true;
        }
        let is_free = |block: &u32| {
            let block = self.block(*block);
            block.is_some_and(|block| BlockState(block.head.state.load(Relaxed)).kind() == BlockStateKind::Free)
        };
        range.filter(is_free).take(count as usize).count() == count as usize
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
