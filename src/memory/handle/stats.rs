//! What a segment counts about itself, readable while its users hang or are dead.

use std::time::SystemTime;

use super::segment::Segment;
use crate::error::ErrorKind;
use crate::memory::layout::sections::{ErrorRow, HISTOGRAM};
use crate::memory::os::host;
use crate::memory::sync::atomics::Ordering::{Acquire, Relaxed};

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
