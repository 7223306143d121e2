//! Calls whose arguments, types, moments or closures make no sense.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use slotguard::{Cancel, Deadline, Error, ErrorKind, Mismatch, Outcome, Segment, VectorClock, Version};

use crate::memory::Bytes;
use crate::{refused, small};
use harness::isolated::folder;

const LEASE: Duration = Duration::from_secs(600);

/// A segment whose record 0 holds "kept", its file, and the folder to keep.
fn with_a_value() -> (tempfile::TempDir, Segment, Bytes) {
    let folder = folder();
    let path = folder.path().join("segment");
    let segment = small().create(&path).unwrap();
    segment.record(0).unwrap().compare_and_swap(Version(0), b"kept").unwrap();
    let bytes = Bytes::of(&path);
    (folder, segment, bytes)
}

/// What the segment holds and counts, but for its table of errors.
fn state(bytes: &Bytes) -> Vec<u8> {
    let g = &bytes.geometry;
    let mut all = bytes.read(0..g.size);
    all.drain(g.errors..g.rows);
    all
}

#[test]
fn a_value_too_long_is_refused_by_every_call_that_writes() {
    let (_folder, segment, bytes) = with_a_value();
    let record = segment.record(0).unwrap();
    let long = [7; 65];
    let names: [&str; 3] = ["65 bytes", "largest payload of 64", "larger payload"];
    let before = state(&bytes);
    refused(record.compare_and_swap(Version(1), &long), ErrorKind::TooLarge, &names);
    refused(record.update(|_, draft| draft.write(&long)), ErrorKind::TooLarge, &names);
    refused(record.update(|_, draft| draft.edit().resize(65, 0)), ErrorKind::TooLarge, &names);
    assert_eq!(state(&bytes), before);

    let mut claim = record.claim(Deadline::now(), LEASE).unwrap();
    let before = state(&bytes);
    refused(claim.intend(&long), ErrorKind::TooLarge, &names);
    assert_eq!(state(&bytes), before);
    refused(claim.commit(&long), ErrorKind::TooLarge, &names);
    assert_eq!(record.holder().unwrap(), None, "a commit that failed gives the claim back as a drop does");
    match refused(segment.typed::<[u64; 9]>(1), ErrorKind::TooLarge, &["72 bytes", "64"]) {
        Error::TooLarge { length, limit } => assert_eq!((length, limit), (72, 64)),
        other => panic!("{other:?}"),
    }
    assert_eq!(record.verify().unwrap().version, Version(1));
    record.compare_and_swap(Version(1), &long[..64]).expect("the longest that fits");
}

#[test]
fn a_record_past_the_last_is_refused_by_number() {
    let (_folder, segment, bytes) = with_a_value();
    let before = state(&bytes);
    for record in [4, 5, u32::MAX] {
        let names = [&format!("record {record}"), "4 records", "0 to 3"];
        refused(segment.record(record), ErrorKind::OutOfRange, &names);
        refused(segment.typed::<u64>(record), ErrorKind::OutOfRange, &names);
        refused(
            segment.wait_any(&[(0, Version(0)), (record, Version(0))], Deadline::now()),
            ErrorKind::OutOfRange,
            &names,
        );
    }
    assert_eq!(state(&bytes), before);
    segment.record(3).expect("the last");
}

#[test]
fn a_value_of_another_type_is_refused_and_kept() {
    let (_folder, segment, bytes) = with_a_value();
    let number = segment.typed::<u64>(1).unwrap();
    number.update(|count| *count = 5).unwrap();
    let other = segment.typed::<u64>(2).unwrap();
    segment.record(2).unwrap().compare_and_swap(Version(0), b"by hand").unwrap();
    let before = state(&bytes);

    let names = ["record 1", "8 bytes of another type than i64"];
    match refused(segment.typed::<i64>(1), ErrorKind::Incompatible, &names) {
        Error::Incompatible { mismatch, .. } => {
            assert_eq!(mismatch, Mismatch::Type { record: 1, asked: "i64", length: 8 });
        }
        other => panic!("{other:?}"),
    }
    refused(segment.typed::<[u64; 2]>(1), ErrorKind::Incompatible, &["record 1", "8 bytes"]);
    refused(segment.typed::<u64>(0), ErrorKind::Incompatible, &["record 0", "4 bytes", "u64"]);
    // A handle made before somebody wrote bytes of his own.
    let names = ["record 2", "7 bytes of another type than u64"];
    refused(other.read(), ErrorKind::Incompatible, &names);
    refused(other.update(|_| ()), ErrorKind::Incompatible, &names);
    refused(other.compare_and_swap(Version(1), &1), ErrorKind::Incompatible, &names);
    assert_eq!(state(&bytes), before);
    assert_eq!(number.read().unwrap().0, 5);
}

#[test]
fn raw_bytes_of_another_length_in_a_typed_record_are_noticed() {
    let (_folder, segment, _bytes) = with_a_value();
    let number = segment.typed::<u64>(1).unwrap();
    number.update(|count| *count = 5).unwrap();
    // A raw write keeps the type's name: eight bytes are a u64, nine are none.
    let raw = segment.record(1).unwrap();
    raw.update(|_, draft| draft.write(&6u64.to_ne_bytes())).unwrap();
    assert_eq!(number.read().unwrap().0, 6);
    raw.update(|_, draft| draft.write(&[0; 9])).unwrap();
    refused(number.read(), ErrorKind::Incompatible, &["record 1", "9 bytes"]);
    refused(number.update(|count| *count += 1), ErrorKind::Incompatible, &["record 1", "9 bytes"]);
}

#[test]
fn a_closure_that_panics_leaves_the_record_as_it_was_and_no_lane_behind() {
    let (_folder, segment, bytes) = with_a_value();
    let record = segment.record(0).unwrap();
    let before = state(&bytes);
    for _ in 0..20 {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            record.update(|_, draft| {
                draft.write(b"never");
                panic!("a closure's own affair");
            })
        }));
        assert!(panicked.is_err());
        let typed = segment.typed::<u64>(1).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| typed.update(|_| panic!("a closure's own affair"))));
        assert!(panicked.is_err());
    }
    assert_eq!(state(&bytes), before, "not a byte has changed");
    let ((), stamp) = record.update(|old, draft| draft.write(&[old, b"!"].concat())).unwrap();
    assert_eq!(stamp.version, Version(2));
    let audit = segment.audit().unwrap();
    assert_eq!((audit.lanes_taken, audit.pending, audit.missing, audit.doubled), (1, 0, 0, 0));
}

#[test]
fn a_closure_that_changes_the_segment_again_is_told_that_it_is_busy() {
    let (_folder, segment, bytes) = with_a_value();
    let record = segment.record(0).unwrap();
    let typed = segment.typed::<u64>(2).unwrap();
    let before = state(&bytes);
    record
        .update(|_, draft| {
            let names = ["inside an update of the same segment", "return from the closure first"];
            for index in [0, 1] {
                let inner = segment.record(index).unwrap();
                refused(inner.update(|_, draft| draft.write(b"inner")), ErrorKind::Busy, &names);
                let version = Version(1 - u64::from(index));
                refused(inner.compare_and_swap(version, b"inner"), ErrorKind::Busy, &names);
                refused(inner.claim(Deadline::now(), LEASE), ErrorKind::Busy, &names);
            }
            refused(typed.update(|count| *count += 1), ErrorKind::Busy, &names);
            draft.decline();
        })
        .unwrap();
    assert_eq!(state(&bytes), before);
}

#[test]
fn a_closure_may_read_and_may_change_another_segment() {
    let (_folder, segment, _bytes) = with_a_value();
    let other = small().anonymous().unwrap();
    let record = segment.record(0).unwrap();
    let (seen, stamp) = record
        .update(|old, draft| {
            let mut value = Vec::new();
            assert_eq!(record.read(&mut value).unwrap().version, Version(1));
            assert_eq!(value, old);
            assert_eq!(segment.record(1).unwrap().verify().unwrap().version, Version(0));
            assert_eq!(record.wait_newer(Version(1), Deadline::now()).unwrap(), None);
            let copied = other.record(0).unwrap().compare_and_swap(Version(0), old).unwrap();
            assert!(matches!(copied, Outcome::Committed(_)));
            draft.write(b"next");
            value
        })
        .unwrap();
    assert_eq!((seen.as_slice(), stamp.version), (&b"kept"[..], Version(2)));
}

#[test]
fn a_lease_of_zero_is_refused() {
    let (_folder, segment, bytes) = with_a_value();
    let record = segment.record(0).unwrap();
    let before = state(&bytes);
    let names = ["a lease of zero", "give it some milliseconds"];
    refused(record.claim(Deadline::never(), Duration::ZERO), ErrorKind::Invalid, &names);
    assert_eq!(state(&bytes), before);
    let mut claim = record.claim(Deadline::now(), LEASE).unwrap();
    refused(claim.renew(Duration::ZERO), ErrorKind::Invalid, &names);
    claim.renew(Duration::MAX).expect("for ever");
    claim.commit(b"still ours").unwrap();
}

#[test]
fn a_past_deadline_is_one_look_and_then_over() {
    let (_folder, segment, _bytes) = with_a_value();
    let record = segment.record(0).unwrap();
    let past =
        [Deadline::now(), Deadline::after(Duration::ZERO), Deadline::at(Instant::now() - Duration::from_secs(9))];
    for deadline in past {
        assert_eq!(record.wait_newer(Version(1), deadline.clone()).unwrap(), None);
        assert_eq!(record.wait_newer(Version(0), deadline.clone()).unwrap(), Some(Version(1)), "the look is taken");
        assert_eq!(segment.wait_any(&[(0, Version(1)), (1, Version(0))], deadline.clone()).unwrap(), None);
        assert_eq!(segment.wait_any(&[(1, Version(0)), (0, Version(0))], deadline.clone()).unwrap(), Some(0));
        assert_eq!(segment.wait_any(&[], deadline.clone()).unwrap(), None);

        let claim = record.claim(deadline.clone(), LEASE).expect("nobody is in the way");
        let token = format!("token {}", claim.token());
        let names = ["in vain", "record 0", &format!("[{}]", std::process::id()), &token, "lease ends in"];
        match refused(segment.record(0).unwrap().claim(deadline, LEASE), ErrorKind::TimedOut, &names) {
            Error::TimedOut { holder, .. } => assert_eq!(holder.token, claim.token()),
            other => panic!("{other:?}"),
        }
        claim.release().unwrap();
    }
    assert_eq!(segment.stats().waits, 0, "nobody slept");
}

#[test]
fn an_update_under_somebodys_claim_names_the_holder_and_changes_nothing() {
    let (_folder, segment, bytes) = with_a_value();
    let record = segment.record(0).unwrap();
    let claim = record.claim(Deadline::now(), LEASE).unwrap();
    let before = state(&bytes);
    let token = format!("token {}", claim.token());
    let names = ["record 0: held by", &format!("[{}]", std::process::id()), &token, "wait with Record::claim"];
    refused(record.update(|_, draft| draft.write(b"no")), ErrorKind::Held, &names);
    refused(record.compare_and_swap(Version(1), b"no"), ErrorKind::Held, &names);
    assert_eq!(state(&bytes), before);
    claim.commit(b"yes").unwrap();
}

#[test]
fn a_wait_that_was_cancelled_before_it_began_is_over_at_once() {
    let (_folder, segment, _bytes) = with_a_value();
    let stop = Cancel::new();
    stop.cancel();
    let deadline = || Deadline::never().or_cancelled(&stop);
    let record = segment.record(0).unwrap();
    refused(record.wait_newer(Version(1), deadline()), ErrorKind::Cancelled, &["cancelled"]);
    refused(segment.wait_any(&[(0, Version(1))], deadline()), ErrorKind::Cancelled, &["cancelled"]);
    let _claim = record.claim(Deadline::now(), LEASE).unwrap();
    refused(record.claim(deadline(), LEASE), ErrorKind::Cancelled, &["cancelled"]);
}

#[test]
fn sizes_that_make_no_segment_are_refused_before_anything_is_made() {
    let folder = folder();
    let path = folder.path().join("segment");
    for (builder, names) in [
        (small().records(0), ["records must be", "not 0"]),
        (small().records(u32::MAX), ["records must be 1 to 8388607", "not 4294967295"]),
        (small().lanes(0), ["lanes must be 1 to 8192", "not 0"]),
        (small().lanes(8193), ["lanes must be 1 to 8192", "not 8193"]),
        (small().participants(1025), ["participants must be 1 to 1024", "not 1025"]),
        (small().payload(0), ["payload bytes of a class", "not 0"]),
        (small().payload(usize::MAX), ["payload bytes of a class must be 1 to 16777216", "not 4294967295"]),
        (small().payloads(&[]), ["payload classes must be 1 to 8", "not 0"]),
        (small().payloads(&[(8, 1); 9]), ["payload classes must be 1 to 8", "not 9"]),
        (small().payloads(&[(64, 1), (8, 1)]), ["must grow", "8 comes after"]),
        (small().payloads(&[(8, u32::MAX)]), ["blocks of a class", "not 4294967295"]),
        (small().records(8_000_000).payload(16 << 20), ["larger than", "64 TiB"]),
    ] {
        refused(builder.clone().create(&path), ErrorKind::Invalid, &names);
        refused(builder.clone().open_or_create(&path), ErrorKind::Invalid, &names);
        refused(builder.anonymous(), ErrorKind::Invalid, &names);
    }
    assert!(crate::names_in(folder.path()).is_empty());
}

#[test]
fn a_vector_clock_of_more_participants_raises_nothing() {
    let (_folder, segment, bytes) = with_a_value();
    let before = state(&bytes);
    let foreign: VectorClock = [(0, 5), (4, 1)].into_iter().collect();
    refused(segment.vector().merge(&foreign), ErrorKind::Invalid, &["participant 4", "4 rows"]);
    assert_eq!(state(&bytes), before);
    assert_eq!(segment.vector().snapshot().unwrap().iter().count(), 0);
}
