use super::{All, PrefixSnapshot, SharedMemory};
use crate::backend::{Backend, Op};
use crate::memory::{Outcome, Segment};

fn put(store: &SharedMemory, name: &str, value: &[u8]) -> u64 {
    match store.commit(&[Op::put(&store.key(name).unwrap(), value)]).unwrap() {
        Outcome::Committed(revision) => revision.0,
        Outcome::Conflict => unreachable!("it has no condition"),
    }
}

/// A watcher whose entry changed between its reading of the clock and its second look copied the entry anew, and reported
/// the copy as of the revision it had read before: its view was ahead of the revision it named, so the next batch went
/// back in time (`torture --workload watch --seed 7`).
#[test]
fn a_copy_taken_after_the_moment_says_nothing_of_it() {
    let store = SharedMemory::new(Segment::builder().keys(16).anonymous().unwrap()).unwrap();
    put(&store, "a", b"first");
    put(&store, "b", b"beside it");
    let mut snapshot = PrefixSnapshot::new("");
    assert!(snapshot.refresh(&store, &All).unwrap());
    let before = store.segment().revision().0;
    assert!(snapshot.is_exact_at(&store, before, &All).unwrap(), "nothing has changed since it was copied");

    let changed = put(&store, "a", b"second");
    assert!(before < changed);
    // What a second look does that comes too late: the entry is copied again, and its head is the present one then.
    assert!(snapshot.refresh(&store, &All).unwrap());
    for entry in snapshot.entries_mut() {
        entry.exact_at = 0;
    }
    assert!(!snapshot.is_exact_at(&store, before, &All).unwrap(), "the copy of \"a\" is of revision {changed}");
    assert!(snapshot.is_exact_at(&store, changed, &All).unwrap());
    let values: Vec<_> = snapshot.entries().map(|entry| entry.value.as_slice()).collect();
    assert_eq!(values, [&b"second"[..], b"beside it"]);
}
