//! Commits changes of several numbered records at one moment.

use super::record::{Outcome, Record};
use super::segment::Segment;
use crate::clock::{Revision, Version};
use crate::error::{Error, Result};
use crate::memory::block::meta::Next;
use crate::memory::block::spares::LaneHandle;
use crate::memory::layout::sections::MAX_OPS;
use crate::memory::record::next::next_value;
use crate::memory::record::publish::Published;
use crate::memory::record::read::Observed;

/// One record's part in a [`Segment::commit`]: which version it must have, and its next value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordOp<'a> {
    record: u32,
    version: Option<Version>,
    value: Option<&'a [u8]>,
}

impl<'a> RecordOp<'a> {
    /// Writes `value`, whatever is there.
    pub fn write(record: u32, value: &'a [u8]) -> Self {
        Self { record, version: None, value: Some(value) }
    }

    /// Only demands that the record have this version.
    pub fn check(record: u32, version: Version) -> Self {
        Self { record, version: Some(version), value: None }
    }

    /// The same, if the record has this version (0: it was never written).
    #[must_use]
    pub fn if_version(self, version: Version) -> Self {
        Self { version: Some(version), ..self }
    }
}

impl Segment {
    /// Applies all operations at one moment if every record then has the version its operation names, else nothing.
    ///
    /// Nobody sees some of the writes without the others, also while the committer is stopped or dead. The order of the
    /// operations plays no part, so commits over the same records in opposite orders get into nobody's way.
    ///
    /// ```
    /// use slotguard::{Outcome, RecordOp, Segment};
    /// # fn main() -> slotguard::Result<()> {
    /// # let segment = Segment::builder().records(2).payload(8).anonymous()?;
    /// let amount = |bytes: &[u8]| bytes.try_into().map_or(0, i64::from_le_bytes);
    /// let (mut from, mut to) = (Vec::new(), Vec::new());
    /// let done = loop {
    ///     let left = segment.record(0)?.read(&mut from)?;
    ///     let right = segment.record(1)?.read(&mut to)?;
    ///     let moved = [amount(&from) - 5, amount(&to) + 5].map(i64::to_le_bytes);
    ///     let ops = [
    ///         RecordOp::write(0, &moved[0]).if_version(left.version),
    ///         RecordOp::write(1, &moved[1]).if_version(right.version),
    ///     ];
    ///     if let Outcome::Committed(revision) = segment.commit(&ops)? {
    ///         break revision;
    ///     }
    /// };
    /// assert_eq!(segment.record(0)?.read(&mut from)?.revision, done);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Ordering
    /// [`Outcome::Conflict`] means that a record had another version at a moment during the call. Somebody being in the way
    /// is never an answer: the commit reads again and goes on. Lock-free.
    ///
    /// # Errors
    /// [`Error::TooManyOps`] over 32; [`Error::NamedTwice`]; [`Error::NothingToWrite`]; [`Error::OutOfRange`];
    /// [`Error::TooLarge`]; [`Error::Held`] if somebody's live claim is on a record that is to be written; else as
    /// [`Record::update`]. Nothing has changed then.
    ///
    /// # When a process dies
    /// The commit has happened as a whole or not at all; a thread that meets it completes it.
    pub fn commit(&self, ops: &[RecordOp<'_>]) -> Result<Outcome> {
        self.check_ops(ops)?;
        let home = &self.inner;
        let done = match ops {
            [RecordOp { record, version: Some(version), value: Some(value) }] => {
                return self.record(*record)?.compare_and_swap(*version, value);
            }
            [RecordOp { record, version: None, value: Some(value) }] => {
                let (_, stamp) = self.record(*record)?.update(|_, draft| draft.write(value))?;
                return Ok(Outcome::Committed(stamp.revision));
            }
            _ => home.with_room(
                || Ok(()),
                || {
                    home.with_lane(|lane, copies| {
                        self.commit_with(&mut lane.build_commit(&home.arena), &mut copies.seen, ops)
                    })
                },
            ),
        };
        home.note(ops[0].record, done)
    }

    fn commit_with(&self, lane: &mut LaneHandle, seen: &mut Observed, ops: &[RecordOp<'_>]) -> Result<Outcome> {
        let home = &self.inner;
        // Hashed once, however often the commit begins anew.
        let mut fingerprints = [0; MAX_OPS];
        for (place, op) in fingerprints.iter_mut().zip(ops) {
            *place = op.value.map_or(0, crate::memory::fingerprint::fnv1a64);
        }
        loop {
            home.check()?;
            lane.begin_commit();
            for (op, fingerprint) in ops.iter().zip(fingerprints) {
                let record = Record::new(home, op.record);
                home.arena.read_into(op.record, None, seen)?;
                if op.version.is_some_and(|version| version.0 != seen.meta.version) {
                    return Ok(Outcome::Conflict);
                }
                let Some(value) = op.value else {
                    lane.stage_check(op.record, seen.head);
                    continue;
                };
                record.refuse_if_held(seen)?;
                let next = Next { fingerprint, ..next_value(op.record, seen, &[], seen.meta.kind) };
                lane.stage_put(&home.arena, seen, &next, value, false)?;
            }
            match lane.commit(&home.arena)? {
                Published::Won(revision) => return Ok(Outcome::Committed(Revision(revision))),
                Published::Lost => lane.back_off(&home.arena),
            }
        }
    }

    fn check_ops(&self, ops: &[RecordOp<'_>]) -> Result<()> {
        if ops.len() > MAX_OPS {
            return Err(Error::TooManyOps { ops: ops.len(), limit: MAX_OPS });
        }
        for (at, op) in ops.iter().enumerate() {
            self.record(op.record)?;
            if ops[..at].iter().any(|earlier| earlier.record == op.record) {
                return Err(Error::NamedTwice { name: format!("record {}", op.record) });
            }
            let limit = self.max_payload();
            if let Some(value) = op.value.filter(|value| value.len() > limit) {
                return Err(Error::TooLarge { length: value.len(), limit });
            }
        }
        if ops.iter().all(|op| op.value.is_none()) {
            return Err(Error::NothingToWrite { checks: ops.len() });
        }
        Ok(())
    }
}
