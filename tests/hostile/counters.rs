//! Counters set to what takes years to reach: every change is still there once, reads are right across the wrap, and where
//! a counter truly ends there is an error.

use std::mem::offset_of;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::scope;
use std::time::Duration;

use slotguard::{Deadline, Error, ErrorKind, Outcome, Resource, Result, Segment, SegmentBuilder, Version};

use crate::forked::fork;
use crate::memory::Bytes;
use crate::memory::sections::{BlockHead, Lane, Row};
use crate::memory::word::{Group, Head, RowWord, WaitWord};
use harness::isolated::{folder, isolated};

const LEASE: Duration = Duration::from_secs(600);
/// Revisions and versions end here.
const LAST: u64 = 1 << 62;

fn small() -> SegmentBuilder {
    Segment::builder().records(30).lanes(8).participants(8).payload(64)
}

fn made(folder: &Path) -> (Segment, Bytes) {
    let path = folder.join("segment");
    let segment = small().create(&path).unwrap();
    (segment, Bytes::of(&path))
}

/// Adds one to the count a record holds.
fn add(segment: &Segment, record: u32) -> Result<slotguard::Stamp> {
    let add = |old: &[u8], draft: &mut slotguard::Draft<'_>| {
        let count = old.try_into().map_or(0, u64::from_le_bytes);
        draft.write(&(count + 1).to_le_bytes());
    };
    segment.record(record)?.update(add).map(|((), stamp)| stamp)
}

#[track_caller]
fn holds(segment: &Segment, record: u32, count: u64) {
    let mut value = Vec::new();
    let stamp = segment.record(record).unwrap().read(&mut value).unwrap();
    assert_eq!((stamp.version, &value[..]), (Version(count), &count.to_le_bytes()[..]));
    assert_eq!(segment.record(record).unwrap().verify().unwrap(), stamp);
}

/// Several threads add to some records: the answers must be the versions 1 to N of each, each once, and the last is there.
fn adding_at_once_loses_nothing(segment: &Segment, records: u32) {
    let total = AtomicU64::new(0);
    scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for turn in 0..300 {
                    total.fetch_add(add(segment, turn % records).unwrap().version.0, Relaxed);
                }
            });
        }
    });
    let each = u64::from(4 * 300 / records);
    (0..records).for_each(|record| holds(segment, record, each));
    assert_eq!(total.load(Relaxed), u64::from(records) * each * (each + 1) / 2, "each version was answered once");
    let audit = segment.audit().unwrap();
    assert_eq!((audit.missing, audit.doubled, audit.pending), (0, 0, 0));
}

#[test]
fn at_the_end_of_the_clock_changes_are_refused_and_reads_go_on() {
    let folder = folder();
    let (segment, bytes) = made(folder.path());
    bytes.set(bytes.clock(), LAST - 5);
    for left in (0..5).rev() {
        assert_eq!(add(&segment, 0).unwrap().revision.0, LAST - left, "every number there is, is given");
    }
    let at_the_end = |error: Error| match error {
        Error::Full { what: Resource::Revisions, limit: LAST, .. } => {
            assert!(error.to_string().contains("make a new segment"), "{error}");
        }
        other => panic!("{other:?}"),
    };
    // Over and over: a refusal costs nothing.
    for record in 0..30 {
        at_the_end(add(&segment, record).unwrap_err());
        let record = segment.record(record).unwrap();
        at_the_end(record.claim(Deadline::now(), LEASE).unwrap_err());
        scope(|scope| at_the_end(scope.spawn(|| add(&segment, 0)).join().unwrap().unwrap_err()));
    }
    holds(&segment, 0, 5);
    assert_eq!(segment.record(0).unwrap().wait_newer(Version(4), Deadline::now()).unwrap(), Some(Version(5)));
    let audit = segment.audit().unwrap();
    assert_eq!((audit.missing, audit.doubled, audit.pending, audit.lanes_taken), (0, 0, 0, 1));
    assert!(audit.in_spares <= 2, "{audit:?}");
}

#[test]
fn a_clock_past_its_end_is_survived() {
    let folder = folder();
    for clock in [LAST, (1 << 63) - 1, 1 << 63, u64::MAX - 1, u64::MAX] {
        let (segment, bytes) = made(folder.path());
        add(&segment, 0).unwrap();
        bytes.set(bytes.clock(), clock);
        // A lane that knew an earlier clock may draw one number too many.
        for record in [0, 1, 0, 1] {
            let _ = add(&segment, record);
            let _ = segment.record(record).unwrap().verify();
            scope(|scope| drop(scope.spawn(|| add(&segment, record)).join().unwrap()));
        }
        let _ = segment.revision();
        Segment::remove(segment.path().unwrap()).unwrap();
    }
}

#[test]
fn a_clock_whose_tags_repeat_loses_nothing() {
    let folder = folder();
    let (segment, bytes) = made(folder.path());
    bytes.set(bytes.clock(), (1 << 49) - 500);
    adding_at_once_loses_nothing(&segment, 3);
    assert!(segment.revision().0 > 1 << 49);
}

#[test]
fn a_stamp_that_wraps_loses_nothing() {
    let folder = folder();
    let (segment, bytes) = made(folder.path());
    let end = 1 << 40;
    for (record, before) in [(0, 100), (1, 1), (2, 2)] {
        bytes.set(bytes.head(record), Head::value(end - before, 0).0);
    }
    adding_at_once_loses_nothing(&segment, 3);
    let count = Head(bytes.word(bytes.head(0))).count();
    assert!(count < 1000, "the count has wrapped: {count}");

    // With a claim on either side of the wrap.
    let head = Head(bytes.word(bytes.head(0)));
    bytes.set(bytes.head(0), Head::value(end - 2, head.block()).0);
    let record = segment.record(0).unwrap();
    for version in 400..410 {
        let mut claim = record.claim(Deadline::now(), LEASE).unwrap();
        claim.renew(LEASE).unwrap();
        assert_eq!(add(&segment, 0).unwrap_err().kind(), ErrorKind::Held);
        assert_eq!(claim.commit(b"claimed").unwrap().version, Version(version + 1));
        assert_eq!(record.compare_and_swap(Version(version), b"late").unwrap(), Outcome::Conflict);
    }
}

/// Lets somebody wait and be woken by a change, so often that the count of wake-ups wraps; `arms` tells when he waits.
fn woken_across_the_wrap(segment: &Segment, waits: impl Fn() -> bool, wait: impl Fn(u64) + Sync) {
    for version in 0..12 {
        scope(|scope| {
            let waiter = scope.spawn(|| wait(version));
            while !waits() {
                std::thread::yield_now();
            }
            add(segment, 0).unwrap();
            waiter.join().unwrap();
        });
    }
    holds(segment, 0, 12);
}

#[test]
fn a_count_of_wake_ups_that_wraps_keeps_nobody_asleep() {
    isolated(|folder| {
        let (segment, bytes) = made(folder);
        let event = || WaitWord(bytes.word(bytes.wait(0)) as u32);
        bytes.write(bytes.wait(0), &(u32::MAX - 7).to_ne_bytes());
        assert!(!event().somebody_waits());
        woken_across_the_wrap(
            &segment,
            || event().somebody_waits(),
            |version| {
                let record = segment.record(0).unwrap();
                assert_eq!(record.wait_newer(Version(version), Deadline::never()).unwrap(), Some(Version(version + 1)));
            },
        );
        assert!(event().0 < 100, "the count has wrapped: {:?}", event());
    });
}

#[test]
fn a_count_of_turns_that_wraps_keeps_no_claimer_asleep() {
    isolated(|folder| {
        let (segment, bytes) = made(folder);
        let turn = || WaitWord(bytes.word(bytes.claim_wait(0)) as u32);
        bytes.write(bytes.claim_wait(0), &(u32::MAX - 7).to_ne_bytes());
        for version in 0..12 {
            let claim = segment.record(0).unwrap().claim(Deadline::never(), LEASE).unwrap();
            bytes.write(bytes.claim_wait(0), &(turn().0 & !WaitWord::WAITING).to_ne_bytes());
            scope(|scope| {
                let claimer = scope.spawn(|| {
                    let claim = segment.record(0).unwrap().claim(Deadline::never(), LEASE).unwrap();
                    claim.commit(b"next").unwrap().version
                });
                while !turn().somebody_waits() {
                    std::thread::yield_now();
                }
                claim.release().unwrap();
                assert_eq!(claimer.join().unwrap(), Version(version + 1));
            });
        }
        assert!(turn().0 < 100, "the count has wrapped: {:?}", turn());
    });
}

#[test]
fn a_count_of_a_groups_changes_that_wraps_keeps_nobody_asleep() {
    isolated(|folder| {
        let (segment, bytes) = made(folder);
        let group = || Group(bytes.word(bytes.group(0)));
        bytes.set(bytes.group(0), u64::MAX << Group::WAKE_BITS << 2);
        woken_across_the_wrap(
            &segment,
            || group().wake() != 0,
            |version| {
                let seen = [(3, Version(0)), (0, Version(version))];
                assert_eq!(segment.wait_any(&seen, Deadline::never()).unwrap(), Some(0));
            },
        );
        assert!(group().count() < 100, "the count has wrapped: {:?}", group());
    });
}

#[test]
fn a_version_at_its_end_is_refused() {
    let folder = folder();
    let (segment, bytes) = made(folder.path());
    add(&segment, 0).unwrap();
    let record = segment.record(0).unwrap();
    for end in [LAST, u64::MAX - 1, u64::MAX] {
        bytes.set(bytes.block_of(0) + offset_of!(BlockHead, version), end);
        let full = |error: Error| assert_eq!(error.kind(), ErrorKind::Full, "{error}");
        full(add(&segment, 0).unwrap_err());
        full(record.compare_and_swap(Version(end), b"next").unwrap_err());
        full(record.claim(Deadline::now(), LEASE).map(drop).unwrap_err());
        assert_eq!(record.verify().unwrap().version, Version(end));
        assert_eq!(record.wait_newer(Version(end), Deadline::now()).unwrap(), None);
    }
    bytes.set(bytes.block_of(0) + offset_of!(BlockHead, version), LAST - 1);
    assert_eq!(add(&segment, 0).unwrap().version, Version(LAST), "the last");
    assert_eq!(add(&segment, 0).unwrap_err().kind(), ErrorKind::Full);
}

#[test]
fn an_epoch_that_wraps_mistakes_nobody_for_somebody_else() {
    isolated(|folder| {
        let path = folder.join("segment");
        let segment = small().participants(2).create(&path).unwrap();
        let bytes = Bytes::of(&path);
        let row = 1 - segment.vector().participant();
        let last = (1 << 48) - 1;
        bytes.set(bytes.row(row) + offset_of!(Row, word), (last - 1) << 1);
        let epoch = |segment: &Segment| {
            let members = segment.participants().unwrap();
            members.iter().find(|member| member.row == row).map(|member| member.epoch)
        };
        fork(|| {
            let mine = Segment::open(&path).unwrap();
            assert_eq!(epoch(&mine), Some(last));
            std::mem::forget(mine.record(0).unwrap().claim(Deadline::now(), LEASE).unwrap());
            std::mem::forget(mine);
        })
        .join();
        assert!(RowWord(bytes.word(bytes.row(row) + offset_of!(Row, word))).is_attached(), "it left no word");
        let next = Segment::open(&path).unwrap();
        assert_eq!(epoch(&segment), Some(1), "the epoch after the last is the first, never none");
        assert_eq!(segment.record(0).unwrap().holder().unwrap(), None, "the claim was another's");
        let claim = next.record(0).unwrap().claim(Deadline::now(), LEASE).unwrap();
        assert_eq!(add(&segment, 0).unwrap_err().kind(), ErrorKind::Held);
        claim.release().unwrap();
    });
}

#[test]
fn a_vector_clocks_counter_ends_with_an_error() {
    let folder = folder();
    let (segment, bytes) = made(folder.path());
    let me = segment.vector().participant();
    bytes.set(bytes.row(me) + offset_of!(Row, ticks), u64::MAX - 1);
    assert_eq!(segment.vector().tick().unwrap(), u64::MAX);
    for _ in 0..3 {
        let error = segment.vector().tick().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let seen = segment.vector().snapshot().unwrap();
        assert!(seen.iter().any(|(row, count)| (row, count) == (me, u64::MAX)), "it never runs backwards");
    }
}

#[test]
fn statistics_that_wrap_disturb_nobody() {
    let folder = folder();
    let (segment, bytes) = made(folder.path());
    add(&segment, 0).unwrap();
    for lane in 0..8 {
        bytes.set(bytes.lane(lane) + offset_of!(Lane, updates), u64::MAX);
        bytes.set(bytes.lane(lane) + offset_of!(Lane, conflicts), u64::MAX);
    }
    let counters = offset_of!(crate::memory::sections::Header, counters);
    for word in 0..size_of::<crate::memory::sections::Counters>() / 8 {
        bytes.set(counters + word * 8, u64::MAX);
    }
    let claim = segment.record(1).unwrap().claim(Deadline::now(), LEASE).unwrap();
    let held = || add(&segment, 1).unwrap_err();
    assert_eq!(held().kind(), ErrorKind::Held);
    bytes.set(bytes.geometry.errors + offset_of!(crate::memory::sections::ErrorRow, count), u64::MAX);
    assert_eq!(held().kind(), ErrorKind::Held);
    claim.release().unwrap();
    add(&segment, 0).unwrap();
    assert_eq!(
        segment.record(0).unwrap().wait_newer(Version(2), Deadline::after(Duration::from_millis(1))).unwrap(),
        None
    );
    let stats = segment.stats();
    assert_eq!((stats.waits, stats.wakes), (0, u64::MAX), "one wait more than there can be");
    assert_eq!(stats.errors[0].count, 0);
}
