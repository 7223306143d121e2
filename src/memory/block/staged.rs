//! The blocks and changes of a commit while its author puts it together.
//!
//! The blocks come from the lane's commit spares, and a block that the commit displaces goes back into the spare its
//! replacement came from. A lane keeps some there for its next commit: at most its share of the blocks that are left of a
//! class when every record has a value and every lane its spare. So blocks kept idle never make another lane's change
//! find the segment full.

use std::ops::Range;

use super::arena::Arena;
use crate::memory::layout::sections::{ENTRIES, MAX_CLASSES, SPARES, UPDATE_SPARES};
use crate::memory::layout::word::{EntryWords, Spare};
use crate::memory::sync::atomics::Ordering::Relaxed;

/// Spares that commits use.
const PLACES: usize = SPARES - UPDATE_SPARES;
/// Blocks of each class that stay in the pool whatever lanes keep, so that a commit larger than usual finds some.
const LEFT_IN_POOL: u32 = 64;

/// The author's side of a commit. What it keeps is mirrored here: what the segment says of *our* spares is never trusted.
pub(crate) struct Staged {
    pub(crate) entries: Box<[EntryWords; ENTRIES]>,
    pub(crate) count: usize,
    /// A record was staged twice: the commit cannot take place as it is.
    pub(crate) doubled: bool,
    /// The block in each commit spare; 0: none.
    pub(crate) blocks: [u32; PLACES],
    pub(crate) classes: [u8; PLACES],
    /// How many spares the commit being put together uses, from the first on.
    used: usize,
    /// Spares from this one on are empty.
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
    pub(crate) fn enter(&mut self, entry: EntryWords) {
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

    /// Forgets the changes; the blocks are used again.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
        self.doubled = false;
        self.used = 0;
    }

    /// Reads the commit spares of `lane`, which was just taken.
    pub(crate) fn inherit(&mut self, arena: &Arena, lane: u32) {
        let spares = &arena.lane(lane).expect("a lane this process took").spares;
        for at in 0..PLACES {
            let block = Spare(spares[UPDATE_SPARES + at].load(Relaxed)).block();
            if let Some(class) = arena.class_of(block) {
                self.blocks[at] = block;
                self.classes[at] = class as u8;
                self.height = at + 1;
            }
        }
    }

    /// Gives back the blocks that `lane` may not keep, once a commit has ended or is given up.
    pub(crate) fn give_back(&mut self, arena: &Arena, lane: u32) {
        self.clear();
        let mut kept = [0; MAX_CLASSES + 1];
        let mut height = 0;
        for at in 0..self.height {
            if self.blocks[at] == 0 {
                continue;
            }
            let class = usize::from(self.classes[at]);
            if kept[class] < self.allowance[class] {
                kept[class] += 1;
                height = at + 1;
            } else {
                self.give_back_place(arena, lane, at);
            }
        }
        self.height = height;
    }

    pub(crate) fn give_back_place(&mut self, arena: &Arena, lane: u32, at: usize) {
        arena.give(lane, UPDATE_SPARES + at, self.blocks[at]);
        self.blocks[at] = 0;
    }

    /// The next commit spare; there are more than a commit uses.
    pub(crate) fn next_place(&mut self) -> usize {
        let at = self.used;
        self.used += 1;
        self.height = self.height.max(self.used);
        at
    }

    /// Makes sure that a commit spare has a block of one of these classes; a lane whose commits are alike finds it there.
    #[inline]
    pub(crate) fn fill_place(&mut self, arena: &Arena, lane: u32, at: usize, classes: Range<usize>) -> Option<()> {
        if self.blocks[at] != 0 {
            if usize::from(self.classes[at]) == classes.start {
                return Some(());
            }
            self.give_back_place(arena, lane, at);
        }
        for class in classes {
            if let Some(block) = arena.take(lane, UPDATE_SPARES + at, class) {
                self.blocks[at] = block;
                self.classes[at] = class as u8;
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
