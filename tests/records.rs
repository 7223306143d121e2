//! Records: nothing lost, nothing torn, everything in order (P1, P3, P6; acceptance A8, D9, B23 and D26 of the sources).

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use slotguard::{Error, Mismatch, Outcome, Revision, Segment, Stamp, Version, fnv1a64};

fn segment(records: u32, lanes: u32) -> Segment {
    Segment::builder().records(records).lanes(lanes).payload(64).anonymous().unwrap()
}

/// The number in the first eight bytes of a value; 0 if it is empty.
fn count(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn increment(segment: &Segment, record: u32) -> (u64, Stamp) {
    let change = |old: &[u8], draft: &mut slotguard::Draft<'_>| {
        let next = count(old) + 1;
        draft.write(&next.to_le_bytes());
        next
    };
    segment.record(record).unwrap().update(change).unwrap()
}

/// B23, S5-9: a thousand calls are a thousand effects, in an order everybody agrees on.
#[test]
fn b23_a_thousand_threads_update_one_record_and_lose_nothing() {
    let segment = segment(1, 1000);
    let acknowledged = Mutex::new(Vec::new());
    let start = Barrier::new(1000);
    thread::scope(|scope| {
        for _ in 0..1000 {
            thread::Builder::new()
                .stack_size(64 << 10)
                .spawn_scoped(scope, || {
                    start.wait();
                    let (value, stamp) = increment(&segment, 0);
                    acknowledged.lock().unwrap().push((value, stamp));
                })
                .unwrap();
        }
    });
    let mut acknowledged = acknowledged.into_inner().unwrap();
    acknowledged.sort_by_key(|(_, stamp)| stamp.version);
    let versions: Vec<u64> = acknowledged.iter().map(|(_, stamp)| stamp.version.0).collect();
    assert_eq!(versions, (1..=1000).collect::<Vec<_>>(), "each version has one winner");
    assert!(acknowledged.iter().all(|(value, stamp)| *value == stamp.version.0), "each effect is in the value");
    assert!(
        acknowledged.windows(2).all(|pair| pair[0].1.revision < pair[1].1.revision),
        "revisions grow with versions"
    );
    let mut value = Vec::new();
    let stamp = segment.record(0).unwrap().read(&mut value).unwrap();
    assert_eq!((count(&value), stamp.version), (1000, Version(1000)));
}

#[test]
fn b23_updates_of_distinct_records_do_not_meet() {
    let segment = segment(8, 8);
    thread::scope(|scope| {
        for record in 0..8 {
            let segment = &segment;
            scope.spawn(move || {
                for _ in 0..1000 {
                    increment(segment, record);
                }
            });
        }
    });
    for record in 0..8 {
        assert_eq!(segment.record(record).unwrap().verify().unwrap().version, Version(1000));
    }
    assert_eq!((segment.stats().updates, segment.stats().conflicts), (8000, 0));
    assert_eq!(segment.revision(), Revision(8000));
}

/// P3: each value bears one author's number in every word, so a mix would show.
#[test]
fn a_reader_beside_writers_sees_whole_values_that_never_run_backwards() {
    let segment = Segment::builder().records(1).lanes(4).payload(1024).anonymous().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let fill = |old: &[u8], draft: &mut slotguard::Draft<'_>| {
                            let next = count(old) + 1;
                            draft.write(&next.to_le_bytes().repeat(1 + (next % 128) as usize));
                        };
                        segment.record(0).unwrap().update(fill).unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                let (mut value, mut last) =
                    (Vec::new(), Stamp { version: Version(0), revision: Revision(0), fingerprint: 0 });
                while !done.load(Ordering::Relaxed) {
                    let stamp = segment.record(0).unwrap().read(&mut value).unwrap();
                    assert_eq!(stamp.version.0, count(&value));
                    assert!(value.chunks(8).all(|word| word == &value[..8]), "torn at version {}", stamp.version);
                    assert_eq!(stamp.fingerprint, fnv1a64(&value));
                    assert!(stamp.version >= last.version && stamp.revision >= last.revision, "ran backwards");
                    assert!(segment.revision() >= stamp.revision, "returned before it was numbered");
                    last = stamp;
                }
            });
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(segment.record(0).unwrap().verify().unwrap().version, Version(40_000));
}

/// P6: a change is published before it is numbered, so the clock read between two equal looks is exact.
#[test]
fn the_clock_between_two_equal_looks_gives_the_state_at_that_revision() {
    let segment = segment(2, 4);
    let histories: [Mutex<Vec<Stamp>>; 2] = Default::default();
    let done = AtomicBool::new(false);
    let looks = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|record| {
                let (segment, histories) = (&segment, &histories);
                scope.spawn(move || {
                    for _ in 0..30_000 {
                        histories[record].lock().unwrap().push(increment(segment, record as u32).1);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let both = || [0, 1].map(|record| segment.record(record).unwrap().read(&mut Vec::new()).unwrap().version.0);
            while !done.load(Ordering::Relaxed) {
                let first = both();
                let clock = segment.revision();
                if both() == first {
                    looks.lock().unwrap().push((clock, first));
                }
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    let histories = histories.map(|history| history.into_inner().unwrap());
    let looks = looks.into_inner().unwrap();
    assert!(looks.len() > 100, "only {} of the looks were equal twice", looks.len());
    for (clock, versions) in looks {
        for (history, version) in histories.iter().zip(versions) {
            let at_clock = history.partition_point(|stamp| stamp.revision <= clock) as u64;
            assert_eq!(version, at_clock, "at revision {clock}");
        }
    }
}

/// P6: what was acknowledged before another change began has the smaller revision.
#[test]
fn revisions_respect_real_time_across_records() {
    let segment = segment(4, 4);
    let newest = AtomicU64::new(0);
    thread::scope(|scope| {
        for record in 0..4 {
            let (segment, newest) = (&segment, &newest);
            scope.spawn(move || {
                for _ in 0..20_000 {
                    let before = newest.load(Ordering::SeqCst);
                    let revision = increment(segment, record).1.revision.0;
                    assert!(revision > before, "{revision} was given after {before} was acknowledged");
                    newest.fetch_max(revision, Ordering::SeqCst);
                }
            });
        }
    });
}

/// A8: revision 0 / right / wrong / stale.
#[test]
fn a8_compare_and_swap_takes_the_right_version_only() {
    let segment = segment(1, 2);
    let record = segment.record(0).unwrap();
    let mut value = Vec::new();
    assert_eq!(record.read(&mut value).unwrap().version, Version(0));
    assert!(matches!(record.compare_and_swap(Version(0), b"one").unwrap(), Outcome::Committed(_)));
    assert_eq!(record.compare_and_swap(Version(0), b"again").unwrap(), Outcome::Conflict);
    assert!(matches!(record.compare_and_swap(Version(1), b"two").unwrap(), Outcome::Committed(_)));
    assert_eq!(record.compare_and_swap(Version(999), b"wrong").unwrap(), Outcome::Conflict);
    assert_eq!(record.compare_and_swap(Version(1), b"stale").unwrap(), Outcome::Conflict);
    let stamp = record.read(&mut value).unwrap();
    assert_eq!((value.as_slice(), stamp.version), (&b"two"[..], Version(2)));
}

/// D9, S5-3: the same content again is another version.
#[test]
fn d9_a_value_that_returns_does_not_fool_a_stale_version() {
    let segment = segment(1, 2);
    let record = segment.record(0).unwrap();
    let write = |value: &'static [u8]| record.update(|_, draft| draft.write(value)).unwrap().1;
    let a = write(b"A");
    write(b"B");
    let again = write(b"A");
    assert_eq!(a.fingerprint, again.fingerprint);
    assert_eq!(record.compare_and_swap(a.version, b"C").unwrap(), Outcome::Conflict);
    assert!(matches!(record.compare_and_swap(again.version, b"C").unwrap(), Outcome::Committed(_)));
}

#[test]
fn of_many_racing_swaps_of_one_version_exactly_one_wins() {
    let segment = segment(1, 16);
    for round in 0..200 {
        let start = Barrier::new(8);
        let wins: usize = thread::scope(|scope| {
            let racers: Vec<_> = (0..8u8)
                .map(|racer| {
                    let (segment, start) = (&segment, &start);
                    scope.spawn(move || {
                        start.wait();
                        segment.record(0).unwrap().compare_and_swap(Version(round), &[racer]).unwrap()
                            != Outcome::Conflict
                    })
                })
                .collect();
            racers.into_iter().map(|racer| usize::from(racer.join().unwrap())).sum()
        });
        assert_eq!(wins, 1, "round {round}");
    }
}

#[test]
fn an_update_may_decline_return_a_value_and_edit_in_place() {
    let segment = segment(1, 2);
    let record = segment.record(0).unwrap();
    let (answer, stamp) = record.update(|old, _| old.len()).unwrap();
    assert_eq!((answer, stamp.version, stamp.revision), (0, Version(0), Revision(0)));
    assert_eq!(segment.revision(), Revision(0), "declining costs no revision");
    record.update(|_, draft| draft.write(b"abc")).unwrap();
    record.update(|old, draft| draft.edit().extend_from_slice(&old[..1])).unwrap();
    let (_, stamp) = record
        .update(|_, draft| {
            draft.write(b"not this");
            draft.decline();
        })
        .unwrap();
    assert_eq!(stamp.version, Version(2));
    let mut value = Vec::new();
    assert_eq!(record.read(&mut value).unwrap(), stamp);
    assert_eq!(value, b"abca");
}

#[test]
fn values_of_every_length_come_back_whole_and_with_their_fingerprint() {
    let segment = Segment::builder().records(2).lanes(2).payloads(&[(8, 8), (64, 8), (300, 8)]).anonymous().unwrap();
    let record = segment.record(1).unwrap();
    let mut read = Vec::new();
    let lengths: Vec<usize> = (0..=300).chain((0..=300).rev()).chain([0, 300, 8, 65, 64, 1]).collect();
    for (change, length) in lengths.iter().enumerate() {
        let value: Vec<u8> = (0..*length).map(|i| (i * 31 + change) as u8).collect();
        let (_, stamp) = record.update(|_, draft| draft.write(&value)).unwrap();
        assert_eq!(record.read(&mut read).unwrap(), stamp);
        assert_eq!((&read, stamp.fingerprint), (&value, fnv1a64(&value)));
        assert_eq!(record.verify().unwrap(), stamp);
        assert_eq!(stamp.version.0, change as u64 + 1);
    }
    let audit = segment.audit().unwrap();
    assert_eq!((audit.missing, audit.doubled, audit.under_heads), (0, 0, 1));
    assert!(audit.in_spares <= 3, "a lane keeps one spare of each class at most: {audit:?}");
}

/// A class that is used up is helped out by a larger one; when that is full as well, nothing changes.
#[test]
fn a_full_class_borrows_from_a_larger_one_and_then_says_full() {
    let segment = Segment::builder().records(8).lanes(1).payloads(&[(8, 3), (64, 3)]).anonymous().unwrap();
    for record in 0..5 {
        increment(&segment, record);
    }
    let error = segment.record(5).unwrap().update(|_, draft| draft.write(b"x")).unwrap_err();
    assert!(matches!(error, Error::Full { limit: 6, .. }), "{error}");
    assert!(error.to_string().contains("all 6 blocks that hold 1 bytes are in use (held by"), "{error}");
    // The last block is the lane's spare, by which records that have a value can still change.
    assert_eq!(increment(&segment, 0).0, 2);
    assert_eq!(segment.record(5).unwrap().read(&mut Vec::new()).unwrap().version, Version(0));
}

#[test]
fn a_typed_record_refuses_other_types_and_raw_bytes_of_another_length() {
    let segment = segment(3, 2);
    let pair = segment.typed::<[u32; 2]>(0).unwrap();
    assert_eq!(pair.read().unwrap().0, [0, 0], "never written: zeros");
    pair.update(|pair| pair[1] = 7).unwrap();
    assert_eq!(pair.read().unwrap().0, [0, 7]);
    let other = segment.typed::<u64>(0).unwrap_err();
    let Error::Incompatible { mismatch: Mismatch::Type { record: 0, length: 8, asked: "u64" }, .. } = other else {
        panic!("{other}");
    };
    let version = pair.read().unwrap().1.version;
    assert!(matches!(pair.compare_and_swap(version, &[1, 2]).unwrap(), Outcome::Committed(_)));
    pair.record().update(|_, draft| draft.write(b"xyz")).unwrap();
    assert!(matches!(pair.read(), Err(Error::Incompatible { .. })));
    assert!(matches!(pair.update(|_| ()), Err(Error::Incompatible { .. })));
}

/// Nothing that is acknowledged is missing from a final scan (D26), over many records and processes' worth of lanes.
#[test]
fn d26_every_acknowledged_update_is_found_exactly_once() {
    let segment = Segment::builder().records(4).lanes(8).payload(4096).anonymous().unwrap();
    let acknowledged = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        for worker in 0..8u32 {
            let (segment, acknowledged) = (&segment, &acknowledged);
            scope.spawn(move || {
                for i in 0..100u32 {
                    let (record, id) = ((worker + i) % 4, worker << 16 | i);
                    let append = |_: &[u8], draft: &mut slotguard::Draft<'_>| {
                        draft.edit().extend_from_slice(&id.to_le_bytes());
                    };
                    segment.record(record).unwrap().update(append).unwrap();
                    assert!(acknowledged.lock().unwrap().insert(id));
                }
            });
        }
    });
    let mut found = Vec::new();
    for record in 0..4 {
        let mut value = Vec::new();
        segment.record(record).unwrap().read(&mut value).unwrap();
        found.extend(value.chunks_exact(4).map(|id| u32::from_le_bytes(id.try_into().unwrap())));
    }
    assert_eq!(found.len(), 800);
    assert_eq!(found.into_iter().collect::<HashSet<_>>(), acknowledged.into_inner().unwrap());
}

#[test]
fn the_counters_count_what_happened() {
    let segment = segment(2, 2);
    increment(&segment, 0);
    increment(&segment, 0);
    let held =
        segment.record(1).unwrap().claim(slotguard::Deadline::now(), std::time::Duration::from_secs(60)).unwrap();
    assert!(segment.record(1).unwrap().update(|_, draft| draft.write(b"x")).is_err());
    assert!(segment.record(1).unwrap().update(|_, draft| draft.write(b"x")).is_err());
    held.release().unwrap();
    let stats = segment.stats();
    assert_eq!((stats.updates, stats.conflicts, stats.corrupt, stats.fenced), (4, 0, 0, 0));
    let [held] = stats.errors.as_slice() else { panic!("{stats:?}") };
    assert_eq!((held.kind, held.record, held.count), (slotguard::ErrorKind::Held, 1, 2));
    assert!(held.first <= held.last);
}
