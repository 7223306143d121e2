//! Replacing a record's value: fill a block, swap the head, number the change.
//!
//! Only the winner of the swap takes the displaced block, by writing it into the spare the new block came from; the journal
//! says which swap was under way, so that the recovery of a dead lane can tell won from lost.

use super::read::Observed;
use crate::edge::edge;
use crate::memory::block::arena::Arena;
use crate::memory::block::meta::{Block, Next};
use crate::memory::block::spares::LaneHandle;
use crate::memory::layout::sections::Lane;
use crate::memory::layout::word::{BlockState, JournalWord, Spare};
use crate::memory::sync::atomics::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::memory::sync::error::ProtocolError;

/// Revisions end here; beyond, the clock would soon run into the words that are not revisions.
const LAST_REVISION: u64 = 1 << 62;

/// What came of one attempt to publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Published {
    /// The change is in, with this revision.
    Won(u64),
    /// Somebody else changed the record first; nothing happened.
    Lost,
}

impl LaneHandle {
    /// Publishes `next` and `value` as the record's next block, in place of what was `seen`, and numbers it.
    ///
    /// Lock-free: three locked operations, one of them on the clock. The block comes from one of the lane's spares, from
    /// the pool if none fits. `next.fingerprint` must be that of `value`.
    #[inline(always)]
    pub(crate) fn publish(
        &mut self,
        arena: &Arena,
        seen: &Observed,
        next: &Next<'_>,
        value: &[u8],
    ) -> Result<Published, ProtocolError> {
        self.check_the_clock(seen)?;
        self.yield_to_reader(arena);
        let spare = match seen.head.block() {
            0 => self.spare_for_new(arena, value.len())?,
            _ => self.spare_for(arena, value.len())?,
        };
        let lane = arena.lane(self.index).expect("a lane this process took");
        let index = self.spares[spare];
        let block = arena.block(index).expect("a block this lane keeps");

        let owned = BlockState::owned(self.index, BlockState(block.head.state.load(Relaxed)).tag());
        lane.number.store(owned.0, Relaxed);
        block.begin_life(owned);
        block.fill(next, value);

        lane.expected.store(seen.head.0, Relaxed);
        // Release: a journal that is seen set is seen whole. A kill keeps the program's order of stores, which this
        // also forbids the compiler to change.
        lane.journal.store(JournalWord::publishing(next.record, spare).0, Release);
        let slot = arena.record(next.record);
        let head = seen.head.next(index);
        if slot.head.compare_exchange(seen.head.0, head.0, edge("publish.release", SeqCst), Relaxed).is_err() {
            return Ok(self.lost(arena, lane, seen, spare));
        }
        let revision = self.number(arena, lane, next, block, owned);
        let displaced = seen.head.block();
        lane.spares[spare].store(Spare::keeping(displaced).0, Relaxed);
        // Release: the displaced block is in the spare before the journal forgets where it came from.
        lane.journal.store(JournalWord::NONE.0, Release);
        // Only the owner writes its counters, so counting is not a locked operation.
        lane.updates.store(lane.updates.load(Relaxed).wrapping_add(1), Relaxed);
        self.keep(arena, spare, displaced);
        Ok(Published::Won(revision?))
    }

    /// Refuses to go past the end of the clock.
    #[inline(always)]
    pub(crate) fn check_the_clock(&self, seen: &Observed) -> Result<(), ProtocolError> {
        // A version ends where revisions do: there are no more changes than revisions.
        if self.newest.max(seen.revision).max(seen.meta.version) >= LAST_REVISION {
            return Err(ProtocolError::ClockEnded { limit: LAST_REVISION });
        }
        Ok(())
    }

    /// Models have no readers that ask for it.
    #[cfg(loom)]
    #[inline(always)]
    pub(crate) fn yield_to_reader(&mut self, _arena: &Arena) {}

    /// Counts a lost race and waits a moment that grows with the races lost in a row.
    #[cold]
    pub(crate) fn back_off(&mut self, arena: &Arena) {
        let conflicts = &arena.lane(self.index).expect("a lane this process took").conflicts;
        conflicts.store(conflicts.load(Relaxed).wrapping_add(1), Relaxed);
        self.backoff.wait();
    }

    /// Takes back a change that somebody else's was faster than.
    #[cold]
    fn lost(&mut self, arena: &Arena, lane: &Lane, seen: &Observed, spare: usize) -> Published {
        lane.journal.store(JournalWord::NONE.0, Release);
        if seen.head.block() == 0 {
            // Taken for a record that has come into being meanwhile.
            arena.give(self.index, spare, self.spares[spare]);
            self.spares[spare] = 0;
        }
        Published::Lost
    }

    /// Gives the change just published its number, unless a helper already did, and wakes the waiters.
    #[inline(always)]
    fn number(
        &mut self,
        arena: &Arena,
        lane: &Lane,
        next: &Next<'_>,
        block: Block<'_>,
        owned: BlockState,
    ) -> Result<u64, ProtocolError> {
        let bits = if next.modified != 0 { 0 } else { arena.mark(next.record) };
        let drawn = arena.clock().fetch_add(1, edge("clock", AcqRel)).wrapping_add(1);
        let state = &block.head.state;
        // Acquire on failure, edge `number`: if a helper was first, the number that it left in the journal is seen.
        let (stamp, beaten) = (edge("number.release", AcqRel), edge("number.beaten", Acquire));
        let revision = match state.compare_exchange(owned.0, drawn, stamp, beaten) {
            Ok(_) => drawn,
            // Not from the state: the block may already have been displaced and live again elsewhere.
            Err(_) => {
                let number = lane.number.load(edge("number.word", Acquire));
                BlockState(number).revision().ok_or(ProtocolError::Corrupt {
                    what: "a change that was numbered with something else",
                    place: next.record.into(),
                    found: number,
                })?
            }
        };
        self.newest = revision;
        arena.wake_waiters(next.record, bits, next.claim.is_none());
        Ok(revision)
    }
}
