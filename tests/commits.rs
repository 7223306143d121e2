//! Commits over several records (P5): all or nothing for everybody, in any order, with nothing lost.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use harness::random::Random;
use slotguard::{Deadline, Error, Outcome, RecordOp, Resource, Segment, Version};

fn segment(records: u32) -> Segment {
    Segment::builder().records(records).lanes(64).payload(64).anonymous().unwrap()
}

fn number(segment: &Segment, record: u32) -> (i64, Version) {
    let mut value = Vec::new();
    let stamp = segment.record(record).unwrap().read(&mut value).unwrap();
    (value.as_slice().try_into().map_or(0, i64::from_le_bytes), stamp.version)
}

/// Moves `amount` from one record to another, however often others are first.
fn transfer(segment: &Segment, from: u32, to: u32, amount: i64) {
    loop {
        let ((left, left_version), (right, right_version)) = (number(segment, from), number(segment, to));
        let (left, right) = ((left - amount).to_le_bytes(), (right + amount).to_le_bytes());
        let ops = [
            RecordOp::write(from, &left).if_version(left_version),
            RecordOp::write(to, &right).if_version(right_version),
        ];
        if let Outcome::Committed(_) = segment.commit(&ops).unwrap() {
            return;
        }
    }
}

/// All records' sum as of one moment: a commit that checks every version and writes one more record.
fn sum_at_one_moment(segment: &Segment, records: u32) -> i64 {
    loop {
        let seen: Vec<_> = (0..records).map(|record| number(segment, record)).collect();
        let mut ops: Vec<_> =
            (0..).zip(&seen).map(|(record, (_, version))| RecordOp::check(record, *version)).collect();
        ops.push(RecordOp::write(records, b"looked"));
        if let Outcome::Committed(_) = segment.commit(&ops).unwrap() {
            return seen.iter().map(|(value, _)| value).sum();
        }
    }
}

#[test]
fn a_commit_changes_all_its_records_with_one_revision() {
    let segment = segment(4);
    let ops = [RecordOp::write(2, b"two"), RecordOp::write(0, b"zero"), RecordOp::check(3, Version(0))];
    let Outcome::Committed(revision) = segment.commit(&ops).unwrap() else { panic!("nobody was in the way") };
    let mut value = Vec::new();
    for (record, expected) in [(0, "zero"), (2, "two")] {
        let stamp = segment.record(record).unwrap().read(&mut value).unwrap();
        assert_eq!((value.as_slice(), stamp.version, stamp.revision), (expected.as_bytes(), Version(1), revision));
    }
    let (_, untouched) = number(&segment, 3);
    assert_eq!(untouched, Version(0), "a check changes nothing");
}

#[test]
fn a_commit_whose_condition_is_false_changes_nothing() {
    let segment = segment(3);
    segment.record(1).unwrap().update(|_, draft| draft.write(b"x")).unwrap();
    let before = segment.revision();
    for ops in [
        [RecordOp::write(0, b"a"), RecordOp::check(1, Version(0))],
        [RecordOp::write(0, b"a").if_version(Version(1)), RecordOp::write(1, b"b")],
    ] {
        assert_eq!(segment.commit(&ops).unwrap(), Outcome::Conflict);
    }
    assert_eq!(segment.commit(&[RecordOp::write(1, b"b").if_version(Version(7))]).unwrap(), Outcome::Conflict);
    assert_eq!(number(&segment, 0).1, Version(0));
    assert_eq!((number(&segment, 1).1, segment.revision()), (Version(1), before));
}

#[test]
fn a21_transfers_in_opposite_orders_lose_nothing_and_wait_for_nobody() {
    const RECORDS: u32 = 3;
    let segment = segment(RECORDS + 1);
    let (workers, transfers) = (8, if cfg!(debug_assertions) { 2_000 } else { 20_000 });
    let barrier = Barrier::new(workers);
    thread::scope(|scope| {
        for worker in 0..workers as u32 {
            let (segment, barrier) = (&segment, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for i in 0..transfers {
                    let from = (worker + i) % RECORDS;
                    let to = if worker % 2 == 0 { (from + 1) % RECORDS } else { (from + 2) % RECORDS };
                    transfer(segment, from, to, 1);
                }
            });
        }
    });
    let (values, versions): (Vec<_>, Vec<_>) = (0..RECORDS).map(|record| number(&segment, record)).unzip();
    assert_eq!(values.iter().sum::<i64>(), 0);
    let changes: u64 = versions.iter().map(|version| version.0).sum();
    assert_eq!(changes, 2 * workers as u64 * u64::from(transfers), "every transfer is two changes, once each");
    let audit = segment.audit().unwrap();
    assert_eq!((audit.missing, audit.doubled, audit.pending), (0, 0, 0));
}

#[test]
fn every_snapshot_beside_transfers_and_updates_sums_to_the_same() {
    const RECORDS: u32 = 16;
    let segment = segment(RECORDS + 2);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for worker in 0..3u32 {
            let (segment, done) = (&segment, &done);
            scope.spawn(move || {
                let mut random = Random::from_seed(worker.into());
                while !done.load(Ordering::Relaxed) {
                    let mut below = |bound: u32| random.below(bound.into()) as u32;
                    let (from, step) = (below(RECORDS), 1 + below(RECORDS - 1));
                    transfer(segment, from, (from + step) % RECORDS, below(256).into());
                    let other = random.next().to_le_bytes();
                    segment.record(RECORDS + 1).unwrap().update(|_, draft| draft.write(&other)).unwrap();
                }
            });
        }
        for _ in 0..if cfg!(debug_assertions) { 300 } else { 3_000 } {
            assert_eq!(sum_at_one_moment(&segment, RECORDS), 0);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_waiter_is_woken_by_a_commit() {
    let segment = segment(2);
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..2)
            .map(|record| {
                let segment = &segment;
                scope.spawn(move || segment.record(record).unwrap().wait_newer(Version(0), Deadline::never()).unwrap())
            })
            .collect();
        let either = scope.spawn(|| segment.wait_any(&[(0, Version(0)), (1, Version(0))], Deadline::never()).unwrap());
        segment.commit(&[RecordOp::write(1, b"b"), RecordOp::write(0, b"a")]).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Some(Version(1)));
        }
        assert!(either.join().unwrap().is_some());
    });
}

/// Two threads take turns through commits of two records each; `wait` waits until record 0 has another version.
fn take_turns(wait: impl Fn(&Segment, Version) + Sync) {
    const TURNS: u64 = if cfg!(debug_assertions) { 2_000 } else { 20_000 };
    let segment = segment(2);
    thread::scope(|scope| {
        for me in 0..2 {
            let (segment, wait) = (&segment, &wait);
            scope.spawn(move || {
                for turn in (me..TURNS).step_by(2) {
                    while number(segment, 0).1 != Version(turn) {
                        wait(segment, number(segment, 0).1.min(Version(turn - 1)));
                    }
                    let ops = [RecordOp::write(0, b"mine").if_version(Version(turn)), RecordOp::write(1, b"too")];
                    assert!(matches!(segment.commit(&ops).unwrap(), Outcome::Committed(_)));
                }
            });
        }
    });
    assert_eq!(number(&segment, 1).1, Version(TURNS));
}

#[test]
fn two_who_take_turns_by_commits_never_both_sleep() {
    take_turns(|segment, seen| {
        segment.record(0).unwrap().wait_newer(seen, Deadline::never()).unwrap();
    });
}

#[test]
fn two_who_take_turns_by_commits_and_wait_for_any_never_both_sleep() {
    take_turns(|segment, seen| {
        segment.wait_any(&[(0, seen)], Deadline::never()).unwrap();
    });
}

#[test]
fn of_two_commits_that_check_what_the_other_writes_one_is_refused() {
    let segment = segment(2);
    let barrier = Barrier::new(2);
    let rounds = if cfg!(debug_assertions) { 1_000 } else { 10_000 };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..2u32)
            .map(|me| {
                let (segment, barrier) = (&segment, &barrier);
                scope.spawn(move || {
                    let mut won = 0;
                    for _ in 0..rounds {
                        barrier.wait();
                        let seen = [0, 1].map(|record| number(segment, record).1);
                        barrier.wait();
                        let other = 1 - me;
                        let ops = [RecordOp::write(me, b"x"), RecordOp::check(other, seen[other as usize])];
                        won += u32::from(segment.commit(&ops).unwrap() != Outcome::Conflict);
                    }
                    won
                })
            })
            .collect();
        let won: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(won, rounds, "one of two, every time");
    });
}

#[test]
fn what_is_no_commit_is_refused_with_an_error_of_its_own() {
    let segment = segment(40);
    let refused = |ops: &[RecordOp<'_>]| segment.commit(ops).unwrap_err();
    let many: Vec<_> = (0..33).map(|record| RecordOp::write(record, b"x")).collect();
    assert!(matches!(refused(&many), Error::TooManyOps { ops: 33, limit: 32 }));
    let error = refused(&[RecordOp::write(1, b"x"), RecordOp::check(1, Version(0))]);
    assert!(matches!(&error, Error::NamedTwice { name } if name == "record 1"), "{error}");
    assert!(matches!(refused(&[RecordOp::check(1, Version(0))]), Error::NothingToWrite { checks: 1 }));
    assert!(matches!(refused(&[]), Error::NothingToWrite { checks: 0 }));
    let error = refused(&[RecordOp::write(1, b"x"), RecordOp::write(40, b"x")]);
    assert!(matches!(error, Error::OutOfRange { record: 40, records: 40 }));
    let error = refused(&[RecordOp::write(1, b"x"), RecordOp::write(2, &[0; 65])]);
    assert!(matches!(error, Error::TooLarge { length: 65, limit: 64 }));

    let claim = segment.record(2).unwrap().claim(Deadline::now(), std::time::Duration::from_secs(60)).unwrap();
    let other = segment.reopen().unwrap();
    let error = other.commit(&[RecordOp::write(1, b"x"), RecordOp::write(2, b"x")]).unwrap_err();
    assert!(matches!(&error, Error::Held(holder) if holder.record == 2), "{error}");
    claim.release().unwrap();
    assert_eq!(segment.revision(), slotguard::Revision(2), "nothing but the claim and its release took place");
    assert_eq!(segment.commit(&many[..32]).unwrap(), Outcome::Committed(segment.revision()));
}

#[test]
fn commits_of_as_many_threads_as_there_are_lanes_find_room_in_a_segment_full_of_values() {
    let segment = Segment::builder().records(64).payload(8).lanes(8).anonymous().unwrap();
    for record in 0..64 {
        segment.record(record).unwrap().update(|_, draft| draft.write(b"x")).unwrap();
    }
    thread::scope(|scope| {
        for worker in 0..7u32 {
            let segment = &segment;
            scope.spawn(move || {
                for round in 0..500 {
                    let ops: Vec<_> =
                        (0..8).map(|i| RecordOp::write((worker * 9 + round + i * 7) % 64, b"y")).collect();
                    assert!(matches!(segment.commit(&ops).unwrap(), Outcome::Committed(_)));
                }
            });
        }
    });
}

#[test]
fn a_commit_that_finds_too_few_blocks_changes_nothing_and_keeps_none() {
    let segment = Segment::builder().records(8).lanes(1).payloads(&[(8, 4)]).anonymous().unwrap();
    let ops: Vec<_> = (0..8).map(|record| RecordOp::write(record, b"x")).collect();
    let error = segment.commit(&ops).unwrap_err();
    assert!(matches!(error, Error::Full { what: Resource::Blocks { length: 1 }, limit: 4, .. }), "{error}");
    let audit = segment.audit().unwrap();
    assert_eq!((audit.free, audit.in_spares, audit.under_heads), (3, 1, 0), "the lane keeps its one spare");
    assert!(matches!(segment.commit(&ops[..3]).unwrap(), Outcome::Committed(_)));
}
