//! One record that any process may read without waiting and any number may change without losing a change.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::draft::Draft;
use crate::clock::{Deadline, Revision, Version};
use crate::error::{Error, Holder, Result};
use crate::memory::block::meta::{EMPTY_FINGERPRINT, Next};
use crate::memory::block::spares::LaneHandle;
use crate::memory::fingerprint::fnv1a64;
use crate::memory::liveness::attachment::{Attachment, usage};
use crate::memory::liveness::thread_lane::Copies;
use crate::memory::record::next::next_value;
use crate::memory::record::publish::Published;
use crate::memory::record::read::{Observed, modified_at};

/// What a value is known by: its place among the record's changes and among all changes, and a hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// How often the record has changed.
    pub version: Version,
    /// When, in the segment's order.
    pub revision: Revision,
    /// FNV-1a 64 of the value, computed by its author. For telling values apart, not for keeping secrets: it has no key.
    pub fingerprint: u64,
}

/// What became of a conditional write. Losing is an answer, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took place, with this revision.
    Committed(Revision),
    /// The condition did not hold; nothing changed.
    Conflict,
}

/// A handle to one record of a [`Segment`](crate::Segment).
///
/// Every value is whole: no read ever sees a mix of two changes. Reads and updates are lock-free: no other thread or
/// process, stopped or dead at any instruction, can keep them from completing. The exception is asked for: an update that
/// meets somebody's live claim answers [`Error::Held`].
///
/// # Ordering
/// An acknowledged change happens before every operation that sees it or a later one. Revisions respect real time: of two
/// changes the one acknowledged before the other began has the smaller revision.
#[derive(Clone, Copy)]
pub struct Record<'s> {
    pub(crate) home: &'s Arc<Attachment>,
    index: u32,
}

impl<'s> Record<'s> {
    #[inline]
    pub(crate) fn new(home: &'s Arc<Attachment>, index: u32) -> Self {
        Self { home, index }
    }

    /// Its number in the segment.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Reads the value; what `into` held is replaced. A record that was never written is empty, at version 0.
    ///
    /// Waits for nobody and stores nothing shared, unless it meets a change that its author has not finished for about a
    /// microsecond: that it finishes.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Retired`], [`Error::Corrupt`], [`Error::Outrun`].
    #[inline]
    pub fn read(&self, into: &mut Vec<u8>) -> Result<Stamp> {
        let home = self.home;
        home.check()?;
        let (mut version, mut modified, mut fingerprint) = (0, 0, EMPTY_FINGERPRINT);
        let found = home.arena.read_with(self.index, |block| {
            let (record, length) = block.place();
            block.copy(length as usize, into);
            (version, modified, fingerprint) = block.stamp();
            (record, length)
        });
        let (head, revision) = home.counted(found.map_err(Error::from))?;
        if head.is_absent() {
            into.clear();
            (version, modified, fingerprint) = (0, 0, EMPTY_FINGERPRINT);
        }
        Ok(Stamp {
            version: Version(version),
            revision: Revision(modified_at(version, modified, revision)),
            fingerprint,
        })
    }

    /// Reads the value and recomputes its fingerprint.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the bytes are not those whose fingerprint was stored; else as [`Record::read`].
    pub fn verify(&self) -> Result<Stamp> {
        self.home.check()?;
        let mut value = Vec::new();
        let seen = self.home.counted(self.observe_value(&mut value))?;
        let found = fnv1a64(&value);
        if found != seen.meta.fingerprint {
            let what = "a value whose bytes do not have its fingerprint";
            return self.home.counted(Err(Error::Corrupt { what, place: self.index.into(), found }));
        }
        Ok(stamp(&seen))
    }

    /// Changes the value: `change` gets the current one and writes the next into the draft.
    ///
    /// If somebody else changes the record first, `change` runs again on the newer value; so N acknowledged updates are N
    /// effects, none lost. A `change` that leaves the draft alone declines: nothing is written and the current stamp is
    /// returned. What `change` returns in its last run is returned.
    ///
    /// ```
    /// # fn main() -> slotguard::Result<()> {
    /// # let segment = slotguard::Segment::builder().records(1).payload(64).anonymous()?;
    /// let record = segment.record(0)?;
    /// record.update(|_, draft| draft.write(b"a"))?;
    /// let (length, stamp) = record.update(|old, draft| {
    ///     draft.edit().extend_from_slice(b"bc");
    ///     old.len()
    /// })?;
    /// assert_eq!((length, stamp.version.0), (1, 2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Held`] if somebody's live claim is on the record; [`Error::TooLarge`]; [`Error::Full`] if no block or lane
    /// is free; [`Error::Busy`] if this thread is inside another update of the segment; [`Error::Forked`],
    /// [`Error::Retired`], [`Error::Corrupt`]. Nothing has changed then.
    ///
    /// # When a process dies
    /// Inside `change`: nothing has happened. Later: the update has happened or it has not; others complete it, and what
    /// the dead thread kept is recovered.
    ///
    /// # Panics
    /// If `change` does; the record is unchanged and usable.
    #[inline]
    pub fn update<R>(&self, mut change: impl FnMut(&[u8], &mut Draft<'_>) -> R) -> Result<(R, Stamp)> {
        self.change(None, |_, old, draft| Ok(change(old, draft)))
    }

    /// [`Record::update`] for a closure that first checks what it is given, and values of the type `kind`.
    #[inline(always)]
    pub(crate) fn update_kind<R>(
        &self,
        kind: u64,
        mut change: impl FnMut(u64, u64, &[u8], &mut Draft<'_>) -> Result<R>,
    ) -> Result<(R, Stamp)> {
        self.change(Some(kind), |seen, old, draft| change(seen.meta.kind, seen.meta.version, old, draft))
    }

    #[inline(always)]
    fn change<R>(
        &self,
        kind: Option<u64>,
        mut change: impl FnMut(&Observed, &[u8], &mut Draft<'_>) -> Result<R>,
    ) -> Result<(R, Stamp)> {
        let done = self.home.with_lane(|lane, copies| self.change_with(lane, copies, kind, &mut change));
        self.note(done)
    }

    #[inline(always)]
    fn change_with<R>(
        &self,
        lane: &mut LaneHandle,
        copies: &mut Copies,
        kind: Option<u64>,
        change: &mut impl FnMut(&Observed, &[u8], &mut Draft<'_>) -> Result<R>,
    ) -> Result<(R, Stamp)> {
        let Copies { old, new, seen } = copies;
        loop {
            self.observe_into(old, seen)?;
            self.refuse_if_held(seen)?;
            let mut draft = Draft { old, new, touched: false };
            let answer = change(seen, draft.old, &mut draft)?;
            if !draft.touched {
                return Ok((answer, stamp(seen)));
            }
            if let Some(stamp) = self.attempt(lane, seen, new, kind.unwrap_or(seen.meta.kind))? {
                return Ok((answer, stamp));
            }
        }
    }

    /// Writes `value` if the record still has this version.
    ///
    /// # Errors
    /// As [`Record::update`]. Another version is no error but [`Outcome::Conflict`].
    pub fn compare_and_swap(&self, expected: Version, value: &[u8]) -> Result<Outcome> {
        self.compare_and_swap_kind(expected, value, None)
    }

    pub(crate) fn compare_and_swap_kind(&self, expected: Version, value: &[u8], kind: Option<u64>) -> Result<Outcome> {
        let done = self.home.with_lane(|lane, _| {
            loop {
                let seen = self.observe_meta()?;
                if seen.meta.version != expected.0 {
                    return Ok(Outcome::Conflict);
                }
                self.refuse_if_held(&seen)?;
                if let Some(stamp) = self.attempt(lane, &seen, value, kind.unwrap_or(seen.meta.kind))? {
                    return Ok(Outcome::Committed(stamp.revision));
                }
            }
        });
        self.note(done)
    }

    /// Waits until the record has another version than `seen`; answers that version, or `None` once the deadline has
    /// passed. A past deadline is one look.
    ///
    /// Spins for a moment, then sleeps; no system call is made to wake when nobody sleeps.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::Forked`], [`Error::Retired`], [`Error::Corrupt`].
    ///
    /// # When a process dies
    /// One killed between its change and the wake leaves waiters asleep for at most two
    /// [`WAIT_SLICE`](crate::WAIT_SLICE)s.
    pub fn wait_newer(&self, seen: Version, deadline: Deadline) -> Result<Option<Version>> {
        self.note(self.home.wait_newer(self.index, seen, &deadline))
    }

    /// The holder of a live claim on the record.
    ///
    /// # Errors
    /// As [`Record::read`].
    pub fn holder(&self) -> Result<Option<Holder>> {
        self.home.check()?;
        let seen = self.home.counted(self.observe_meta())?;
        Ok(self.live_claim(&seen).then(|| self.describe_holder(&seen)))
    }

    /// One attempt to replace what was `seen` by `value`; `None` if somebody else was first.
    ///
    /// A claim that is on the record has ended and goes; an intent it announced stays for the next claim to find.
    #[inline(always)]
    fn attempt(&self, lane: &mut LaneHandle, seen: &Observed, value: &[u8], kind: u64) -> Result<Option<Stamp>> {
        let next = next_value(self.index, seen, value, kind);
        let published = self.publish(lane, seen, &next, value)?;
        Ok(published.map(|revision| Stamp {
            version: Version(next.version),
            revision: Revision(revision),
            fingerprint: next.fingerprint,
        }))
    }

    /// Publishes one block; `None`, after backing off, if somebody else was first.
    #[inline(always)]
    pub(crate) fn publish(
        &self,
        lane: &mut LaneHandle,
        seen: &Observed,
        next: &Next<'_>,
        value: &[u8],
    ) -> Result<Option<u64>> {
        let home = self.home;
        if value.len() > home.max_payload() {
            return Err(Error::TooLarge { length: value.len(), limit: home.max_payload() });
        }
        // The caller's closure may have forked, and this may be the child.
        home.check()?;
        match lane.publish(&home.arena, seen, next, value)? {
            Published::Won(revision) => Ok(Some(revision)),
            Published::Lost => {
                lane.back_off(&home.arena);
                Ok(None)
            }
        }
    }

    #[inline(always)]
    fn observe_into(&self, value: &mut Vec<u8>, seen: &mut Observed) -> Result<()> {
        Ok(self.home.arena.read_into(self.index, Some(value), seen)?)
    }

    /// The record's header without its payload.
    pub(crate) fn observe_meta(&self) -> Result<Observed> {
        Ok(self.home.arena.read(self.index, None)?)
    }

    pub(crate) fn observe_value(&self, value: &mut Vec<u8>) -> Result<Observed> {
        Ok(self.home.arena.read(self.index, Some(value))?)
    }

    #[inline(always)]
    pub(crate) fn refuse_if_held(&self, seen: &Observed) -> Result<()> {
        if seen.meta.claim.is_some() && self.live_claim(seen) {
            return Err(Error::Held(Box::new(self.describe_holder(seen))));
        }
        Ok(())
    }

    /// Whether the claim in `seen` binds others: its lease runs and its owner lives.
    pub(crate) fn live_claim(&self, seen: &Observed) -> bool {
        let home = self.home;
        let claim = seen.meta.claim;
        claim.is_some() && claim.until > home.host.now() && home.is_alive(claim.owner)
    }

    pub(crate) fn describe_holder(&self, seen: &Observed) -> Holder {
        let home = self.home;
        let claim = seen.meta.claim;
        let (pid, command) = if claim.owner.row() < home.arena.rows() {
            let usage = usage(&home.arena, claim.owner.row(), 1);
            (usage.pid, usage.command)
        } else {
            (0, String::from("?"))
        };
        let now = home.host.now();
        Holder {
            record: self.index,
            pid,
            command,
            token: crate::clock::Token(seen.token()),
            held: Duration::from_nanos(now.saturating_sub(claim.since)),
            remaining: Duration::from_nanos(claim.until.saturating_sub(now)),
        }
    }

    /// Accounts for the answer of a public call.
    #[inline(always)]
    pub(crate) fn note<T>(&self, result: Result<T>) -> Result<T> {
        self.home.note(self.index, result)
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("index", &self.index).finish()
    }
}

/// The public face of what was seen.
#[inline(always)]
pub(crate) fn stamp(seen: &Observed) -> Stamp {
    Stamp {
        version: Version(seen.meta.version),
        revision: Revision(seen.modified()),
        fingerprint: seen.meta.fingerprint,
    }
}
