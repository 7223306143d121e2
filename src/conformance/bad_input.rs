//! What cannot be done: each an error of its own, and nothing applied.

use std::time::Duration;

use super::asking::{Asking, fault};
use super::subject::Subject;
use crate::backend::{Backend, Op, When};
use crate::{Error, ErrorKind, Lease, NameFault, Revision};

/// Empty, too long, or with a NUL: the error says which and where.
pub fn what_is_no_name_is_refused<S: Subject>(subject: &S) {
    let longest = <S::Store as Backend>::LIMITS.name;
    let store = subject.client();
    let why = |name: &str| match store.key(name) {
        Err(Error::BadName { why, .. }) => why,
        other => panic!("{name:?} is no name, yet: {other:?}"),
    };
    assert_eq!(why(""), NameFault::Empty);
    assert_eq!(why(&"x".repeat(longest + 1)), NameFault::TooLong { length: longest + 1, limit: longest });
    // Characters do not count, bytes do.
    let (length, name) = (longest / 2 * 2 + 2, "é".repeat(longest / 2 + 1));
    assert_eq!(why(&name), NameFault::TooLong { length, limit: longest });
    assert_eq!(why("\0"), NameFault::Nul { at: 0 });
    assert_eq!(why("a/b\0"), NameFault::Nul { at: 3 });
    assert!(store.contents("").0.is_empty());
}

/// One operation more than [`Limits::ops`](crate::backend::Limits::ops) is too many.
pub fn a_commit_of_too_many_operations_is_refused<S: Subject>(subject: &S) {
    let limit = <S::Store as Backend>::LIMITS.ops;
    let store = subject.client();
    let keys: Vec<_> = (0..=limit).map(|number| store.named(&format!("k{number}"))).collect();
    let ops: Vec<_> = keys.iter().map(|key| Op::put(key, b"")).collect();
    match store.refuses(ErrorKind::TooManyOps, &ops) {
        Error::TooManyOps { ops, limit: told } => assert_eq!((ops, told), (limit + 1, limit)),
        other => panic!("{other:?}"),
    }
}

/// One operation for each key, whatever they do.
pub fn a_commit_that_names_a_key_twice_is_refused(subject: &impl Subject) {
    let store = subject.client();
    let (key, same, other) = (store.named("a"), store.named("a"), store.named("b"));
    store.apply(&[Op::put(&key, b"")]);
    for second in [Op::put(&same, b"2"), Op::delete(&same), Op::check(&same, When::Exists)] {
        let error = store.refuses(ErrorKind::NamedTwice, &[Op::put(&key, b"1"), Op::put(&other, b""), second]);
        assert!(error.to_string().contains("\"a\""), "the error names the key: {error}");
    }
}

/// Checks alone are a question, and no operations are nothing.
pub fn a_commit_that_writes_nothing_is_refused(subject: &impl Subject) {
    let store = subject.client();
    let (key, other) = (store.named("a"), store.named("b"));
    store.refuses(ErrorKind::NothingToWrite, &[]);
    for when in [When::Always, When::Absent, When::Exists] {
        store.refuses(ErrorKind::NothingToWrite, &[Op::check(&key, when)]);
        store.refuses(ErrorKind::NothingToWrite, &[Op::check(&key, when), Op::check(&other, when)]);
    }
}

/// One byte more than [`Limits::value`](crate::backend::Limits::value) fits nowhere.
pub fn a_value_that_fits_nowhere_is_refused<S: Subject>(subject: &S) {
    let limit = <S::Store as Backend>::LIMITS.value;
    let store = subject.client();
    let (key, other) = (store.named("a"), store.named("b"));
    store.apply(&[Op::put(&key, b"small")]);
    let large = vec![7; limit + 1];
    match store.refuses(ErrorKind::TooLarge, &[Op::put(&other, b""), Op::put(&key, &large)]) {
        Error::TooLarge { length, limit: told } => assert!(length == limit + 1 && told <= limit, "{length} {told}"),
        other => panic!("{other:?}"),
    }
    // Refused before conditions are looked at: the answer does not depend on who was faster.
    store.refuses(ErrorKind::TooLarge, &[Op::put(&key, &large).if_absent()]);
}

/// A number that no lease ever had.
pub fn a_lease_that_never_was_is_unknown(subject: &impl Subject) {
    let store = subject.client();
    let (key, other) = (store.named("a"), store.named("b"));
    let granted = store.long_lease();
    for lease in [Lease(0), Lease(u64::MAX)] {
        assert_ne!(lease, granted);
        let ops = [Op::put_leased(&key, b"", lease), Op::put(&other, b"")];
        store.refuses(ErrorKind::UnknownLease, &ops);
        store.refuses(ErrorKind::UnknownLease, &[Op::put_leased(&key, b"", lease).if_exists()]);
        assert_eq!(fault(store.renew(lease)), ErrorKind::UnknownLease);
        assert_eq!(fault(store.revoke(lease)), ErrorKind::UnknownLease);
    }
}

/// Nothing is put under a lease that is over, and the error says so even where a condition is false.
pub fn a_put_under_a_lease_that_is_over_is_refused(subject: &impl Subject) {
    let store = subject.client();
    let (key, other) = (store.named("a"), store.named("b"));
    store.apply(&[Op::put(&other, b"")]);
    let lease = store.long_lease();
    store.apply(&[Op::put_leased(&key, b"", lease)]);
    store.revoke(lease).expect("the lease was there");
    store.refuses(ErrorKind::LeaseExpired, &[Op::put_leased(&key, b"", lease)]);
    store.refuses(ErrorKind::LeaseExpired, &[Op::put(&other, b"new"), Op::put_leased(&key, b"", lease)]);
    store.refuses(ErrorKind::LeaseExpired, &[Op::put_leased(&key, b"", lease).if_exists()]);
    store.refuses(ErrorKind::LeaseExpired, &[Op::put_leased(&key, b"", lease), Op::check(&other, When::Absent)]);
}

/// Where several things are wrong with a commit, the answer is the first in the contract's order.
pub fn of_several_faults_the_first_is_told<S: Subject>(subject: &S) {
    let limits = <S::Store as Backend>::LIMITS;
    let store = subject.client();
    let keys: Vec<_> = (0..=limits.ops).map(|number| store.named(&format!("k{number}"))).collect();
    let over = store.long_lease();
    store.revoke(over).expect("the lease was there");
    let unknown = Lease(u64::MAX);
    let large = vec![0; limits.value + 1];

    let mut ops: Vec<_> = keys.iter().map(|key| Op::check(key, When::Exists)).collect();
    ops[1] = Op::check(&keys[0], When::Exists);
    store.refuses(ErrorKind::TooManyOps, &ops);
    ops.pop();
    store.refuses(ErrorKind::NamedTwice, &ops);
    ops.remove(1);
    store.refuses(ErrorKind::NothingToWrite, &ops);

    let (expired, never, too_large) = (
        Op::put_leased(&keys[1], b"", over).if_exists(),
        Op::put_leased(&keys[2], b"", unknown),
        Op::put(&keys[3], &large),
    );
    let again = Op::delete(&keys[1]);
    store.refuses(ErrorKind::NamedTwice, &[expired, never, too_large, again]);
    store.refuses(ErrorKind::TooLarge, &[expired, never, too_large]);
    store.refuses(ErrorKind::UnknownLease, &[expired, never]);
    store.refuses(ErrorKind::LeaseExpired, &[expired, Op::check(&keys[2], When::Exists)]);
}

/// Watching begins in the past or with what comes next.
pub fn a_watch_from_a_revision_not_yet_drawn_is_refused(subject: &impl Subject) {
    let store = subject.client();
    store.set("a", b"");
    let newest = store.contents("").1;
    for asked in [Revision(newest.0 + 1_000_000), Revision(u64::MAX - 1), Revision(u64::MAX)] {
        match store.watch("", asked).map(drop) {
            Err(Error::FutureRevision { asked: told, newest: known }) => {
                assert_eq!(told, asked);
                assert!(known >= newest && known < asked, "{newest} {known} {asked}");
            }
            other => panic!("{asked} is not yet drawn, yet: {other:?}"),
        }
    }
    for good in [0, 1, newest.0, newest.0 + 1] {
        drop(store.watch("", Revision(good)).expect("a watch from the past or the next revision"));
    }
}

/// The shortest and the longest lease can be had, nothing beyond.
pub fn a_time_to_live_outside_the_limits_is_refused<S: Subject>(subject: &S) {
    let limits = <S::Store as Backend>::LIMITS;
    let (shortest, longest) = (limits.shortest_lease, limits.longest_lease);
    let store = subject.client();
    let tick = Duration::from_nanos(1);
    for time in [Duration::ZERO, shortest - tick, longest + tick, Duration::MAX] {
        match store.grant(time) {
            Err(Error::TimeToLive { asked, shortest: least, longest: most }) => {
                assert_eq!((asked, least, most), (time, shortest, longest));
            }
            other => panic!("no lease lasts {time:?}, yet: {other:?}"),
        }
    }
    store.grant(shortest).expect("the shortest lease");
    let lease = store.grant(longest).expect("the longest lease");
    assert!(store.renew(lease).expect("it can be renewed") > store.now());
}
