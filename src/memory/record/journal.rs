//! Completes another thread's update: of an author that is slow, stopped or dead.
//!
//! A change is *published* by the swap of the head, then *numbered* from the clock, and nobody returns it or builds on it
//! before it is numbered (P6). A thread that meets a published block without a number gives it one; the first wins. The
//! author's journal names the swap it was about to make, so that a helper or recoverer can tell won from lost.

use crate::edge::edge;
use crate::memory::block::arena::Arena;
use crate::memory::layout::sections::UPDATE_SPARES;
use crate::memory::layout::word::{BlockState, BlockStateKind, Head, JournalWord, Spare};
use crate::memory::sync::atomics::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use crate::memory::sync::error::ProtocolError;

impl Arena {
    /// Completes the update in a lane's journal if its swap took place: numbers and announces it. Answers the block that it
    /// displaced, which is then to be the lane's; `None` if nothing has happened.
    ///
    /// May be repeated from any point. The author may still run: then the answer may be wrong, and nothing else.
    pub(crate) fn complete_update(&self, index: u32, journal: JournalWord) -> Result<Option<u32>, ProtocolError> {
        let lane = self.lane(index).expect("a lane of the table");
        let (record, spare) = (journal.record(), journal.spare());
        let expected = Head(lane.expected.load(Relaxed));
        let damaged = |found| ProtocolError::Corrupt { what: "a lane's journal", place: index.into(), found };
        if record >= self.records() || spare >= UPDATE_SPARES || expected.is_reference() {
            return Err(damaged(journal.0));
        }
        let new = Spare(lane.spares[spare].load(Relaxed)).block();
        // With the displaced block in the spare already, all but the journal and perhaps the wake was done.
        if new != expected.block() {
            let block = self.block(new).ok_or(damaged(new.into()))?;
            // The head before the state: if the swap was won and the block displaced since, it was numbered before that.
            let head = Head(self.record(record).head.load(SeqCst));
            let state = BlockState(block.head.state.load(Acquire));
            let is_there = head == expected.next(new);
            if is_there {
                self.number_for(record, head, state)?;
            } else if state.is_owned_by(index) {
                return Ok(None);
            }
        }
        self.notify(record);
        Ok(Some(expected.block()))
    }

    /// Numbers the change under `head` for an author that has not, and wakes its waiters. The caller reads again.
    #[cold]
    pub(crate) fn number_for(&self, record: u32, head: Head, owned: BlockState) -> Result<(), ProtocolError> {
        let BlockStateKind::Owned { lane } = owned.kind() else {
            return Ok(());
        };
        let Some(block) = self.block(head.block()) else {
            return Ok(());
        };
        // A thread that acquired an owned word of the block's *next* life also sees that the block has left this head.
        if self.record(record).head.load(edge("sleep.look", SeqCst)) != head.0 {
            return Ok(());
        }
        let lane = self.lane(lane).ok_or(ProtocolError::Corrupt {
            what: "a change by a lane that is not there",
            place: record.into(),
            found: owned.0,
        })?;
        let claim_only = block.head.modified.load(Relaxed) != 0;
        let bits = if claim_only { 0 } else { self.mark(record) };
        let drawn = self.clock().fetch_add(1, edge("clock", AcqRel)).wrapping_add(1);
        // The author that finds its block numbered by somebody else learns the number here, since by then the block
        // may already live again elsewhere.
        let number = match lane.number.compare_exchange(owned.0, drawn, AcqRel, edge("number.word", Acquire)) {
            Ok(_) => drawn,
            Err(found) => match BlockState(found).revision() {
                Some(number) => number,
                // The author has gone on to another change: this one has its number, in the state.
                None => return Ok(()),
            },
        };
        let stamped =
            block.head.state.compare_exchange(owned.0, number, edge("number.release", AcqRel), Relaxed).is_ok();
        if stamped {
            self.counters().helped.fetch_add(1, Relaxed);
        }
        self.wake_waiters(record, bits, true);
        Ok(())
    }
}
