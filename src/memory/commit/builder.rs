//! A commit over several records while its author puts it together: entries, and the blocks they are to install.
//!
//! The blocks come from spares of the lane, behind those of single changes; what a commit displaces comes back into the
//! same spares. How many a lane keeps there for its next commit is decided by the segment's shape alone: what is left of a
//! class when every record has a value and every lane its spare, shared out among the lanes. So what lanes keep never
//! makes another's change find the segment full.

use std::ops::{Deref, DerefMut, Range};

use super::descriptor::EntryWords;
use crate::memory::block::arena::Arena;
use crate::memory::block::meta::Next;
use crate::memory::layout::sections::{ENTRIES, MAX_CLASSES, NODE_CLASS, SPARES, UPDATE_SPARES};
use crate::memory::layout::word::{BlockState, CommitPhase, Control, Head, Plan, RevisionWord, Spare};
use crate::memory::record::publish::{LaneHandle, Published};
use crate::memory::record::read::Observed;
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed, Release};
use crate::memory::sync::atomics::fence;
use crate::memory::sync::error::ProtocolError;
use crate::mutant::{edge, planted};

/// Cells that commits use.
const PLACES: usize = SPARES - UPDATE_SPARES;
/// Blocks of each class that stay in the pool whatever lanes keep, so that a commit larger than usual finds some.
const LEFT_IN_POOL: u32 = 64;

/// The author's side of a commit. What it keeps is mirrored here: what the segment says of *our* spares is never trusted.
pub(crate) struct Staged {
    entries: Box<[EntryWords; ENTRIES]>,
    count: usize,
    /// A record was staged twice: the commit cannot take place as it is.
    doubled: bool,
    /// The block in each commit spare; 0: none.
    blocks: [u32; PLACES],
    classes: [u8; PLACES],
    /// Cells that the commit being put together uses: the first so many.
    used: usize,
    /// Cells past this one are empty.
    height: usize,
    /// How many blocks of each class the lane may keep.
    allowance: [u8; MAX_CLASSES + 1],
}

impl Staged {
    pub(crate) fn new(arena: &Arena) -> Self {
        let allowance = std::array::from_fn(|class| if class < arena.classes() { arena.allowance(class) } else { 0 });
        Self {
            entries: Box::new([EntryWords::default(); ENTRIES]),
            count: 0,
            doubled: false,
            blocks: [0; PLACES],
            classes: [0; PLACES],
            used: 0,
            height: 0,
            allowance,
        }
    }

    #[inline]
    fn enter(&mut self, entry: EntryWords) {
        let record = entry.plan.record();
        let mut at = self.count;
        // Mostly they come in order.
        if at > 0 && self.entries[at - 1].plan.record() >= record {
            at = self.entries[..at].partition_point(|other| other.plan.record() < record);
            // The directory changed while the commit was put together, or is damaged.
            self.doubled |= self.entries[at].plan.record() == record;
            self.entries.copy_within(at..self.count, at + 1);
        }
        self.entries[at] = entry;
        self.count += 1;
    }
}

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

    /// Reads the commit spares of a lane that was just taken, and keeps no more than allowed.
    pub(crate) fn inherit_staged(&mut self, arena: &Arena) {
        let lane = arena.lane(self.index).expect("a lane this process took");
        for at in 0..PLACES {
            let block = Spare(lane.spares[UPDATE_SPARES + at].load(Relaxed)).block();
            if let Some(class) = arena.class_of(block) {
                self.staged.blocks[at] = block;
                self.staged.classes[at] = class as u8;
                self.staged.height = at + 1;
            }
        }
        self.end_commit(arena);
    }

    /// Begins to put a commit together; what was staged before is forgotten, its blocks are used again.
    pub(crate) fn begin_commit(&mut self) {
        self.staged.count = 0;
        self.staged.doubled = false;
        self.staged.used = 0;
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
        let at = self.next_place();
        if self.staged.blocks[at] != 0 {
            self.give_back_place(arena, at);
        }
        let plan = Plan::change(record, UPDATE_SPARES + at, 0);
        self.staged.enter(EntryWords { plan, expected, owned: 0 });
    }

    /// The record gets this block instead of what was seen. `node`: it is a node of the directory.
    pub(crate) fn stage_put(
        &mut self,
        arena: &Arena,
        seen: &Observed,
        next: &Next<'_>,
        value: &[u8],
        node: bool,
    ) -> Result<(), ProtocolError> {
        self.check_the_clock(seen)?;
        let at = self.next_place();
        if node {
            self.fill_place(arena, at, NODE_CLASS..NODE_CLASS + 1).ok_or(ProtocolError::NoNode)?;
        } else {
            let lacking = ProtocolError::NoBlock { length: value.len() };
            let wanted = arena.class_for(value.len()).ok_or(lacking)?;
            self.fill_place(arena, at, wanted..arena.classes()).ok_or(lacking)?;
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
        self.give_way(arena);
        if std::mem::take(&mut self.staged.doubled) {
            self.begin_commit();
            return Ok(Published::Lost);
        }
        let lane = arena.lane(self.index).expect("a lane this process took");
        let descriptor = &lane.descriptor;
        let sequence = Control(descriptor.control.load(Relaxed)).sequence().wrapping_add(1);
        // Edge `descriptor`: a helper of the last commit that reads any word written below sees the control changed.
        descriptor.control.store(Control::new(sequence, CommitPhase::Free).0, Relaxed);
        if !planted("descriptor.release") {
            fence(Release);
        }
        descriptor.revision.store(RevisionWord::pending(sequence).0, Relaxed);
        descriptor.count.store(self.staged.count as u64, Relaxed);
        for (words, entry) in descriptor.entries.iter().zip(&self.staged.entries[..self.staged.count]) {
            words.plan.store(entry.plan.0, Relaxed);
            words.expected.store(entry.expected.0, Relaxed);
            words.owned.store(entry.owned, Relaxed);
        }
        // Release: edge `descriptor`, who sees this sequence undecided sees its entries.
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
        if planted("free the descriptor before the cells") {
            descriptor.control.store(Control::new(sequence, CommitPhase::Free).0, Release);
        }
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

    /// Gives back what the lane may not keep, once a commit has come to its end or is given up.
    pub(crate) fn end_commit(&mut self, arena: &Arena) {
        self.begin_commit();
        let mut kept = [0; MAX_CLASSES + 1];
        let mut height = 0;
        for at in 0..self.staged.height {
            if self.staged.blocks[at] == 0 {
                continue;
            }
            let class = usize::from(self.staged.classes[at]);
            if kept[class] < self.staged.allowance[class] {
                kept[class] += 1;
                height = at + 1;
            } else {
                self.give_back_place(arena, at);
            }
        }
        self.staged.height = height;
    }

    fn give_back_place(&mut self, arena: &Arena, at: usize) {
        arena.give(self.index, UPDATE_SPARES + at, self.staged.blocks[at]);
        self.staged.blocks[at] = 0;
    }

    /// The next commit spare; there are more than a commit uses.
    fn next_place(&mut self) -> usize {
        let at = self.staged.used;
        self.staged.used += 1;
        self.staged.height = self.staged.height.max(self.staged.used);
        at
    }

    /// Makes sure that a commit spare has a block of one of these classes; a lane whose commits are alike finds it there.
    #[inline]
    fn fill_place(&mut self, arena: &Arena, at: usize, classes: Range<usize>) -> Option<()> {
        if self.staged.blocks[at] != 0 {
            if usize::from(self.staged.classes[at]) == classes.start {
                return Some(());
            }
            self.give_back_place(arena, at);
        }
        for class in classes {
            if let Some(block) = arena.take(self.index, UPDATE_SPARES + at, class) {
                self.staged.blocks[at] = block;
                self.staged.classes[at] = class as u8;
                return Some(());
            }
        }
        None
    }
}

impl Arena {
    /// How many blocks of `class` each lane may keep for commits.
    fn allowance(&self, class: usize) -> u8 {
        let range = self.class_range(class);
        let needed = self.values().saturating_add(self.lanes()).saturating_add(LEFT_IN_POOL);
        ((range.end - range.start).saturating_sub(needed) / self.lanes().max(1)).min(32) as u8
    }
}
