//! Waits until one record changes, or until its claim ends.

use std::sync::Arc;

use super::sleeper::{Pace, Sleeper, interrupt};
use crate::clock::{Deadline, Version};
use crate::error::Result;
use crate::memory::layout::word::Head;
use crate::memory::liveness::attachment::Attachment;
use crate::memory::sync::atomics::Ordering::Relaxed;

/// What one attempt of a wait found.
pub(crate) enum WaitStep<T> {
    /// What was waited for.
    Done(T),
    /// Something changed meanwhile: try again at once.
    Again,
    /// Nothing yet: sleep until the head is no longer `head`, or until a moment of the host's clock.
    Wait { head: Head, until: Option<u64> },
}

impl Attachment {
    /// Looks until it is done or the deadline has passed (`None`); a past deadline is one look.
    pub(crate) fn wait_until<T>(
        self: &Arc<Self>,
        record: u32,
        deadline: &Deadline,
        pace: Pace,
        mut look: impl FnMut() -> Result<WaitStep<T>>,
    ) -> Result<Option<T>> {
        let slot = self.arena.record(record);
        let word = if pace == Pace::Probing { &slot.claim_wait } else { &slot.wait };
        let mut sleeper = Sleeper::new(self, deadline, pace);
        let mut claim_wait = ClaimWait { home: self, record, slept: false };
        loop {
            self.check()?;
            let (head, until) = match look()? {
                WaitStep::Done(found) => {
                    claim_wait.taken();
                    return Ok(Some(found));
                }
                WaitStep::Again => continue,
                WaitStep::Wait { head, until } => (head, until),
            };
            if sleeper.is_over()? {
                if self.help_when_due() {
                    continue;
                }
                return Ok(None);
            }
            if self.spin_while(|| slot.head.load(Relaxed) == head.0) || self.help_when_due() {
                continue;
            }
            sleeper.listen(move |home| {
                let slot = home.arena.record(record);
                [&slot.wait, &slot.claim_wait].into_iter().for_each(interrupt);
            });
            let Some(expected) = self.arena.prepare_sleep(record, word, head) else {
                continue;
            };
            claim_wait.slept = pace == Pace::Probing;
            if sleeper.is_over()? {
                return Ok(None);
            }
            sleeper.sleep(word, expected, until);
        }
    }

    /// [`Record::wait_newer`](crate::Record::wait_newer).
    pub(crate) fn wait_newer(
        self: &Arc<Self>,
        record: u32,
        seen: Version,
        deadline: &Deadline,
    ) -> Result<Option<Version>> {
        self.wait_until(record, deadline, Pace::Steady, || {
            let now = self.arena.read(record, None)?;
            Ok(match Version(now.meta.version) {
                version if version == seen => WaitStep::Wait { head: now.head, until: None },
                version => WaitStep::Done(version),
            })
        })
    }
}

/// A wait for a claim. Each end of a claim wakes one sleeper, so a sleeper that was woken and gives up wakes the next.
struct ClaimWait<'a> {
    home: &'a Attachment,
    record: u32,
    /// Whether this waiter may have been woken in place of another.
    slept: bool,
}

impl ClaimWait<'_> {
    /// The claim was taken: its end will wake the next.
    fn taken(&mut self) {
        if self.slept {
            self.home.arena.expect_others(self.record);
            self.slept = false;
        }
    }
}

impl Drop for ClaimWait<'_> {
    fn drop(&mut self) {
        if self.slept {
            self.home.arena.pass_claim_wait(self.record);
        }
    }
}
