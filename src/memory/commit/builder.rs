//! The author's side of a commit over several records: stage changes and checks, then commit them.
//!
//! Staging fills new blocks in spares of the lane ([`staged`](crate::memory::block::staged)); committing writes the entries
//! into the lane's descriptor and drives it to its end as any helper does ([`descriptor`](super::descriptor)).

use std::ops::{Deref, DerefMut};

use crate::edge::edge;
use crate::memory::block::arena::Arena;
use crate::memory::block::meta::Next;
use crate::memory::block::spares::LaneHandle;
use crate::memory::layout::sections::{NODE_CLASS, UPDATE_SPARES};
use crate::memory::layout::word::{BlockState, CommitPhase, Control, EntryWords, Head, Plan, RevisionWord, Spare};
use crate::memory::record::publish::Published;
use crate::memory::record::read::Observed;
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed, Release};
use crate::memory::sync::atomics::fence;
use crate::memory::sync::error::ProtocolError;

/// A commit being put together. When it is dropped, committed or not, the lane gives back the blocks it may not keep.
///
/// It stands for its lane wherever one is asked for.
pub(crate) struct CommitBuilder<'a> {
    arena: &'a Arena,
    lane: &'a mut LaneHandle,
}

impl Deref for CommitBuilder<'_> {
    type Target = LaneHandle;

    fn deref(&self) -> &LaneHandle {
        self.lane
    }
}

impl DerefMut for CommitBuilder<'_> {
    fn deref_mut(&mut self) -> &mut LaneHandle {
        self.lane
    }
}

impl Drop for CommitBuilder<'_> {
    fn drop(&mut self) {
        self.lane.end_commit(self.arena);
    }
}

impl LaneHandle {
    /// Begins to put a commit together: to be staged and committed through the builder, any number of times.
    pub(crate) fn build_commit<'a>(&'a mut self, arena: &'a Arena) -> CommitBuilder<'a> {
        self.begin_commit();
        CommitBuilder { arena, lane: self }
    }

    /// Begins another commit: drops staged changes, keeps their blocks for reuse.
    pub(crate) fn begin_commit(&mut self) {
        self.staged.clear();
    }

    /// Gives back what the lane may not keep, once a commit has come to its end or is given up.
    pub(crate) fn end_commit(&mut self, arena: &Arena) {
        self.staged.give_back(arena, self.index);
    }

    /// How many records the commit has by now.
    pub(crate) fn staged(&self) -> usize {
        self.staged.count
    }

    /// The commit depends on the record being as it was seen.
    pub(crate) fn stage_check(&mut self, record: u32, expected: Head) {
        self.staged.enter(EntryWords { plan: Plan::same(record), expected, owned: 0 });
    }

    /// The record becomes absent.
    pub(crate) fn stage_delete(&mut self, arena: &Arena, record: u32, expected: Head) {
        let at = self.staged.next_place();
        if self.staged.blocks[at] != 0 {
            self.staged.give_back_place(arena, self.index, at);
        }
        let plan = Plan::change(record, UPDATE_SPARES + at, 0);
        self.staged.enter(EntryWords { plan, expected, owned: 0 });
    }

    /// The record gets the block `next` with `value` in place of the block seen. `node`: it is a node of the directory.
    pub(crate) fn stage_put(
        &mut self,
        arena: &Arena,
        seen: &Observed,
        next: &Next<'_>,
        value: &[u8],
        node: bool,
    ) -> Result<(), ProtocolError> {
        self.check_the_clock(seen)?;
        let at = self.staged.next_place();
        if node {
            // Every record that cannot have a value is a node's.
            let lacking = || ProtocolError::NoNode { limit: (arena.records() - arena.values()).into() };
            self.staged.fill_place(arena, self.index, at, NODE_CLASS..NODE_CLASS + 1).ok_or_else(lacking)?;
        } else {
            let lacking = || arena.no_block(value.len());
            let wanted = arena.class_for(value.len()).ok_or_else(lacking)?;
            self.staged.fill_place(arena, self.index, at, wanted..arena.classes()).ok_or_else(lacking)?;
        }
        let index = self.staged.blocks[at];
        let block = arena.block(index).expect("a block this lane keeps");
        let owned = BlockState::owned(self.index, BlockState(block.head.state.load(Relaxed)).tag());
        block.begin_life(owned);
        block.fill(next, value);
        let plan = Plan::change(next.record, UPDATE_SPARES + at, index);
        self.staged.enter(EntryWords { plan, expected: seen.head, owned: owned.0 });
        Ok(())
    }

    /// Makes the staged commit take place, if every record still is as it was seen.
    ///
    /// Lock-free; the commit has ended when this returns, one way or the other.
    pub(crate) fn commit(&mut self, arena: &Arena) -> Result<Published, ProtocolError> {
        self.yield_to_reader(arena);
        if std::mem::take(&mut self.staged.doubled) {
            self.begin_commit();
            return Ok(Published::Lost);
        }
        let lane = arena.lane(self.index).expect("a lane this process took");
        let descriptor = &lane.descriptor;
        let sequence = Control(descriptor.control.load(Relaxed)).sequence().wrapping_add(1);
        // Edge `descriptor`: a helper of the last commit that reads any word written below sees the control changed.
        descriptor.control.store(Control::new(sequence, CommitPhase::Free).0, Relaxed);
        fence(Release);
        descriptor.revision.store(RevisionWord::pending(sequence).0, Relaxed);
        descriptor.count.store(self.staged.count as u64, Relaxed);
        for (words, entry) in descriptor.entries.iter().zip(&self.staged.entries[..self.staged.count]) {
            words.plan.store(entry.plan.0, Relaxed);
            words.expected.store(entry.expected.0, Relaxed);
            words.owned.store(entry.owned, Relaxed);
        }
        // Release: edge `descriptor`, a thread that sees this sequence undecided sees its entries.
        descriptor.control.store(Control::new(sequence, CommitPhase::Undecided).0, edge("undecided.release", Release));
        let reference = Head::reference(self.index, sequence);
        let driven = arena.drive_to_end(None, reference);
        let control = Control(descriptor.control.load(Acquire));
        driven?;
        let committed = match control.phase() {
            CommitPhase::Committed => true,
            CommitPhase::Failed => false,
            _ => {
                let what = "a commit that its helpers left undecided";
                return Err(ProtocolError::Corrupt { what, place: self.index.into(), found: control.0 });
            }
        };
        let revision = RevisionWord(descriptor.revision.load(Acquire)).revision();
        if committed {
            for i in 0..self.staged.count {
                let EntryWords { plan, expected, .. } = self.staged.entries[i];
                if plan.is_change() {
                    let displaced = expected.block();
                    lane.spares[plan.spare()].store(Spare::keeping(displaced).0, Relaxed);
                    let at = plan.spare() - UPDATE_SPARES;
                    self.staged.blocks[at] = displaced;
                    self.staged.classes[at] = arena.class_of(displaced).unwrap_or(0) as u8;
                }
            }
        }
        // Release: the spares are written before any of these blocks may be used again.
        descriptor.control.store(Control::new(sequence, CommitPhase::Free).0, Release);
        self.begin_commit();
        if !committed {
            return Ok(Published::Lost);
        }
        let revision = revision.ok_or(ProtocolError::Corrupt {
            what: "a commit without a revision",
            place: self.index.into(),
            found: control.0,
        })?;
        self.newest = revision;
        lane.updates.store(lane.updates.load(Relaxed).wrapping_add(1), Relaxed);
        Ok(Published::Won(revision))
    }
}
