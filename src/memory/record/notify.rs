//! Wakes the waiters of a record, and loses no wake-up.
//!
//! Waker: swap the head, *then* load the wait word. Sleeper: set the wait word's bit, *then* load the head.
//! All four are `SeqCst`, so at least one sees the other: either the waker wakes, or the sleeper does not sleep (edge
//! `sleep`). A waker that dies in between leaves sleepers asleep for at most one wait slice, after which they look again.

use crate::edge::edge;
use crate::memory::block::arena::Arena;
use crate::memory::layout::word::{Group, Head, WaitWord};
use crate::memory::os::futex;
use crate::memory::sync::atomics::Ordering::{Relaxed, SeqCst};
use crate::memory::sync::atomics::{AtomicU32, loom_fence};

impl Arena {
    /// Tells the watchers of the record's group that something changed; answers which watch words to wake later.
    ///
    /// One load when nobody watches. Before the change is numbered, so that a change at or below a revision read from the
    /// clock has been marked.
    #[inline]
    pub(crate) fn mark(&self, record: u32) -> u16 {
        let group = self.group(record);
        loom_fence("mark.look");
        let mut word = Group(group.load(edge("mark.look", SeqCst)));
        loop {
            let bits = word.wake();
            if bits == 0 {
                return 0;
            }
            match group.compare_exchange(word.0, word.marked().0, SeqCst, SeqCst) {
                Ok(_) => return bits,
                Err(found) => word = Group(found),
            }
        }
    }

    /// Marks the record's group, and wakes all waiters of the record and all watchers of the group.
    pub(crate) fn notify(&self, record: u32) {
        let bits = self.mark(record);
        self.wake_waiters(record, bits, true);
    }

    /// Wakes all that wait for a change of the record, one that waits for its claim if it is `unclaimed` now, and the
    /// watchers of `bits`, which [`Arena::mark`] answered. One load each when nobody does.
    #[inline]
    pub(crate) fn wake_waiters(&self, record: u32, bits: u16, unclaimed: bool) {
        self.wake_word(&self.record(record).wait, "wake.look");
        if unclaimed {
            self.wake_next(record);
        }
        self.wake_watchers(bits);
    }

    /// Wakes the watchers whose bits [`Arena::mark`] cleared.
    #[inline]
    pub(crate) fn wake_watchers(&self, bits: u16) {
        let mut bits = bits;
        while bits != 0 {
            self.wake_word(self.watch_word(bits.trailing_zeros()), "wake.watch");
            bits &= bits - 1;
        }
    }

    #[inline]
    fn wake_word(&self, word: &AtomicU32, name: &'static str) {
        loom_fence(name);
        let found = WaitWord(word.load(edge("wake.look", SeqCst)));
        if found.somebody_waits() {
            self.wake_sleepers(word, found);
        }
    }

    /// Wakes one of those that wait for the record's claim to end; one load when none does.
    ///
    /// A waiter that is woken and takes the record sets the bit again before it ends its own claim, and one that is
    /// woken and gives up wakes another ([`Arena::pass_claim_wait`]); one that dies in between costs the others a slice.
    #[inline]
    fn wake_next(&self, record: u32) {
        let word = &self.record(record).claim_wait;
        let found = WaitWord(word.load(edge("wake.look", SeqCst)));
        if found.somebody_waits() {
            self.wake_some(word, found, 1);
        }
    }

    /// Passes the wake-up on: the caller was perhaps woken in place of another that waits for the claim's end.
    pub(crate) fn pass_claim_wait(&self, record: u32) {
        let word = &self.record(record).claim_wait;
        let found = WaitWord(word.fetch_or(WaitWord::WAITING, SeqCst) | WaitWord::WAITING);
        self.wake_some(word, found, 1);
    }

    /// Says that somebody may still wait for the claim the caller has just taken.
    pub(crate) fn expect_others(&self, record: u32) {
        self.record(record).claim_wait.fetch_or(WaitWord::WAITING, Relaxed);
    }

    #[cold]
    fn wake_sleepers(&self, word: &AtomicU32, found: WaitWord) {
        self.wake_some(word, found, u32::MAX);
    }

    #[cold]
    fn wake_some(&self, word: &AtomicU32, found: WaitWord, most: u32) {
        // Bit and count change together: a sleeper that has not reached the kernel finds another word there. If the
        // swap fails, another waker has taken the bit and with it the duty to wake, or a sleeper came again and looks.
        if word.compare_exchange(found.0, found.woken().0, SeqCst, Relaxed).is_ok() {
            self.counters().wakes.fetch_add(1, Relaxed);
            futex::wake(word, most);
        }
    }

    /// Says that somebody waits for the record, and answers what is to be found in `word` (the record's `wait` or
    /// `claim_wait`) for as long as nobody wakes; `None` if the head is no longer `seen`.
    pub(crate) fn prepare_sleep(&self, record: u32, word: &AtomicU32, seen: Head) -> Option<u32> {
        let slot = self.record(record);
        let word = word.fetch_or(WaitWord::WAITING, edge("sleep.bit", SeqCst)) | WaitWord::WAITING;
        loom_fence("sleep.look");
        (slot.head.load(edge("sleep.look", SeqCst)) == seen.0).then_some(word)
    }
}
