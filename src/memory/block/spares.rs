//! The blocks that a lane keeps for its next changes.
//!
//! Every block is, at every moment, in exactly one place: under one head, in one spare of one lane, or free. A change is
//! written to a block from a spare, and the block it displaces comes back into that spare; so a lane in use seldom goes
//! to the pool.

use super::arena::Arena;
use super::staged::Staged;
use crate::memory::layout::sections::UPDATE_SPARES;
use crate::memory::sync::backoff::Backoff;
use crate::memory::sync::error::ProtocolError;

/// A lane this thread has taken. What it keeps is mirrored here: what the segment says of *our* spares is never trusted.
pub(crate) struct LaneHandle {
    pub(crate) index: u32,
    /// The block in each spare; 0: none. Those of commits are in `staged`.
    pub(crate) spares: [u32; UPDATE_SPARES],
    /// The class of each of those blocks.
    pub(crate) classes: [u8; UPDATE_SPARES],
    /// The newest revision this handle drew or saw, to notice the end of the clock without touching its line.
    pub(crate) newest: u64,
    /// The commit over several records that is being put together, and the blocks kept for the next.
    pub(crate) staged: Staged,
    /// The word of the reader gate that this lane has waited at for long enough.
    pub(crate) expired_gate: u64,
    pub(crate) backoff: Backoff,
}

impl LaneHandle {
    /// Makes sure that the lane keeps one block of the smallest class.
    pub(crate) fn stock(&mut self, arena: &Arena) -> Result<(), ProtocolError> {
        self.spare_for(arena, 0).map(|_| ())
    }

    /// Puts a displaced block into the mirror of `spare`, and gives it back to the pool if the lane has one of its class.
    #[inline(always)]
    pub(crate) fn keep(&mut self, arena: &Arena, spare: usize, displaced: u32) {
        self.spares[spare] = displaced;
        if displaced == 0 || arena.classes() == 1 {
            return;
        }
        let class = arena.class_of(displaced).unwrap_or(usize::MAX) as u8;
        if usize::from(class) >= arena.classes() {
            // Damage: a node under the head of a record that has no nodes.
            arena.give(self.index, spare, displaced);
            self.spares[spare] = 0;
            return;
        }
        if class != self.classes[spare] {
            self.classes[spare] = class;
            self.give_back_all_but(arena, spare);
        }
    }

    /// Gives back every other spare of the class in `spare`.
    #[cold]
    pub(crate) fn give_back_all_but(&mut self, arena: &Arena, spare: usize) {
        for other in 0..UPDATE_SPARES {
            if other != spare && self.spares[other] != 0 && self.classes[other] == self.classes[spare] {
                arena.give(self.index, other, self.spares[other]);
                self.spares[other] = 0;
            }
        }
    }

    /// A spare with a block that holds `length` bytes; takes one from the pool if there is none.
    #[inline(always)]
    pub(crate) fn spare_for(&mut self, arena: &Arena, length: usize) -> Result<usize, ProtocolError> {
        let wanted = arena.class_for(length).ok_or_else(|| arena.no_block(length))?;
        if self.spares[0] != 0 && usize::from(self.classes[0]) == wanted {
            return Ok(0);
        }
        self.another_spare_for(arena, length, wanted)
    }

    #[cold]
    fn another_spare_for(&mut self, arena: &Arena, length: usize, wanted: usize) -> Result<usize, ProtocolError> {
        if let Some(spare) = self.kept(wanted) {
            return Ok(spare);
        }
        let empty = self.empty_spare();
        for class in wanted..arena.classes() {
            if let Some(spare) = self.kept(class) {
                return Ok(spare);
            }
            if self.take(arena, empty, class) {
                return Ok(empty);
            }
        }
        Err(arena.no_block(length))
    }

    /// A spare with a block from the pool for a record that has none: the lane's spare stays, or the lane could not
    /// change anything once the pool is empty.
    #[cold]
    pub(crate) fn spare_for_new(&mut self, arena: &Arena, length: usize) -> Result<usize, ProtocolError> {
        let wanted = arena.class_for(length).ok_or_else(|| arena.no_block(length))?;
        let empty = self.empty_spare();
        let taken = (wanted..arena.classes()).any(|class| self.take(arena, empty, class));
        taken.then_some(empty).ok_or_else(|| arena.no_block(length))
    }

    fn take(&mut self, arena: &Arena, spare: usize, class: usize) -> bool {
        let Some(block) = arena.take(self.index, spare, class) else { return false };
        self.spares[spare] = block;
        self.classes[spare] = class as u8;
        true
    }

    fn kept(&self, class: usize) -> Option<usize> {
        (0..UPDATE_SPARES).find(|&spare| self.spares[spare] != 0 && usize::from(self.classes[spare]) == class)
    }

    /// There is one: the lane keeps at most one spare a class, and has a spare more than there are classes.
    fn empty_spare(&self) -> usize {
        (0..UPDATE_SPARES).find(|&spare| self.spares[spare] == 0).expect("one spare more than classes")
    }
}

impl Arena {
    /// Why there is no block for `length` bytes: all that are large enough are in use, or no class is.
    #[cold]
    pub(crate) fn no_block(&self, length: usize) -> ProtocolError {
        if let Some(class) = self.class_for(length) {
            let limit = self.blocks() + 1 - self.class_range(class).start;
            return ProtocolError::NoBlock { length, limit: limit.into() };
        }
        let largest = self.block(self.class_range(self.classes() - 1).start);
        ProtocolError::TooLarge { length, limit: largest.map_or(0, |block| block.capacity()) }
    }
}
