//! Counts what happens in a segment, and enters the errors of public calls into its table of distinct errors.
//!
//! Inside, a step of the protocol fails with a [`ProtocolError`] and `?` passes it on; a public call accounts for what it
//! answers once, at its end.

use std::time::Duration;

use super::attachment::Attachment;
use crate::error::{Error, ErrorKind, Resource, Result};
use crate::memory::layout::sections::HISTOGRAM;
use crate::memory::os::host;
use crate::memory::sync::atomics::Ordering::{AcqRel, Acquire, Relaxed};
use crate::memory::sync::error::ProtocolError;

impl Attachment {
    /// Accounts for the answer of a public call about `record`: its error is entered into the table of distinct errors.
    #[inline(always)]
    pub(crate) fn note<T>(&self, record: u32, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let error = self.account(error);
            self.note_error(&error, record);
            error
        })
    }

    /// Accounts for the answer of a public call that only reads: damage is counted, and the table stays as it is.
    #[inline(always)]
    pub(crate) fn counted<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.account(error))
    }

    /// Counts damage, and names the processes with most lanes if no block is left.
    #[cold]
    fn account(&self, mut error: Error) -> Error {
        match &mut error {
            Error::Corrupt { .. } => {
                self.arena.counters().corrupt.fetch_add(1, Relaxed);
            }
            Error::Full { what: Resource::Blocks { .. }, holders, .. } => *holders = self.lane_users(),
            _ => {}
        }
        error
    }

    /// Counts a write refused for want of its claim.
    pub(crate) fn count_fenced(&self) {
        self.arena.counters().fenced.fetch_add(1, Relaxed);
    }

    /// Counts a wait that slept.
    pub(crate) fn count_wait(&self, took: Duration) {
        let counters = self.arena.counters();
        counters.waits.fetch_add(1, Relaxed);
        let bucket = (u64::BITS - (took.as_micros() as u64).leading_zeros()) as usize;
        counters.histogram[bucket.min(HISTOGRAM - 1)].fetch_add(1, Relaxed);
    }

    /// Enters an error about `record` into the table of distinct errors.
    #[cold]
    fn note_error(&self, error: &Error, record: u32) {
        // In a child or a removed segment nothing is ours to write, and a cancelled wait is no error of anybody's.
        if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Forked | ErrorKind::Retired) {
            return;
        }
        let key = u64::from(record) << 8 | (error.kind() as u64 + 1);
        let now = host::real_time();
        for row in self.arena.error_rows() {
            let found = match row.key.load(Acquire) {
                0 => row.key.compare_exchange(0, key, AcqRel, Acquire).map_or_else(|found| found, |_| key),
                found => found,
            };
            if found == key {
                row.count.fetch_add(1, Relaxed);
                let _ = row.first.compare_exchange(0, now, Relaxed, Relaxed);
                row.last.fetch_max(now, Relaxed);
                return;
            }
        }
        self.arena.counters().errors_dropped.fetch_add(1, Relaxed);
    }
}

impl From<ProtocolError> for Error {
    #[cold]
    fn from(error: ProtocolError) -> Self {
        let full = |what, limit| Self::Full { what, limit, holders: Vec::new() };
        match error {
            ProtocolError::Corrupt { what, place, found } => Self::Corrupt { what, place, found },
            ProtocolError::TooLarge { length, limit } => Self::TooLarge { length, limit },
            ProtocolError::NoBlock { length, limit } => full(Resource::Blocks { length }, limit),
            ProtocolError::ClockEnded { limit } => full(Resource::Revisions, limit),
            ProtocolError::NoNode { limit } => full(Resource::Directory, limit),
            ProtocolError::Outrun { record, rounds } => Self::Outrun { what: format!("record {record}"), rounds },
        }
    }
}
