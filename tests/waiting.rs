//! Waiting: no lost wake-up, no system call without a waiter, and an end to every wait (P2, P4; acceptance D24).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use slotguard::{Cancel, Deadline, Error, Segment, Version};

fn segment(records: u32) -> Segment {
    Segment::builder().records(records).lanes(1100).payload(8).anonymous().unwrap()
}

fn bump(segment: &Segment, record: u32) -> Version {
    segment.record(record).unwrap().update(|_, draft| draft.write(b"x")).unwrap().1.version
}

/// D24, S5-8: the wait has no deadline, so a lost wake-up would cost a whole slice; a million would take days. The slices'
/// ends are counted: a waiter that slept through its wake-up shows as a wait of a slice.
#[test]
fn d24_a_million_hand_overs_need_no_timeout() {
    const ROUNDS: u64 = if cfg!(debug_assertions) { 200_000 } else { 1_000_000 };
    let segment = segment(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                bump(&segment, 0);
                let seen = segment.record(1).unwrap().wait_newer(Version(round - 1), Deadline::never()).unwrap();
                assert_eq!(seen, Some(Version(round)));
            }
        });
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                let seen = segment.record(0).unwrap().wait_newer(Version(round - 1), Deadline::never()).unwrap();
                assert_eq!(seen, Some(Version(round)));
                bump(&segment, 1);
            }
        });
    });
}

#[test]
fn one_change_wakes_everybody_who_waits() {
    const WAITERS: u32 = 1000;
    let segment = segment(1);
    let ready = AtomicU32::new(0);
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..WAITERS)
            .map(|_| {
                let wait = || {
                    ready.fetch_add(1, Ordering::SeqCst);
                    segment.record(0).unwrap().wait_newer(Version(0), Deadline::never()).unwrap()
                };
                thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, wait).unwrap()
            })
            .collect();
        while ready.load(Ordering::SeqCst) < WAITERS {
            thread::yield_now();
        }
        bump(&segment, 0);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Some(Version(1)));
        }
    });
}

#[test]
fn nobody_is_woken_when_nobody_sleeps() {
    let segment = segment(1);
    for _ in 0..1000 {
        bump(&segment, 0);
    }
    let stats = segment.stats();
    assert_eq!((stats.wakes, stats.waits), (0, 0));
}

#[test]
fn a_past_deadline_is_one_look() {
    let segment = segment(2);
    let record = segment.record(0).unwrap();
    assert_eq!(record.wait_newer(Version(0), Deadline::now()).unwrap(), None);
    assert_eq!(segment.wait_any(&[(0, Version(0)), (1, Version(0))], Deadline::now()).unwrap(), None);
    bump(&segment, 0);
    assert_eq!(record.wait_newer(Version(0), Deadline::now()).unwrap(), Some(Version(1)));
    assert_eq!(segment.wait_any(&[(1, Version(0)), (0, Version(0))], Deadline::now()).unwrap(), Some(0));
    assert_eq!(segment.stats().waits, 0, "none of these slept");
}

#[test]
fn a_wait_in_vain_lasts_until_its_deadline_and_no_shorter() {
    let segment = segment(1);
    let wait = Duration::from_millis(30);
    let began = Instant::now();
    assert_eq!(segment.record(0).unwrap().wait_newer(Version(0), Deadline::after(wait)).unwrap(), None);
    assert!(began.elapsed() >= wait);
    let began = Instant::now();
    assert_eq!(segment.wait_any(&[(0, Version(0))], Deadline::after(wait)).unwrap(), None);
    assert!(began.elapsed() >= wait);
    let stats = segment.stats();
    assert_eq!(stats.waits, 2);
    assert_eq!(stats.wait_histogram.iter().sum::<u64>(), 2);
    assert!(stats.wait_histogram[..14].iter().all(|count| *count == 0), "neither took less than 16 ms");
}

#[test]
fn any_of_many_records_ends_the_wait_wherever_it_lies() {
    let segment = segment(1000);
    let all: Vec<(u32, Version)> = (0..1000).map(|record| (record, Version(0))).collect();
    for changed in [0, 63, 64, 517, 999] {
        thread::scope(|scope| {
            let seen: Vec<(u32, Version)> = all
                .iter()
                .map(|(record, _)| (*record, segment.record(*record).unwrap().read(&mut Vec::new()).unwrap().version))
                .collect();
            let segment = &segment;
            let waiter = scope.spawn(move || segment.wait_any(&seen, Deadline::never()).unwrap());
            bump(segment, changed);
            assert_eq!(waiter.join().unwrap(), Some(changed));
        });
    }
}

/// The wake goes through the group's count here, so it has a lost wake-up of its own to fear.
#[test]
fn d24_hand_overs_through_wait_any_need_no_timeout() {
    const ROUNDS: u64 = if cfg!(debug_assertions) { 50_000 } else { 300_000 };
    let segment = segment(130);
    let turn = |mine: u32, theirs: u32, first: bool| {
        let segment = &segment;
        move || {
            for round in 1..=ROUNDS {
                if first {
                    bump(segment, mine);
                }
                let seen = [(3, Version(0)), (theirs, Version(round - 1))];
                assert_eq!(segment.wait_any(&seen, Deadline::never()).unwrap(), Some(theirs));
                if !first {
                    bump(segment, mine);
                }
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(turn(0, 129, true));
        scope.spawn(turn(129, 0, false));
    });
}

#[test]
fn a_claim_or_its_release_does_not_end_a_wait_for_a_version() {
    let segment = segment(1);
    let record = segment.record(0).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| segment.record(0).unwrap().wait_newer(Version(0), Deadline::never()).unwrap());
        for _ in 0..100 {
            record.claim(Deadline::now(), Duration::from_secs(60)).unwrap().release().unwrap();
        }
        assert!(!waiter.is_finished());
        record.claim(Deadline::now(), Duration::from_secs(60)).unwrap().commit(b"x").unwrap();
        assert_eq!(waiter.join().unwrap(), Some(Version(1)));
    });
}

#[test]
fn another_thread_can_cancel_a_wait() {
    let segment = Arc::new(segment(2));
    let held = segment.record(1).unwrap().claim(Deadline::now(), Duration::from_secs(3600)).unwrap();
    type Wait = fn(&Segment, Deadline) -> Result<(), Error>;
    let waits: [Wait; 3] = [
        |segment, deadline| segment.record(0)?.wait_newer(Version(0), deadline).map(drop),
        |segment, deadline| segment.wait_any(&[(0, Version(0)), (1, Version(0))], deadline).map(drop),
        |segment, deadline| segment.record(1)?.claim(deadline, Duration::from_secs(1)).map(drop),
    ];
    for wait in waits {
        for _ in 0..50 {
            let stop = Cancel::new();
            thread::scope(|scope| {
                let deadline = Deadline::never().or_cancelled(&stop);
                let waiter = scope.spawn(|| wait(&segment, deadline));
                stop.cancel();
                assert!(matches!(waiter.join().unwrap(), Err(Error::Cancelled)));
            });
            assert!(matches!(wait(&segment, Deadline::never().or_cancelled(&stop)), Err(Error::Cancelled)));
        }
    }
    drop(held);
    // A cancelled switch does not hide an answer that is there.
    bump(&segment, 0);
    let stop = Cancel::new();
    stop.cancel();
    let answer = segment.record(0).unwrap().wait_newer(Version(0), Deadline::never().or_cancelled(&stop)).unwrap();
    assert_eq!(answer, Some(Version(1)));
}

/// A wait that another process's change ends is a wait on a shared futex; see also `packages.rs`.
#[test]
fn a_waiter_of_one_attachment_is_woken_by_another() {
    let first = segment(1);
    let second = first.reopen().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| first.record(0).unwrap().wait_newer(Version(0), Deadline::never()).unwrap());
        bump(&second, 0);
        assert_eq!(waiter.join().unwrap(), Some(Version(1)));
    });
}
