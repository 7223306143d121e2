//! The segment's vector clock: counts each participant's events, to tell which happened before which.

use super::segment::Segment;
use crate::clock::VectorClock;
use crate::error::{Error, Result};
use crate::memory::sync::atomics::Ordering::{AcqRel, Acquire, Release};

/// One counter a participant, in the segment; a participant's number is its row.
///
/// A row's counter goes on where the row's last owner left it, so a component never runs backwards.
///
/// # Ordering
/// What a participant did before [`tick`](Self::tick) happens before everything done after a
/// [`snapshot`](Self::snapshot) that contains the tick.
///
/// # When a process dies
/// Its counter stays, and goes on with the row's next owner.
#[derive(Clone, Copy, Debug)]
pub struct SharedVector<'s> {
    segment: &'s Segment,
}

impl Segment {
    /// The segment's vector clock: one counter a participant.
    pub fn vector(&self) -> SharedVector<'_> {
        SharedVector::new(self)
    }
}

impl<'s> SharedVector<'s> {
    pub(crate) fn new(segment: &'s Segment) -> Self {
        Self { segment }
    }

    /// This attachment's number among the participants.
    pub fn participant(&self) -> u32 {
        self.segment.inner.me.row()
    }

    /// Counts one event of our own by one fetch-add; answers its number.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Retired`].
    pub fn tick(&self) -> Result<u64> {
        self.segment.inner.check()?;
        let ticks = &self.segment.inner.arena.row(self.participant()).ticks;
        ticks.fetch_add(1, AcqRel).checked_add(1).ok_or_else(|| {
            // Nobody counts that far; a peer or a merged clock has put it there, and there it stays.
            ticks.store(u64::MAX, Release);
            Error::Corrupt { what: "a counter at its end", place: self.participant().into(), found: u64::MAX }
        })
    }

    /// All counters, each read once. Counters that tick meanwhile may or may not be seen.
    ///
    /// # Errors
    /// As [`tick`](Self::tick).
    pub fn snapshot(&self) -> Result<VectorClock> {
        self.segment.inner.check()?;
        let arena = &self.segment.inner.arena;
        Ok((0..arena.rows()).map(|row| (row, arena.row(row).ticks.load(Acquire))).collect())
    }

    /// Raises every counter to at least what `seen` has for it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `seen` has a participant the segment has no row for: nothing is raised. Else as
    /// [`tick`](Self::tick).
    pub fn merge(&self, seen: &VectorClock) -> Result<()> {
        self.segment.inner.check()?;
        let arena = &self.segment.inner.arena;
        if let Some((row, _)) = seen.iter().find(|(row, _)| *row >= arena.rows()) {
            let rows = arena.rows();
            return Err(Error::Invalid(format!("participant {row} of the clock is past the segment's {rows} rows")));
        }
        for (row, count) in seen.iter() {
            arena.row(row).ticks.fetch_max(count, AcqRel);
        }
        Ok(())
    }
}
