//! A reader of many records asks writers to give way for a moment, when no moment will come by itself.
//!
//! The reader stores a word that nobody has stored before; whoever is about to publish a change and finds one waits until it
//! is gone, but not longer than [`LONGEST`], and never again for the same word: a reader that was killed or stopped costs
//! every writer that once. Where a reader has just been given way to, nobody asks again for ten times as long; a quiet time
//! that no reader can have left there is damage, and nobody heeds it.

use std::cell::Cell;
use std::time::Duration;

use crate::memory::block::arena::Arena;
use crate::memory::os::futex;
use crate::memory::os::host::HostClock;
use crate::memory::record::publish::LaneHandle;
use crate::memory::sync::atomics::Ordering::{AcqRel, Relaxed};

/// The longest a writer gives way.
pub(crate) const LONGEST: Duration = Duration::from_millis(50);

/// Writers give way until this is dropped.
pub(crate) struct Announcement<'a> {
    arena: &'a Arena,
    host: HostClock,
    word: u64,
    began: u64,
}

/// How many times as long as a reader was given way to nobody asks again.
const QUIET: u64 = 10;

thread_local! {
    /// This thread's own announcement: it gives way to others, not to itself.
    static OURS: Cell<u64> = const { Cell::new(0) };
}

impl Arena {
    /// Asks writers to give way; `None` if another reader does already, or one has lately.
    pub(crate) fn announce(&self, host: HostClock) -> Option<Announcement<'_>> {
        let began = host.now();
        let quiet = self.header().announced.quiet_until.load(Relaxed).saturating_sub(began);
        if (1..=QUIET * 2 * LONGEST.as_nanos() as u64).contains(&quiet) {
            return None;
        }
        let word = began << 1 | 1;
        let free = self.header().announced.word.compare_exchange(0, word, AcqRel, Relaxed);
        free.is_ok().then(|| {
            OURS.set(word);
            Announcement { arena: self, host, word, began }
        })
    }
}

impl Announcement<'_> {
    /// Whether writers still give way to it.
    pub(crate) fn stands(&self) -> bool {
        self.arena.header().announced.word.load(Relaxed) == self.word
    }
}

impl Drop for Announcement<'_> {
    fn drop(&mut self) {
        let announced = &self.arena.header().announced;
        let now = self.host.now();
        // A reader that was stopped was not given way to for longer than this.
        let given = now.saturating_sub(self.began).min(2 * LONGEST.as_nanos() as u64);
        announced.quiet_until.store(now.saturating_add(given * QUIET), Relaxed);
        let _ = announced.word.compare_exchange(self.word, 0, AcqRel, Relaxed);
        OURS.set(0);
    }
}

impl LaneHandle {
    /// Before a change is published: waits for a reader that asked for it.
    #[inline(always)]
    pub(crate) fn give_way(&mut self, arena: &Arena) {
        let word = arena.header().announced.word.load(Relaxed);
        if word != self.ignored {
            self.wait_for_reader(arena, word);
        }
    }

    #[cold]
    fn wait_for_reader(&mut self, arena: &Arena, word: u64) {
        if word != 0 && word == OURS.get() {
            return;
        }
        let announced = &arena.header().announced.word;
        let end = futex::now() + LONGEST;
        while word != 0 && announced.load(Relaxed) == word {
            if futex::now() >= end {
                // Whoever announced it was stopped or killed, or is too slow for all of us.
                let _ = announced.compare_exchange(word, 0, AcqRel, Relaxed);
                break;
            }
            std::thread::yield_now();
        }
        self.ignored = word;
    }
}
