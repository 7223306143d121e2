//! Completes the changes of stopped threads: those of every lane that has not moved for a wait slice.
//!
//! A waiter does so at the end of each slice, and a process whose waits all end earlier (a loop of short ones, or of mere
//! looks) once a slice. So a wake-up that never came, because its author was stopped or killed between the change and the
//! wake, costs a waiter two slices at most.

use std::sync::atomic::AtomicU64 as LocalU64;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::memory::block::arena::Arena;
use crate::memory::layout::word::{CommitPhase, Control, Head, JournalWord};
use crate::memory::os::futex;
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed};

/// The longest a waiter sleeps without looking for itself.
pub const WAIT_SLICE: Duration = Duration::from_millis(250);

/// The changes that were under way at one moment: lane, journal, what it expected (or the control word of its commit).
pub(crate) type Journals = Vec<(u32, u64, u64)>;

/// When this process last helped whether or not a slice had ended, and what was under way then.
#[derive(Default)]
pub(crate) struct Helping {
    /// Nanoseconds of the monotonic clock, 0 before the first time.
    last: LocalU64,
    journals: Mutex<Journals>,
}

impl Helping {
    /// What was under way the last time, if that is a slice ago: it is to be helped again.
    pub(crate) fn due(&self) -> Option<MutexGuard<'_, Journals>> {
        let now = futex::now().as_nanos() as u64;
        let since = now.saturating_sub(self.last.load(Relaxed));
        if since < WAIT_SLICE.as_nanos() as u64 {
            return None;
        }
        // Another thread of ours is at it: what it does is as good.
        let journals = self.journals.try_lock().ok()?;
        self.last.store(now, Relaxed);
        Some(journals)
    }
}

impl Arena {
    /// Completes and announces every change that is still where it was in `last`, which then holds those under way now.
    /// Damage met here is left to the records' readers to report.
    pub(crate) fn help_stopped(&self, last: &mut Journals) {
        let mut now = Vec::new();
        for index in 0..self.lanes() {
            let lane = self.lane(index).expect("a lane of the table");
            let control = Control(lane.descriptor.control.load(Acquire));
            if control.phase() != CommitPhase::Free {
                let journal = (index, JournalWord::NONE.0, control.0);
                if last.contains(&journal) {
                    let _ = self.drive_to_end(None, Head::reference(index, control.sequence()));
                }
                now.push(journal);
            }
            let op = JournalWord(lane.journal.load(Acquire));
            if !op.is_set() {
                continue;
            }
            let journal = (index, op.0, lane.expected.load(Relaxed));
            if last.contains(&journal) {
                let _ = self.complete_update(index, op);
            }
            now.push(journal);
        }
        *last = now;
    }
}
