//! A segment: records shared by the processes of one machine, without a server.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::record::Record;
use crate::clock::{Deadline, Revision, Version};
use crate::error::{Error, Result};
use crate::memory::liveness::attachment::Attachment;
use crate::memory::liveness::audit::Audit;
use crate::memory::liveness::participants::Participant;
use crate::memory::liveness::recovery::Reaped;
use crate::memory::sync::atomics::Ordering::Acquire;

/// An attachment to a segment. Clones are the same attachment; the last one dropped gives its row and lanes back.
///
/// ```
/// use slotguard::Segment;
/// # fn main() -> slotguard::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("counters");
/// let segment = Segment::builder().records(16).payload(64).open_or_create(&path)?;
/// let (count, stamp) = segment.record(3)?.update(|old, draft| {
///     let count = old.try_into().map_or(0, u64::from_le_bytes) + 1;
///     draft.write(&count.to_le_bytes());
///     count
/// })?;
/// assert_eq!((count, stamp.version.0), (1, 1));
/// Segment::remove(&path)?;
/// # Ok(())
/// # }
/// ```
///
/// # When a process dies
/// Nothing acknowledged is lost, nobody waits for it for longer than two [`WAIT_SLICE`](crate::WAIT_SLICE)s, and what it
/// held (row, lanes, blocks, claims) is free again as soon as somebody needs it, at the latest at [`Segment::reap`].
///
/// # Forks
/// A forked child does not inherit the attachment: every call answers [`Error::Forked`] there, and
/// [`Segment::reopen`] makes an attachment of the child's own.
#[derive(Clone)]
pub struct Segment {
    pub(crate) inner: Arc<Attachment>,
}

impl Segment {
    /// The record with this number, 0 to [`Segment::records`] − 1.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    #[inline]
    pub fn record(&self, index: u32) -> Result<Record<'_>> {
        let records = self.records();
        if index >= records {
            return Err(Error::OutOfRange { record: index, records });
        }
        Ok(Record::new(&self.inner, index))
    }

    /// Waits until one of the records has another version than the one given with it; answers its number, the first in
    /// the order given if several have, or `None` once the deadline has passed.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Cancelled`], [`Error::Retired`], [`Error::Corrupt`].
    pub fn wait_any(&self, seen: &[(u32, Version)], deadline: Deadline) -> Result<Option<u32>> {
        for (index, _) in seen {
            self.record(*index)?;
        }
        self.inner.counted(self.inner.wait_any(seen, &deadline))
    }

    /// The clock: every change acknowledged before this call has this revision or a smaller one.
    pub fn revision(&self) -> Revision {
        Revision(self.inner.arena.clock().load(Acquire))
    }

    /// How many records the segment has.
    #[inline]
    pub fn records(&self) -> u32 {
        self.inner.arena.geometry.shape.records
    }

    /// For how many keys and leases at once the segment has room; 0: it has no directory.
    pub fn keys(&self) -> u32 {
        self.inner.arena.geometry.shape.keys
    }

    /// Most bytes a value can have.
    pub fn max_payload(&self) -> usize {
        self.inner.max_payload()
    }

    /// Bytes of the segment.
    pub fn size(&self) -> u64 {
        self.inner.arena.geometry.size as u64
    }

    /// Where the segment is; `None` if it is anonymous.
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// All attached, and the dead that are not recovered yet.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Retired`].
    pub fn participants(&self) -> Result<Vec<Participant>> {
        self.inner.check()?;
        Ok(self.inner.participants())
    }

    /// Recovers every dead participant now, instead of when somebody needs what it had: its unfinished changes are
    /// completed, its lanes and row are free.
    ///
    /// # Errors
    /// As [`Segment::participants`].
    pub fn reap(&self) -> Result<Reaped> {
        self.inner.check()?;
        Ok(self.inner.reap())
    }

    /// Counts where every block is.
    ///
    /// # Errors
    /// As [`Segment::participants`].
    pub fn audit(&self) -> Result<Audit> {
        self.inner.check()?;
        Ok(self.inner.arena.audit())
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("path", &self.path())
            .field("records", &self.records())
            .field("size", &self.size())
            .field("row", &self.inner.me.row())
            .finish()
    }
}
