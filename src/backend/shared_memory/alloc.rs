//! Finds free records for new entries and new nodes of the tree.
//!
//! The records above the numbered ones are laid out as `root │ one a key │ one a further node`. A record is free when its
//! head says absent; a bitmap of this process remembers which are probably in use, so that an allocation rarely looks at more
//! than one head. The heads decide: "full" is answered only after all of them have been looked at.
//!
//! An entry's record is taken near its neighbour's in the leaf if both are in one folder (the name up to its last `/`), and the
//! first of a folder from a group of 64 records nobody uses: a change wakes the watchers of its group, so a folder has
//! groups of its own as far as there are enough.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::node::Node;
use crate::memory::block::arena::Arena;
use crate::memory::layout::sections::GROUP;
use crate::memory::layout::word::Head;

/// What one process knows of the records of a tree.
pub(super) struct RecordAllocator {
    /// Records that are probably in use, one bit each and one word a group, from the root's group on.
    used: Vec<AtomicU64>,
    /// The key's record that was found or became free last.
    cursor: AtomicU32,
    /// There was no group without a record in use when one was looked for, and no group has become so since.
    no_unused_group: AtomicBool,
    root: u32,
    keys: Range<u32>,
    nodes: Range<u32>,
}

impl RecordAllocator {
    pub(super) fn new(arena: &Arena) -> Self {
        let shape = &arena.geometry.shape;
        let root = shape.records;
        let keys = root + 1..root + 1 + shape.keys;
        let nodes = keys.end..arena.records();
        let words = (arena.records() - 1) / GROUP - root / GROUP + 1;
        let used = (0..words).map(|_| AtomicU64::new(0)).collect();
        let (cursor, no_unused_group) = (AtomicU32::new(keys.start), AtomicBool::new(false));
        Self { used, cursor, no_unused_group, root, keys, nodes }
    }

    /// The record of the root node.
    pub(super) fn root(&self) -> u32 {
        self.root
    }

    /// How many entries there can be.
    pub(super) fn keys(&self) -> u32 {
        self.keys.end - self.keys.start
    }

    /// How many nodes there can be besides the root.
    pub(super) fn nodes(&self) -> u32 {
        self.nodes.end - self.nodes.start
    }

    /// Whether the record is one for entries.
    pub(super) fn is_key(&self, record: u32) -> bool {
        self.keys.contains(&record)
    }

    /// Whether the record is one for nodes other than the root.
    pub(super) fn is_node(&self, record: u32) -> bool {
        self.nodes.contains(&record)
    }

    /// A free record for an entry, near that of its neighbour in the leaf if both are in one folder.
    pub(super) fn free_key(&self, arena: &Arena, leaf: &Node<'_>, name: &[u8], skip: &[u32]) -> Option<(u32, Head)> {
        let at = leaf.search(name).unwrap_or_else(|at| at);
        let neighbours = [at.wrapping_sub(1), at].into_iter().filter(|&at| at < leaf.len());
        let mut same_folder = neighbours.filter(|&at| folder(leaf.name(at)) == folder(name));
        let near = same_folder.next().map(|at| leaf.place(at).record).filter(|record| self.keys.contains(record));
        let near = near.or_else(|| self.unused_group(arena, skip)).unwrap_or(self.keys.start);
        self.free_record(arena, self.keys.clone(), near, skip)
    }

    /// A free record for a node.
    pub(super) fn free_node(&self, arena: &Arena, skip: &[u32]) -> Option<(u32, Head)> {
        self.free_record(arena, self.nodes.clone(), self.nodes.start, skip)
    }

    /// The first record of a group of which none is in use, as far as this process knows and the heads confirm.
    fn unused_group(&self, arena: &Arena, skip: &[u32]) -> Option<u32> {
        if self.no_unused_group.load(Relaxed) {
            return None;
        }
        let groups = self.keys.start.div_ceil(GROUP)..self.keys.end / GROUP;
        let found = groups.into_iter().find(|&group| {
            if self.word_of(group * GROUP).load(Relaxed) != 0 {
                return false;
            }
            (group * GROUP..(group + 1) * GROUP).all(|record| {
                let free = !skip.contains(&record) && Head(arena.record(record).head.load(Relaxed)).is_absent();
                if !free {
                    self.mark_used(record);
                }
                free
            })
        });
        if found.is_none() {
            self.no_unused_group.store(true, Relaxed);
        }
        found.map(|group| group * GROUP)
    }

    /// A free record of the range, near another; then near where one was found last; then anywhere.
    fn free_record(&self, arena: &Arena, range: Range<u32>, near: u32, skip: &[u32]) -> Option<(u32, Head)> {
        let take = |record: u32| {
            let head = Head(arena.record(record).head.load(Relaxed));
            // Others of this process look elsewhere from now on.
            self.mark_used(record);
            (head.is_absent() && !skip.contains(&record)).then_some((record, head))
        };
        let (low, high) = (range.start / GROUP, (range.end - 1) / GROUP);
        let words = high - low + 1;
        let cursor = self.cursor.load(Relaxed).clamp(range.start, range.end - 1) / GROUP;
        let from_cursor = (0..words).map(|i| low + (cursor - low + i) % words);
        for group in std::iter::once(near / GROUP).chain(from_cursor) {
            let mut free = !self.word_of(group * GROUP).load(Relaxed);
            while free != 0 {
                let record = group * GROUP + free.trailing_zeros();
                free &= free - 1;
                if range.contains(&record)
                    && let Some(found) = take(record)
                {
                    self.cursor.store(record, Relaxed);
                    return Some(found);
                }
            }
        }
        // What this process knows may be out of date: the heads decide, a group at a time, and correct it.
        for group in (0..words).map(|i| low + (cursor - low + i) % words) {
            let mut used = 0;
            for record in (group * GROUP..(group + 1) * GROUP).filter(|record| range.contains(record)) {
                let mut head = Head(arena.record(record).head.load(Relaxed));
                if head.is_reference() {
                    // A commit that stands still, perhaps one that will not take place. Damage is for whoever uses it.
                    let _ = arena.help(record, head);
                    head = Head(arena.record(record).head.load(Relaxed));
                }
                used |= u64::from(!head.is_absent() || skip.contains(&record)) << (record % GROUP);
            }
            let outside = (0..GROUP).filter(|bit| !range.contains(&(group * GROUP + bit)));
            let kept = outside.fold(0, |mask, bit| mask | 1 << bit) & self.word_of(group * GROUP).load(Relaxed);
            self.word_of(group * GROUP).store(used | kept, Relaxed);
            let free = (group * GROUP..(group + 1) * GROUP)
                .find(|record| range.contains(record) && used >> (record % GROUP) & 1 == 0);
            if let Some(found) = free.and_then(take) {
                self.cursor.store(found.0, Relaxed);
                return Some(found);
            }
        }
        None
    }

    /// The word of bits of the group of a record.
    fn word_of(&self, record: u32) -> &AtomicU64 {
        &self.used[((record / GROUP).saturating_sub(self.root / GROUP)) as usize]
    }

    fn mark_used(&self, record: u32) {
        self.word_of(record).fetch_or(1 << (record % GROUP), Relaxed);
    }

    /// Marks a record free that has become so, or was not taken after all.
    pub(super) fn mark_free(&self, record: u32) {
        if (self.root..self.nodes.end).contains(&record) {
            let mask = 1 << (record % GROUP);
            if self.word_of(record).fetch_and(!mask, Relaxed) == mask {
                self.no_unused_group.store(false, Relaxed);
            }
            if self.keys.contains(&record) {
                self.cursor.store(record, Relaxed);
            }
        }
    }
}

/// A name up to and with its last `/`.
fn folder(name: &[u8]) -> &[u8] {
    &name[..name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1)]
}
