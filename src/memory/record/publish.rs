//! A thread's own blocks and journal, and how a change gets published from them.
//!
//! Every block is, at every moment, in exactly one place: under one head, in one spare of one lane, or free. Only the
//! winner of the swap takes the displaced block, by writing it into the spare the new block came from; the journal says
//! which swap was under way, so that whoever recovers a dead lane can tell won from lost.

use super::read::Observed;
use crate::memory::block::arena::Arena;
use crate::memory::block::arena::Block;
use crate::memory::block::meta::Next;
use crate::memory::commit::builder::Staged;
use crate::memory::layout::sections::{Lane, SPARES, UPDATE_SPARES};
use crate::memory::layout::word::{BlockState, BlockStateKind, Head, JournalWord, Spare};
use crate::memory::sync::atomics::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::memory::sync::atomics::fence;
use crate::memory::sync::error::ProtocolError;
use crate::mutant::{edge, planted};

/// Revisions end here; beyond, the clock would soon run into the words that are not revisions.
pub(crate) const LAST_REVISION: u64 = 1 << 62;

/// A lane this thread has taken. What it keeps is mirrored here: what the segment says of *our* spares is never trusted.
pub(crate) struct LaneHandle {
    pub(crate) index: u32,
    /// The block in each spare; 0: none. Only the spares are used by single changes.
    spares: [u32; UPDATE_SPARES],
    /// The class of each of those blocks.
    classes: [u8; UPDATE_SPARES],
    /// The newest revision this handle drew or saw, to notice the end of the clock without touching its line.
    pub(crate) newest: u64,
    /// The commit over several records that is being put together, and the blocks kept for the next.
    pub(crate) staged: Staged,
    /// The announcement that was given way to for long enough.
    pub(crate) ignored: u64,
    /// Races lost in a row, and a number that differs between lanes, for backing off.
    pub(crate) losses: u32,
    pub(crate) random: u32,
}

/// What came of one attempt to publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Published {
    /// The change is in, with this revision.
    Won(u64),
    /// Somebody else changed the record first; nothing happened.
    Lost,
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
            ignored: 0,
            losses: 0,
            random: index.wrapping_mul(0x9e37_79b9) | 1,
        };
        for spare in 0..UPDATE_SPARES {
            let block = Spare(lane.spares[spare].load(Relaxed)).block();
            // No single change ever had a node in its hands.
            if let Some(class) = arena.class_of(block).filter(|class| *class < arena.classes()) {
                handle.spares[spare] = block;
                handle.classes[spare] = class as u8;
            }
        }
        handle.inherit_staged(arena);
        // An owner killed between keeping a displaced block and giving back its twin leaves both.
        for spare in (0..UPDATE_SPARES).rev() {
            if handle.spares[spare] != 0 {
                handle.give_back_all_but(arena, spare);
            }
        }
        Ok(handle)
    }

    /// Makes sure that the lane keeps one block of the smallest class.
    pub(crate) fn stock(&mut self, arena: &Arena) -> Result<(), ProtocolError> {
        self.spare_for(arena, 0).map(|_| ())
    }

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
        self.give_way(arena);
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
        let journal = if planted("publish without the journal") {
            JournalWord::NONE
        } else {
            JournalWord::publishing(next.record, spare)
        };
        lane.journal.store(journal.0, Release);
        let slot = arena.record(next.record);
        let head = seen.head.next(index);
        if planted("load and store for the swap") {
            if slot.head.load(SeqCst) != seen.head.0 {
                return Ok(self.lost(arena, lane, seen, spare));
            }
            // Another thread's turn, here of all places.
            #[cfg(not(loom))]
            std::thread::yield_now();
            crate::memory::sync::atomics::pause();
            slot.head.store(head.0, SeqCst);
        } else if slot.head.compare_exchange(seen.head.0, head.0, edge("publish.release", SeqCst), Relaxed).is_err() {
            return Ok(self.lost(arena, lane, seen, spare));
        }
        let revision = self.number(arena, lane, next, block, owned);
        let displaced = seen.head.block();
        if planted("clear the journal before the cell") {
            lane.journal.store(JournalWord::NONE.0, Release);
        }
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
        if self.newest.max(seen.revision).max(seen.meta.version) >= LAST_REVISION && !planted("count for ever") {
            return Err(ProtocolError::NoBlock { length: usize::MAX });
        }
        Ok(())
    }

    /// Models have no readers that ask for it.
    #[cfg(loom)]
    #[inline(always)]
    pub(crate) fn give_way(&mut self, _arena: &Arena) {}

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

    /// Gives the change just published its number, unless somebody else already did, and wakes who waits.
    #[inline(always)]
    fn number(
        &mut self,
        arena: &Arena,
        lane: &Lane,
        next: &Next<'_>,
        block: Block<'_>,
        owned: BlockState,
    ) -> Result<u64, ProtocolError> {
        let bits = if next.modified != 0 || planted("mark after the number") { 0 } else { arena.mark(next.record) };
        let drawn = arena.clock().fetch_add(1, edge("clock", AcqRel)).wrapping_add(1);
        let state = &block.head.state;
        // Acquire on failure, edge `number`: who sees that a helper was first also sees the number it left in the journal.
        let (stamp, beaten) = (edge("number.release", AcqRel), edge("number.beaten", Acquire));
        let revision = match state.compare_exchange(owned.0, drawn, stamp, beaten) {
            Ok(_) => drawn,
            // Not from the state: the block may already have been displaced and live again elsewhere.
            Err(_) => {
                let told = if planted("the author asks the fate") { state } else { &lane.number };
                let number = told.load(edge("number.word", Acquire));
                BlockState(number).revision().ok_or(ProtocolError::Corrupt {
                    what: "a change that was numbered with something else",
                    place: next.record.into(),
                    found: number,
                })?
            }
        };
        self.newest = revision;
        if planted("mark after the number") && next.modified == 0 {
            arena.mark(next.record);
        }
        if !planted("forget the wake") {
            arena.wake(next.record);
        }
        if next.claim.is_none() {
            arena.wake_next(next.record);
        }
        arena.wake_watchers(bits);
        Ok(revision)
    }

    /// Puts a displaced block into the mirror of `spare`, and gives it back to the pool if the lane has one of its class.
    #[inline(always)]
    fn keep(&mut self, arena: &Arena, spare: usize, displaced: u32) {
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
    fn give_back_all_but(&mut self, arena: &Arena, spare: usize) {
        for other in 0..UPDATE_SPARES {
            if other != spare && self.spares[other] != 0 && self.classes[other] == self.classes[spare] {
                arena.give(self.index, other, self.spares[other]);
                self.spares[other] = 0;
            }
        }
    }

    /// A spare with a block that holds `length` bytes; takes one from the pool if there is none.
    #[inline(always)]
    fn spare_for(&mut self, arena: &Arena, length: usize) -> Result<usize, ProtocolError> {
        let wanted = arena.class_for(length).ok_or(ProtocolError::NoBlock { length })?;
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
        Err(ProtocolError::NoBlock { length })
    }

    /// A spare with a block from the pool for a record that has none: the lane's spare stays, or the lane could not
    /// change anything once the pool is empty.
    #[cold]
    fn spare_for_new(&mut self, arena: &Arena, length: usize) -> Result<usize, ProtocolError> {
        let wanted = arena.class_for(length).ok_or(ProtocolError::NoBlock { length })?;
        let empty = self.empty_spare();
        let taken = (wanted..arena.classes()).any(|class| self.take(arena, empty, class));
        taken.then_some(empty).ok_or(ProtocolError::NoBlock { length })
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

impl Block<'_> {
    /// Makes the block the lane's to fill: `owned` is its word from now on.
    #[inline(always)]
    pub(crate) fn begin_life(&self, owned: BlockState) {
        // Release: edge `leave`. Whoever meets this word also sees that the block has left its last head.
        self.head.state.store(owned.0, edge("leave.release", Release));
        // Edge `recycle`: a reader that copies any word written below sees the state changed afterwards.
        if !planted("recycle.release") {
            fence(Release);
        }
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
            if planted("recovery clears the journal first") {
                lane.journal.store(JournalWord::NONE.0, Release);
            }
            finished = !planted("recovery forgets the journal") && self.settle_update(index, lane, journal)?;
            lane.journal.store(JournalWord::NONE.0, Release);
        }
        for spare in 0..SPARES {
            self.settle_spare(index, lane, spare);
        }
        // What a commit had gathered goes back: a lane may lie idle for long, and a commit has many.
        for spare in UPDATE_SPARES..SPARES {
            let block = Spare(lane.spares[spare].load(Relaxed)).block();
            if block != 0 && !planted("recovery keeps what a commit gathered") {
                self.give(index, spare, block);
            }
        }
        Ok(finished)
    }

    /// Finds out whether the journalled swap took place and completes it if so; answers whether it did.
    fn settle_update(&self, index: u32, lane: &Lane, journal: JournalWord) -> Result<bool, ProtocolError> {
        let (record, spare) = (journal.record(), journal.spare());
        let expected = Head(lane.expected.load(Relaxed));
        let damaged = |found| ProtocolError::Corrupt { what: "a lane's journal", place: index.into(), found };
        if record >= self.records() || spare >= UPDATE_SPARES || expected.is_reference() {
            return Err(damaged(journal.0));
        }
        let new = Spare(lane.spares[spare].load(Relaxed)).block();
        if new == expected.block() {
            // The displaced block is in the spare already: all but the journal and perhaps the wake was done.
            self.wake(record);
            self.wake_next(record);
            return Ok(true);
        }
        let block = self.block(new).ok_or(damaged(new.into()))?;
        // The head before the state: if the swap was won and the block displaced since, it was numbered before that.
        let head = Head(self.record(record).head.load(SeqCst));
        let state = BlockState(block.head.state.load(Acquire));
        let won = if head == expected.next(new) && !planted("recovery forgets the head") {
            if state.is_owned_by(index) {
                self.finish_for(record, head, state)?;
            }
            true
        } else {
            !state.is_owned_by(index)
        };
        if won {
            lane.spares[spare].store(Spare::keeping(expected.block()).0, Relaxed);
            let bits = self.mark(record);
            self.wake(record);
            self.wake_next(record);
            self.wake_watchers(bits);
        }
        Ok(won)
    }

    /// An unsettled spare holds its block exactly if the block's state says so.
    fn settle_spare(&self, index: u32, lane: &Lane, spare: usize) {
        let word = Spare(lane.spares[spare].load(Relaxed));
        if !word.is_unsettled() || planted("recovery leaves cells unsettled") {
            return;
        }
        let ours = self.block(word.block()).is_some_and(
            |block| matches!(BlockState(block.head.state.load(Acquire)).kind(), BlockStateKind::Owned { lane } if lane == index),
        );
        let settled = if ours { Spare::keeping(word.block()) } else { Spare::EMPTY };
        lane.spares[spare].store(settled.0, Release);
    }
}
