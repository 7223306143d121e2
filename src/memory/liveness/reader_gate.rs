//! A gate that a reader of many records closes to writers for a moment, when changes never pause by themselves.
//!
//! The reader stores a word that nobody has stored before; a writer that is about to publish a change and finds one waits until it
//! is gone, but not longer than [`LONGEST`], and never again for the same word: a reader that was killed or stopped costs
//! every writer that once. After a gate of some length, none is closed for ten times as long; a quiet time
//! that no reader can have left there is damage, and nobody heeds it.

use std::cell::Cell;
use std::time::Duration;

use crate::memory::block::arena::Arena;
use crate::memory::block::spares::LaneHandle;
use crate::memory::os::futex;
use crate::memory::os::host::HostClock;
use crate::memory::sync::atomics::Ordering::{AcqRel, Relaxed};

/// The longest a writer waits at a gate.
pub(crate) const LONGEST: Duration = Duration::from_millis(50);

/// Writers wait until this is dropped, but not longer than [`LONGEST`].
pub(crate) struct ReaderGate<'a> {
    arena: &'a Arena,
    host: HostClock,
    word: u64,
    began: u64,
}

/// After a gate of some length, no other is closed for so many times that length.
const QUIET: u64 = 10;

thread_local! {
    /// The word of this thread's own gate, at which it does not wait.
    static OURS: Cell<u64> = const { Cell::new(0) };
}

impl Arena {
    /// Asks writers to wait until the gate is dropped; `None` if another reader does already, or one has lately.
    pub(crate) fn reader_gate(&self, host: HostClock) -> Option<ReaderGate<'_>> {
        let began = host.now();
        let quiet = self.header().reader_gate.quiet_until.load(Relaxed).saturating_sub(began);
        if (1..=QUIET * 2 * LONGEST.as_nanos() as u64).contains(&quiet) {
            return None;
        }
        let word = began << 1 | 1;
        let free = self.header().reader_gate.word.compare_exchange(0, word, AcqRel, Relaxed);
        free.is_ok().then(|| {
            OURS.set(word);
            ReaderGate { arena: self, host, word, began }
        })
    }
}

impl ReaderGate<'_> {
    /// Whether writers still wait for it.
    pub(crate) fn is_closed(&self) -> bool {
        self.arena.header().reader_gate.word.load(Relaxed) == self.word
    }
}

impl Drop for ReaderGate<'_> {
    fn drop(&mut self) {
        let gate = &self.arena.header().reader_gate;
        let now = self.host.now();
        // Nobody waited for a stopped reader for longer than this.
        let given = now.saturating_sub(self.began).min(2 * LONGEST.as_nanos() as u64);
        gate.quiet_until.store(now.saturating_add(given * QUIET), Relaxed);
        let _ = gate.word.compare_exchange(self.word, 0, AcqRel, Relaxed);
        OURS.set(0);
    }
}

impl LaneHandle {
    /// Waits, before a change is published, for a reader that asked for it.
    #[inline(always)]
    pub(crate) fn yield_to_reader(&mut self, arena: &Arena) {
        let word = arena.header().reader_gate.word.load(Relaxed);
        if word != self.expired_gate {
            self.wait_for_reader(arena, word);
        }
    }

    #[cold]
    fn wait_for_reader(&mut self, arena: &Arena, word: u64) {
        if word != 0 && word == OURS.get() {
            return;
        }
        let gate = &arena.header().reader_gate.word;
        let end = futex::now() + LONGEST;
        let backoff = crossbeam_utils::Backoff::new();
        while word != 0 && gate.load(Relaxed) == word {
            if futex::now() >= end {
                // Its reader was stopped or killed, or is too slow for all of us.
                let _ = gate.compare_exchange(word, 0, AcqRel, Relaxed);
                break;
            }
            backoff.snooze();
        }
        self.expired_gate = word;
    }
}
