//! Watches groups of records: which have changed since a watcher's last look.
//!
//! A watcher sets its bit in the word of each group, then looks at the group's records; a writer swaps a head, then looks
//! at the group's word and, if a bit is set there, counts it on and wakes the watch words of its bits (edge `mark`).

use crate::edge::edge;
use crate::memory::block::arena::Arena;
use crate::memory::layout::sections::GROUP;
use crate::memory::layout::word::{Group, OwnerWord};
use crate::memory::sync::atomics::Ordering::SeqCst;
use crate::memory::sync::atomics::fence;

/// The groups of records that a watcher depends on, each with the count it had when the watcher last armed it.
pub(crate) struct Groups {
    bit: u32,
    /// Ascending by group.
    counts: Vec<(u32, u64)>,
    /// Those of which something may have changed since the last look.
    dirty: Bits,
    /// Those that were marked while the last look went on.
    later: Bits,
}

/// A set of groups.
#[derive(Default)]
struct Bits {
    words: Vec<u64>,
    any: bool,
}

impl Bits {
    fn insert(&mut self, group: u32) {
        let word = group as usize / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (group % 64);
        self.any = true;
    }

    fn contains(&self, group: u32) -> bool {
        self.words.get(group as usize / 64).is_some_and(|word| word >> (group % 64) & 1 != 0)
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.any) {
            self.words.fill(0);
        }
    }

    /// Takes over what is in the other, which is empty then.
    fn append(&mut self, other: &mut Self) {
        if other.any {
            if self.words.len() < other.words.len() {
                self.words.resize(other.words.len(), 0);
            }
            self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine |= theirs);
            self.any = true;
            other.clear();
        }
    }
}

impl Groups {
    /// No groups yet. `watcher` decides the watch word that the watcher sleeps on.
    pub(crate) fn new(watcher: OwnerWord) -> Self {
        let bit = (watcher.0 ^ watcher.0 >> 48) as u32 % Group::WAKE_BITS;
        Self { bit, counts: Vec::new(), dirty: Bits::default(), later: Bits::default() }
    }

    /// Subscribes to `groups` (ascending) and to no others: a later change of one of their records bumps the group's
    /// counter, and groups whose counter moved since the last time are dirty.
    pub(crate) fn arm(&mut self, arena: &Arena, groups: impl Iterator<Item = u32>) {
        self.arm_again(arena, groups);
        self.dirty.append(&mut self.later);
    }

    /// Subscribes again at the end of a look, unlike [`arm`](Self::arm): groups whose counter moved while it went on are
    /// dirty for the next look. Answers whether one of the groups is new.
    pub(crate) fn arm_again(&mut self, arena: &Arena, groups: impl Iterator<Item = u32>) -> bool {
        let known = std::mem::take(&mut self.counts);
        let mut known = known.iter().peekable();
        let mut new = false;
        for group in groups {
            while known.next_if(|(other, _)| *other < group).is_some() {}
            let before = known.next_if(|(other, _)| *other == group).map(|(_, count)| *count);
            let word = arena.group(group * GROUP);
            let mut now = Group(word.load(edge("watch.look", SeqCst)));
            // Still armed and unchanged: nothing to do, and no line to take from writers.
            if now.wake() >> self.bit & 1 == 0 || before != Some(now.count()) {
                now = Group(word.fetch_or(1 << self.bit, edge("mark.bit", SeqCst)));
            }
            if before != Some(now.count()) {
                self.later.insert(group);
            }
            new |= before.is_none();
            self.counts.push((group, now.count()));
        }
        // Edge `mark`: the bits before the looks at the heads that follow.
        fence(SeqCst);
        new
    }

    /// Whether something may have happened to the record before the groups were last armed.
    pub(crate) fn is_dirty(&self, record: u32) -> bool {
        self.dirty.contains(record / GROUP)
    }

    /// Whether the record's group was marked while the last look went on.
    pub(crate) fn is_marked_since(&self, record: u32) -> bool {
        self.later.contains(record / GROUP)
    }

    /// All that was dirty has been looked at; what was marked meanwhile is dirty now.
    pub(crate) fn looked(&mut self) {
        self.dirty.clear();
        self.dirty.append(&mut self.later);
    }

    /// Which watch word those that mark one of the groups wake.
    pub(crate) fn bit(&self) -> u32 {
        self.bit
    }

    /// Whether none of the groups has been marked since it was armed.
    pub(crate) fn are_unmarked(&self, arena: &Arena) -> bool {
        let same = |(group, count): &(u32, u64)| {
            Group(arena.group(group * GROUP).load(edge("watch.look", SeqCst))).count() == *count
        };
        !self.dirty.any && self.counts.iter().all(same)
    }
}
