//! What a segment counts about itself, readable while its users hang or are dead.

use std::time::{Duration, SystemTime};

use super::segment::Segment;
use crate::error::{Error, ErrorKind};
use crate::memory::layout::sections::{ErrorRow, HISTOGRAM};
use crate::memory::liveness::attachment::Attachment;
use crate::memory::os::host;
use crate::memory::sync::atomics::Ordering::{AcqRel, Acquire, Relaxed};

/// What has happened in a segment since it was created, in all processes, the dead included.
///
/// The counters of one call are read one after another, not at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Changes acknowledged: updates, compare-and-swaps, claims, their renewals, commits and releases.
    pub updates: u64,
    /// Races lost: how often a change had to be tried again.
    pub conflicts: u64,
    /// Waits that slept.
    pub waits: u64,
    /// Wake-ups sent to sleepers, one a word however many slept there.
    pub wakes: u64,
    /// Dead participants recovered.
    pub recoveries: u64,
    /// Changes finished by somebody other than their author.
    pub helped: u64,
    /// Writes refused because the claim they were made under had ended.
    pub fenced: u64,
    /// Operations refused because the segment was damaged.
    pub corrupt: u64,
    /// How long waits that slept took: bucket *i* counts those shorter than 2^*i* microseconds that fit no earlier one.
    pub wait_histogram: [u64; HISTOGRAM],
    /// The distinct errors operations on records have answered, the most frequent first.
    pub errors: Vec<ErrorStat>,
    /// Errors that found no room in the table of distinct errors.
    pub errors_dropped: u64,
}

/// One distinct error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorStat {
    /// Which.
    pub kind: ErrorKind,
    /// The record it was about.
    pub record: u32,
    /// How often.
    pub count: u64,
    /// When first.
    pub first: SystemTime,
    /// When last.
    pub last: SystemTime,
}

impl Segment {
    /// What the segment has counted so far.
    pub fn stats(&self) -> Stats {
        let arena = &self.inner.arena;
        let counters = arena.counters();
        let lanes = || (0..arena.lanes()).filter_map(|index| arena.lane(index));
        let mut errors: Vec<ErrorStat> = arena.error_rows().filter_map(read_row).collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        Stats {
            updates: lanes().fold(0, |sum, lane| sum.wrapping_add(lane.updates.load(Relaxed))),
            conflicts: lanes().fold(0, |sum, lane| sum.wrapping_add(lane.conflicts.load(Relaxed))),
            waits: counters.waits.load(Relaxed),
            wakes: counters.wakes.load(Relaxed),
            recoveries: counters.recoveries.load(Relaxed),
            helped: counters.helped.load(Relaxed),
            fenced: counters.fenced.load(Relaxed),
            corrupt: counters.corrupt.load(Relaxed),
            wait_histogram: std::array::from_fn(|i| counters.histogram[i].load(Relaxed)),
            errors,
            errors_dropped: counters.errors_dropped.load(Relaxed),
        }
    }
}

fn read_row(row: &ErrorRow) -> Option<ErrorStat> {
    let key = row.key.load(Acquire);
    let kind = *ErrorKind::ALL.get((key & 0xff).checked_sub(1)? as usize)?;
    Some(ErrorStat {
        kind,
        record: (key >> 8) as u32,
        count: row.count.load(Relaxed),
        first: host::moment(row.first.load(Relaxed)),
        last: host::moment(row.last.load(Relaxed)),
    })
}

impl Attachment {
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
    pub(crate) fn note_error(&self, error: &Error, record: u32) {
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
