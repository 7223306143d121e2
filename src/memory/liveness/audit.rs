//! Counting where every block of a segment is, so that a test or an operator sees whether one has leaked.

use crate::memory::block::arena::Arena;
use crate::memory::layout::sections::UPDATE_SPARES;
use crate::memory::layout::word::{
    BlockState, BlockStateKind, CommitPhase, Control, Head, JournalWord, OwnerWord, RowWord, Spare,
};
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed};

/// Where a segment's blocks, lanes and rows are. Exact only while nobody changes anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// All blocks.
    pub blocks: u64,
    /// Blocks that hold a record's value.
    pub under_heads: u64,
    /// Blocks that lanes keep.
    pub in_spares: u64,
    /// Blocks in the pool.
    pub free: u64,
    /// Blocks that are nowhere: leaked.
    pub missing: u64,
    /// Blocks that are in two places.
    pub doubled: u64,
    /// All lanes.
    pub lanes: u32,
    /// Lanes somebody has taken.
    pub lanes_taken: u32,
    /// All participants' rows.
    pub rows: u32,
    /// Rows somebody has taken, dead or alive.
    pub rows_taken: u32,
    /// Changes begun and not completed.
    pub pending: u32,
}

impl Arena {
    /// Counts where every block is; finishes the commits it meets.
    pub(crate) fn audit(&self) -> Audit {
        let mut places = vec![0u8; self.blocks() as usize + 1];
        let mut audit =
            Audit { blocks: self.blocks().into(), lanes: self.lanes(), rows: self.rows(), ..Audit::default() };
        let mut place = |block: u32, count: &mut u64| {
            if let Some(places) = places.get_mut(block as usize).filter(|_| block != 0) {
                *places = places.saturating_add(1);
                *count += 1;
            }
        };
        for record in 0..self.records() {
            let head = Head(self.record(record).head.load(Acquire));
            if head.is_reference() {
                // Finished here rather than counted in pieces; damage shows as blocks that are missing.
                let _ = self.help(record, head);
            }
            place(Head(self.record(record).head.load(Acquire)).block(), &mut audit.under_heads);
        }
        for lane in (0..self.lanes()).filter_map(|index| self.lane(index)) {
            let committing = Control(lane.descriptor.control.load(Acquire)).phase() != CommitPhase::Free;
            for (at, spare) in lane.spares.iter().enumerate() {
                // A commit under way has its author's spares full of what is under heads already, or soon.
                if !(committing && at >= UPDATE_SPARES) {
                    place(Spare(spare.load(Acquire)).block(), &mut audit.in_spares);
                }
            }
            audit.pending += u32::from(committing);
            audit.lanes_taken += u32::from(lane.owner.load(Relaxed) != OwnerWord::NOBODY.0);
            audit.pending += u32::from(JournalWord(lane.journal.load(Relaxed)).is_set());
        }
        for block in 1..=self.blocks() {
            let state = BlockState(self.block(block).expect("a block of the table").head.state.load(Acquire));
            if state.kind() == BlockStateKind::Free {
                place(block, &mut audit.free);
            }
        }
        audit.rows_taken =
            (0..self.rows()).filter(|row| RowWord(self.row(*row).word.load(Relaxed)).is_attached()).count() as u32;
        audit.missing = places[1..].iter().filter(|places| **places == 0).count() as u64;
        audit.doubled = places[1..].iter().filter(|places| **places > 1).count() as u64;
        audit
    }
}
