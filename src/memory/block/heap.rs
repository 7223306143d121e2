//! A segment on the heap, for model checking: the code that runs in a mapped segment is the code that loom explores.

use super::meta::Block;
use crate::memory::layout::sections::{BlockHead, CommitEntry, Counters, GROUP, Lane, RecordHead};
use crate::memory::sync::atomics::{AtomicU32, AtomicU64};

/// The places of `arena` with one payload class, each word an atomic of the model checker.
///
/// Only the words the protocol depends on are modelled. Of a block's header those are place, version and claim: the others
/// are written and read beside them in one way. Where blocks have no payload, only the claim is.
pub(crate) struct Arena {
    records: Vec<RecordHead>,
    blocks: Vec<(BlockHead, Vec<AtomicU64>)>,
    lanes: Vec<Lane>,
    groups: Vec<AtomicU64>,
    taken: Vec<AtomicU64>,
    watch: Vec<AtomicU32>,
    clock: AtomicU64,
    counters: Counters,
}

impl Arena {
    pub(crate) fn new(records: u32, lanes: u32, blocks: u32, words: usize) -> Self {
        let zeros = |n: u32| (0..n).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
        let record = || RecordHead { head: AtomicU64::new(0), wait: AtomicU32::new(0), claim_wait: AtomicU32::new(0) };
        let content = || if words == 0 { AtomicU64::default() } else { AtomicU64::new(0) };
        let block = || BlockHead {
            state: AtomicU64::new(0),
            place: content(),
            version: content(),
            modified: content(),
            claim_owner: AtomicU64::new(0),
            ..BlockHead::default()
        };
        let lane = || {
            let mut lane = Lane::default();
            lane.journal = AtomicU64::new(0);
            lane.expected = AtomicU64::new(0);
            lane.number = AtomicU64::stored_blindly(0);
            lane.spares = std::array::from_fn(|_| AtomicU32::new(0));
            lane
        };
        Self {
            records: (0..records).map(|_| record()).collect(),
            blocks: (0..blocks).map(|_| (block(), zeros(words as u32))).collect(),
            lanes: (0..lanes).map(|_| lane()).collect(),
            groups: (0..records.div_ceil(GROUP)).map(|_| AtomicU64::new(0)).collect(),
            taken: zeros(blocks.div_ceil(64)),
            watch: vec![AtomicU32::new(0)],
            clock: AtomicU64::new(0),
            counters: Counters::default(),
        }
    }

    /// This arena, with the words of commits modelled.
    ///
    /// Entries are read after the control word and judged by it, so they need to be modelled only where a lane commits
    /// again while somebody may still be at its last commit; everywhere else the control word makes them known.
    pub(crate) fn with_commits(mut self, entries: bool) -> Self {
        for lane in &mut self.lanes {
            let descriptor = &mut lane.descriptor;
            (descriptor.control, descriptor.revision) = (AtomicU64::new(0), AtomicU64::new(0));
            if entries {
                descriptor.entries = std::array::from_fn(|_| CommitEntry {
                    plan: AtomicU64::new(0),
                    expected: AtomicU64::new(0),
                    owned: AtomicU64::new(0),
                });
            }
        }
        self
    }

    pub(crate) fn clock(&self) -> &AtomicU64 {
        &self.clock
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn watch_word(&self, _bit: u32) -> &AtomicU32 {
        &self.watch[0]
    }

    pub(crate) fn lanes(&self) -> u32 {
        self.lanes.len() as u32
    }

    pub(crate) fn lane(&self, index: u32) -> Option<&Lane> {
        self.lanes.get(index as usize)
    }

    pub(crate) fn records(&self) -> u32 {
        self.records.len() as u32
    }

    pub(crate) fn values(&self) -> u32 {
        self.records()
    }

    pub(crate) fn record(&self, index: u32) -> &RecordHead {
        &self.records[index as usize]
    }

    pub(crate) fn group(&self, record: u32) -> &AtomicU64 {
        &self.groups[(record / GROUP) as usize]
    }

    pub(crate) fn blocks(&self) -> u32 {
        self.blocks.len() as u32
    }

    pub(crate) fn taken(&self, word: u32) -> &AtomicU64 {
        &self.taken[word as usize]
    }

    pub(crate) fn block(&self, index: u32) -> Option<Block<'_>> {
        let (head, payload) = self.blocks.get((index as usize).checked_sub(1)?)?;
        Some(Block { head, payload })
    }

    pub(crate) fn class_range(&self, _class: usize) -> std::ops::Range<u32> {
        1..self.blocks() + 1
    }

    pub(crate) fn class_for(&self, length: usize) -> Option<usize> {
        (length <= self.blocks[0].1.len() * 8).then_some(0)
    }

    pub(crate) fn class_of(&self, block: u32) -> Option<usize> {
        (1..=self.blocks()).contains(&block).then_some(0)
    }

    /// Models have no room for a hint where to look: it would be another word to explore.
    pub(crate) fn cursor(&self, _class: usize) -> u32 {
        1
    }

    pub(crate) fn set_cursor(&self, _class: usize, _block: u32) {}

    pub(crate) fn classes(&self) -> usize {
        1
    }
}
