//! Leases: entries that live no longer than their owner.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use super::asking::{Asking, fault};
use super::mirror::{Mirror, Told};
use super::subject::Subject;
use crate::backend::{Backend, Op, When};
use crate::{Deadline, Error, ErrorKind, Lease, Outcome, Version};

/// Puts entries under a lease that is short enough to be waited for and long enough for them to be put.
///
/// A lease that ended before the entries were put, as on a machine that stood still meanwhile, is tried again, longer.
fn short_lived<B: Backend>(store: &B, names: &[&str]) -> (Lease, Duration, Instant) {
    let mut time = B::LIMITS.shortest_lease.max(Duration::from_millis(50));
    let keys: Vec<_> = names.iter().map(|name| store.named(name)).collect();
    loop {
        let granted = store.now();
        let lease = store.grant(time).expect("a lease");
        let ops: Vec<_> = keys.iter().map(|key| Op::put_leased(key, b"alive", lease)).collect();
        match store.commit(&ops) {
            Ok(Outcome::Committed(_)) => return (lease, time, granted),
            Err(Error::LeaseExpired { .. }) => time *= 2,
            other => panic!("nothing is in the way of this commit, yet: {other:?}"),
        }
    }
}

/// What is certain of a lease of this length on a backend whose clocks differ.
fn certain<B: Backend>(_: &B, time: Duration) -> Duration {
    time * (1_000 - B::LIMITS.clock_drift) / 1_000
}

/// An entry under a lease says so, and is as others are while the lease lasts.
pub fn an_entry_says_which_lease_it_lives_by(subject: &impl Subject) {
    let (store, other) = (subject.client(), subject.client());
    let lease = store.long_lease();
    let key = store.named("a");
    let created = store.apply(&[Op::put_leased(&key, b"1", lease).if_absent()]);
    assert_eq!(store.meta(&key).lease, Some(lease));
    assert_eq!(other.contents("").0["a"].meta.lease, Some(lease));
    store.apply(&[Op::put_leased(&key, b"2", lease).if_created_at(created)]);
    let meta = store.meta(&key);
    assert_eq!((meta.lease, meta.version, meta.created), (Some(lease), Version(2), created));
    store.apply(&[Op::check(&key, When::CreatedAt(created)), Op::put(&store.named("b"), b"")]);
    store.apply(&[Op::delete(&key)]);
    assert_eq!(store.state(&key), None);
    store.apply(&[Op::put_leased(&key, b"3", lease).if_absent()]);
    assert_eq!(store.meta(&key).lease, Some(lease), "the lease outlives its entries");
}

/// When `revoke` returns, every entry of the lease is gone, for every client and every way of looking; others stay.
pub fn a_revoked_lease_leaves_nothing(subject: &impl Subject) {
    let (store, other) = (subject.client(), subject.client());
    for round in 0..10 {
        let (lease, stays) = (store.long_lease(), store.long_lease());
        for number in 0..40 {
            let key = store.named(&format!("k{number:02}"));
            let lease = [Some(lease), Some(stays), None][number % 3];
            let op = lease.map_or(Op::put(&key, b""), |lease| Op::put_leased(&key, b"", lease));
            store.apply(&[op]);
        }
        store.revoke(lease).expect("the lease was there");
        for client in [&other, &store] {
            let left = client.contents("k").0;
            assert_eq!(left.len(), 26, "in round {round}");
            assert!(left.values().all(|state| state.meta.lease != Some(lease)));
            assert_eq!(client.state(&client.named("k00")), None);
        }
        other.apply(&[Op::check(&other.named("k03"), When::Absent), Op::put(&other.named("k00"), b"").if_absent()]);
        other.loses(&[Op::delete(&other.named("k39")).if_exists()]);
        store.revoke(stays).expect("the other lease was there");
    }
}

/// Nobody needs to end a lease: when its time is over, its entries are absent for read, range and conditions.
pub fn a_lease_ends_by_itself(subject: &impl Subject) {
    let (store, other) = (subject.client(), subject.client());
    // Each looks in its own way, none after another has looked.
    for way in 0..4 {
        let (lease, time, granted) = short_lived(&store, &["l/a", "l/b"]);
        store.set("l/stays", b"");
        let state = other.state(&other.named("l/a"));
        if store.now() < granted + certain(&store, time) {
            assert!(state.is_some_and(|state| state.meta.lease == Some(lease)), "the lease has not ended yet");
        }
        subject.pass(time);
        let key = other.named("l/a");
        match way {
            0 => assert_eq!(other.state(&key), None),
            1 => assert!(other.contents("l/").0.keys().eq(["l/stays"])),
            2 => drop(other.apply(&[Op::check(&key, When::Absent), Op::put(&other.named("x"), b"")])),
            _ => other.loses(&[Op::put(&key, b"").if_exists()]),
        }
        assert_eq!(other.state(&other.named("l/b")), None);
        assert!(other.contents("l/").0.keys().eq(["l/stays"]));
        assert_eq!(fault(store.renew(lease)), ErrorKind::LeaseExpired);
    }
}

/// An entry whose lease is over is created anew: another `created`, version 1.
pub fn an_entry_of_a_dead_lease_can_be_created_anew(subject: &impl Subject) {
    let (store, other) = (subject.client(), subject.client());
    let key = store.named("a");
    let mut last = None;
    for round in 0..6 {
        let created = if round % 2 == 0 {
            let (_, time, _) = short_lived(&store, &["a"]);
            let created = store.state(&key).map(|state| state.meta.created);
            subject.pass(time);
            created
        } else {
            let lease = store.long_lease();
            let created = store.apply(&[Op::put_leased(&key, b"", lease).if_absent()]);
            store.revoke(lease).expect("the lease was there");
            Some(created)
        };
        assert!(created.is_none() || created > last, "{created:?} after {last:?}");
        let again = other.apply(&[Op::put(&other.named("a"), b"mine").if_absent()]);
        assert!(Some(again) > created);
        let meta = store.meta(&key);
        assert_eq!((meta.created, meta.version, meta.lease), (again, Version(1), None));
        last = Some(other.apply(&[Op::delete(&other.named("a"))]));
    }
}

/// While its owner renews it, a lease lasts; once the owner stops, it ends.
pub fn a_renewed_lease_lasts_its_whole_time_again<S: Subject>(subject: &S) {
    let store = subject.client();
    let key = store.named("a");
    let mut time = <S::Store as Backend>::LIMITS.shortest_lease.max(Duration::from_millis(100));
    'longer: loop {
        let mut until = store.now() + certain(&store, time);
        let lease = store.grant(time).expect("a lease");
        match store.commit(&[Op::put_leased(&key, b"", lease)]) {
            Err(Error::LeaseExpired { .. }) if store.now() >= until => {
                time *= 2;
                continue;
            }
            outcome => assert!(matches!(outcome, Ok(Outcome::Committed(_))), "{outcome:?}"),
        }
        // Twice its time in halves.
        for _ in 0..4 {
            subject.pass(time / 2);
            let before = store.now();
            match store.renew(lease) {
                Ok(next) => {
                    let after = store.now();
                    assert!(next >= before + certain(&store, time), "it lasts its whole time again");
                    assert!(next <= after + time, "nobody counts on more than was granted");
                    until = next;
                }
                Err(Error::LeaseExpired { .. }) if store.now() >= until => {
                    // The machine stood still for longer than the lease.
                    time *= 2;
                    continue 'longer;
                }
                Err(error) => panic!("renewed in time: {error}"),
            }
        }
        let state = store.state(&key);
        if store.now() >= until {
            time *= 2;
            continue;
        }
        assert!(state.is_some(), "the lease lasts until {until:?}");
        subject.pass(time);
        assert_eq!(store.state(&key), None, "nobody renewed it again");
        assert_eq!(fault(store.renew(lease)), ErrorKind::LeaseExpired);
        return;
    }
}

/// Everybody may ask when a lease ends; asking does not put it off.
pub fn the_end_of_a_lease_can_be_asked_for<S: Subject>(subject: &S) {
    let (store, other) = (subject.client(), subject.client());
    let time = <S::Store as Backend>::LIMITS.shortest_lease.max(Duration::from_secs(60));
    let before = store.now();
    let lease = store.grant(time).expect("a lease");
    let after = store.now();
    subject.pass(Duration::from_millis(1));
    // Whoever is interrupted while it looks is told of a moment that is too early.
    let told = |least| loop {
        let told = other.expiry(lease).expect("it has not ended");
        if told >= least {
            return told;
        }
    };
    assert!(told(before + certain(&store, time)) <= after + time, "it was not renewed");
    let before = store.now();
    store.renew(lease).expect("it has not ended");
    let after = store.now();
    assert!(told(before + certain(&store, time)) <= after + time);
    assert_eq!(fault(other.expiry(Lease(u64::MAX))), ErrorKind::UnknownLease);
    store.revoke(lease).expect("it has not ended");
    assert_eq!(fault(other.expiry(lease)), ErrorKind::LeaseExpired);
    let (lease, time, _) = short_lived(&store, &["a"]);
    subject.pass(time);
    assert_eq!(fault(other.expiry(lease)), ErrorKind::LeaseExpired);
}

/// A lease that is over stays so: it cannot be renewed, revoked or used, and its number is not given out again.
pub fn the_end_of_a_lease_is_final(subject: &impl Subject) {
    let (store, other) = (subject.client(), subject.client());
    let key = store.named("a");
    let mut seen = BTreeSet::new();
    for round in 0..6 {
        let lease = if round % 2 == 0 {
            let (lease, time, _) = short_lived(&store, &["a"]);
            subject.pass(time);
            lease
        } else {
            let lease = store.long_lease();
            store.revoke(lease).expect("the lease was there");
            lease
        };
        assert!(seen.insert(lease) && lease != Lease(0), "{lease} was given out before");
        for lease in &seen {
            for client in [&store, &other] {
                assert_eq!(fault(client.renew(*lease)), ErrorKind::LeaseExpired);
                assert_eq!(fault(client.revoke(*lease)), ErrorKind::LeaseExpired);
            }
            store.refuses(ErrorKind::LeaseExpired, &[Op::put_leased(&key, b"", *lease)]);
        }
        assert!(!seen.contains(&store.long_lease()));
    }
}

/// Each put says anew which lease the entry lives by; the last one counts.
pub fn a_put_without_a_lease_detaches_the_entry(subject: &impl Subject) {
    let store = subject.client();
    let (first, second) = (store.long_lease(), store.long_lease());
    let keys = ["detached", "moved", "bound"].map(|name| store.named(name));
    store.apply(&keys.iter().map(|key| Op::put_leased(key, b"1", first)).collect::<Vec<_>>());
    let created = store.meta(&keys[0]).created;
    store.apply(&[Op::put(&keys[0], b"2"), Op::put_leased(&keys[1], b"2", second)]);
    assert_eq!(keys.each_ref().map(|key| store.meta(key).lease), [None, Some(second), Some(first)]);
    assert_eq!(keys.each_ref().map(|key| store.meta(key).version), [Version(2), Version(2), Version(1)]);
    store.revoke(first).expect("the lease was there");
    assert!(store.contents("").0.keys().eq(["detached", "moved"]));
    assert_eq!(store.meta(&keys[0]).created, created);
    store.revoke(second).expect("the lease was there");
    assert!(store.contents("").0.keys().eq(["detached"]));
}

/// Who waits for an entry, or watches it, learns of its end with the lease; also if nobody ends that.
pub fn the_end_of_a_lease_is_a_change_to_those_who_wait(subject: &impl Subject) {
    let store = subject.client();
    let (waiter, watcher) = (subject.client(), subject.client());
    for by_itself in [true, false] {
        let (mut mirror, mut watch) = Mirror::open(&watcher, "l/");
        let (lease, time) = if by_itself {
            let (lease, time, _) = short_lived(&store, &["l/a", "l/b"]);
            (lease, time)
        } else {
            let lease = store.long_lease();
            let keys = ["l/a", "l/b"].map(|name| store.named(name));
            store.apply(&keys.each_ref().map(|key| Op::put_leased(key, b"alive", lease)));
            (lease, Duration::ZERO)
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let key = waiter.named("l/a");
                while let Some(state) = waiter.state(&key) {
                    waiter.wait_for_change(&key, state.meta.modified);
                }
            });
            scope.spawn(|| {
                // At most as many batches as there are changes; none if both are gone before the first look.
                mirror.catch_up(&mut watch);
                while !mirror.view.is_empty() {
                    assert!(mirror.follow(&mut watch, &Deadline::never()).expect("a batch"));
                }
            });
            if by_itself {
                subject.pass(time);
            } else {
                store.revoke(lease).expect("the lease was there");
            }
        });
        assert!(store.contents("l/").0.is_empty());
    }
}

/// A watch tells the entries of a lease that was revoked as deleted.
pub fn a_watch_tells_what_went_with_its_lease(subject: &impl Subject) {
    let store = subject.client();
    let lease = store.long_lease();
    store.set("l/stays", b"");
    for name in ["l/a", "l/b", "l/c"] {
        store.apply(&[Op::put_leased(&store.named(name), b"", lease)]);
    }
    let (mut mirror, mut watch) = Mirror::open(&store, "l/");
    store.revoke(lease).expect("the lease was there");
    assert!(mirror.follow(&mut watch, &Deadline::now()).expect("a look"));
    assert_eq!(mirror.told, ["l/a", "l/b", "l/c"].map(|name| Told::Delete(name.to_owned())));
    assert!(mirror.view.keys().eq(["l/stays"]));
}

/// What must hold together with a session names it: a commit that checks the session's record by `created` loses once the
/// session is over, also if there is a new one of the same name.
pub fn a_commit_that_names_a_session_loses_once_that_is_over(subject: &impl Subject) {
    let (store, other) = (subject.client(), subject.client());
    let (session, work) = (store.named("session"), store.named("work"));
    let lease = store.long_lease();
    let token = store.apply(&[Op::put_leased(&session, b"me", lease).if_absent()]);
    let guarded = [Op::check(&session, When::CreatedAt(token)), Op::put(&work, b"mine")];
    store.apply(&guarded);
    other.revoke(lease).expect("the lease was there");
    store.loses(&guarded);
    let next = other.long_lease();
    other.apply(&[Op::put_leased(&other.named("session"), b"you", next).if_absent()]);
    store.loses(&guarded);
    assert_eq!(store.meta(&work).version, Version(1));
}
