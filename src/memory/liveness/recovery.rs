//! Recovering a lane whose owner is dead, so that each block is in one place again.

use crate::memory::block::arena::Arena;
use crate::memory::block::spares::LaneHandle;
use crate::memory::block::staged::Staged;
use crate::memory::layout::sections::{Lane, SPARES, UPDATE_SPARES};
use crate::memory::layout::word::{BlockState, BlockStateKind, JournalWord, Spare};
#[cfg(not(loom))]
use crate::memory::layout::word::{OwnerWord, RowWord};
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed, Release};
use crate::memory::sync::backoff::Backoff;
use crate::memory::sync::error::ProtocolError;

/// What [`Segment::reap`](crate::Segment::reap) recovered.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Dead participants.
    pub participants: u32,
    /// Their lanes.
    pub lanes: u32,
    /// Changes they had published or were about to, completed.
    pub finished: u32,
}

#[cfg(not(loom))]
impl Arena {
    /// Recovers all lanes of participant `row` and frees the row. The caller holds its recovery lock or is detaching.
    ///
    /// Repeatable from the start at any point. A lane whose journal is damaged is freed as it is: it keeps its blocks, and
    /// the next thread that takes it gets the error.
    pub(crate) fn recover_row(&self, row: u32) -> Reaped {
        let word = &self.row(row).word;
        let mut recovered = Reaped { participants: 1, ..Reaped::default() };
        for index in 0..self.lanes() {
            let lane = self.lane(index).expect("a lane of the table");
            let owner = OwnerWord(lane.owner.load(Acquire));
            if owner == OwnerWord::NOBODY || owner.row() != row {
                continue;
            }
            recovered.finished += u32::from(self.settle(index).unwrap_or(false));
            // Release: edge `lane`, to the next owner.
            lane.owner.store(OwnerWord::NOBODY.0, Release);
            recovered.lanes += 1;
        }
        word.store(RowWord(word.load(Relaxed)).detach().0, Release);
        recovered
    }
}

impl LaneHandle {
    /// Takes over what the lane's last owner left: settles its journal and reads its spares.
    ///
    /// The caller owns the lane by its owner word, or holds the lock of the dead row that does.
    pub(crate) fn inherit(arena: &Arena, index: u32) -> Result<Self, ProtocolError> {
        arena.settle(index)?;
        let lane = arena.lane(index).expect("a lane this process took");
        let mut handle = Self {
            index,
            spares: [0; UPDATE_SPARES],
            classes: [0; UPDATE_SPARES],
            newest: arena.clock().load(Relaxed),
            staged: Staged::new(arena),
            expired_gate: 0,
            backoff: Backoff::new(index),
        };
        for spare in 0..UPDATE_SPARES {
            let block = Spare(lane.spares[spare].load(Relaxed)).block();
            // No single change ever had a node in its hands.
            if let Some(class) = arena.class_of(block).filter(|class| *class < arena.classes()) {
                handle.spares[spare] = block;
                handle.classes[spare] = class as u8;
            }
        }
        handle.staged.inherit(arena, index);
        handle.staged.give_back(arena, index);
        // An owner killed between keeping a displaced block and giving back its twin leaves both.
        for spare in (0..UPDATE_SPARES).rev() {
            if handle.spares[spare] != 0 {
                handle.give_back_all_but(arena, spare);
            }
        }
        Ok(handle)
    }
}

impl Arena {
    /// Settles what a dead or departed owner left in a lane, so that each block is in one place again.
    ///
    /// Every step may be repeated: a recoverer that is killed here is followed by another that starts over. Blocks in
    /// spares stay there and are inherited with the lane. The caller holds the right to the lane, alone.
    pub(crate) fn settle(&self, index: u32) -> Result<bool, ProtocolError> {
        let lane = self.lane(index).expect("a lane the caller has the right to");
        let journal = JournalWord(lane.journal.load(Acquire));
        let mut finished = self.settle_commit(index)?.unwrap_or(false);
        if journal.is_set() {
            if let Some(displaced) = self.complete_update(index, journal)? {
                lane.spares[journal.spare()].store(Spare::keeping(displaced).0, Relaxed);
                finished = true;
            }
            lane.journal.store(JournalWord::NONE.0, Release);
        }
        for spare in 0..SPARES {
            self.settle_spare(index, lane, spare);
        }
        // What a commit had gathered goes back: a lane may lie idle for long, and a commit has many.
        for spare in UPDATE_SPARES..SPARES {
            let block = Spare(lane.spares[spare].load(Relaxed)).block();
            if block != 0 {
                self.give(index, spare, block);
            }
        }
        Ok(finished)
    }

    /// An unsettled spare holds its block exactly if the block's state says so.
    fn settle_spare(&self, index: u32, lane: &Lane, spare: usize) {
        let word = Spare(lane.spares[spare].load(Relaxed));
        if !word.is_unsettled() {
            return;
        }
        let ours = self.block(word.block()).is_some_and(
            |block| matches!(BlockState(block.head.state.load(Acquire)).kind(), BlockStateKind::Owned { lane } if lane == index),
        );
        let settled = if ours { Spare::keeping(word.block()) } else { Spare::EMPTY };
        lane.spares[spare].store(settled.0, Release);
    }
}
