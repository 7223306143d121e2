//! Sleeps for as long as the caller is willing and never for longer than a slice at a time.
//!
//! A waiter looks, spins for a moment, says that it waits, looks again and sleeps. At the end of a slice it helps others
//! ([`helping`](crate::memory::liveness::helping)) and looks once more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::{Deadline, Registration};
use crate::error::{Error, Result};
use crate::memory::layout::word::WaitWord;
use crate::memory::liveness::attachment::Attachment;
use crate::memory::liveness::helping::{Journals, WAIT_SLICE};
use crate::memory::os::futex;
use crate::memory::sync::atomics::Ordering::{Relaxed, SeqCst};
use crate::memory::sync::atomics::{AtomicU32, pause};

/// The first slice of a wait for a claim; each is twice the one before, up to [`WAIT_SLICE`].
const FIRST_PROBE: Duration = Duration::from_millis(2);

/// How long the slices are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// [`WAIT_SLICE`].
    Steady,
    /// Short at first, doubling up to [`WAIT_SLICE`]: what is waited for may end by a death that wakes nobody.
    Probing,
    /// The same, for an entry that lives by somebody's lease.
    Leased,
}

/// Turns of the spin before sleeping: at least, at most.
const SPIN: (u32, u32) = (32, 4000);

/// One wait: its deadline, its slices, and what it has slept.
pub(super) struct Sleeper<'a> {
    home: &'a Arc<Attachment>,
    deadline: &'a Deadline,
    slice: Duration,
    /// When the slice ends, on the monotonic clock: waking in between does not put it off.
    slice_end: Option<Duration>,
    registration: Option<Registration>,
    /// What was under way at the end of the last slice.
    journals: Journals,
    began: Option<Instant>,
}

impl<'a> Sleeper<'a> {
    pub(super) fn new(home: &'a Arc<Attachment>, deadline: &'a Deadline, pace: Pace) -> Self {
        let slice = if pace == Pace::Steady { WAIT_SLICE } else { FIRST_PROBE };
        Self { home, deadline, slice, slice_end: None, registration: None, journals: Vec::new(), began: None }
    }

    /// Whether the deadline has passed; an error if the wait was cancelled.
    pub(super) fn is_over(&self) -> Result<bool> {
        if self.deadline.cancel().is_some_and(crate::clock::Cancel::is_cancelled) {
            return Err(Error::Cancelled);
        }
        Ok(self.deadline.has_passed())
    }

    /// Has a cancellation wake us through `wake`, from the first sleep on.
    pub(super) fn listen(&mut self, wake: impl Fn(&Attachment) + Send + Sync + 'static) {
        if let (Some(cancel), None) = (self.deadline.cancel(), &self.registration) {
            let home = Arc::clone(self.home);
            self.registration = Some(cancel.register(Box::new(move || wake(&home))));
        }
    }

    /// Sleeps until the word changes, the slice or the deadline ends, or the host's clock reaches `until`; answers whether
    /// the slice has ended.
    pub(super) fn sleep(&mut self, word: &AtomicU32, expected: u32, until: Option<u64>) -> bool {
        self.began.get_or_insert_with(Instant::now);
        let now = futex::now();
        let slice_end = *self.slice_end.get_or_insert(now + self.slice);
        let mut end = slice_end;
        if let Some(remaining) = self.deadline.remaining() {
            end = end.min(now + remaining);
        }
        if let Some(until) = until {
            end = end.min(now + Duration::from_nanos(until.saturating_sub(self.home.host.now()).max(1)));
        }
        futex::sleep(word, expected, end);
        let ended = futex::now() >= slice_end;
        if ended {
            self.home.help_stopped(&mut self.journals);
            self.slice = (self.slice * 2).min(WAIT_SLICE);
            self.slice_end = None;
        }
        ended
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        if let Some(began) = self.began {
            self.home.count_wait(began.elapsed());
        }
    }
}

impl Attachment {
    /// Spins while `same`, as long as spinning has lately been worth it; answers whether something changed.
    pub(super) fn spin_while(&self, same: impl Fn() -> bool) -> bool {
        let turns = self.spin.load(Relaxed);
        for turn in 0..turns {
            if !same() {
                let wish = turn.saturating_mul(4).clamp(turns, SPIN.1);
                self.spin.store(wish, Relaxed);
                return true;
            }
            pause();
        }
        self.spin.store((turns / 2).max(SPIN.0), Relaxed);
        false
    }
}

/// Changes the word that waiters sleep on and wakes them to look again.
pub(super) fn interrupt(word: &AtomicU32) {
    word.fetch_add(WaitWord::WAITING + 1, SeqCst);
    futex::wake(word, u32::MAX);
}
