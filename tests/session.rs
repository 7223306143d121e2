//! Sessions: an entry lives as long as its owner, who knows in time when it does not.
#![cfg(not(loom))]

#[path = "support/forked.rs"]
mod forked;
#[path = "support/weather.rs"]
mod weather;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use slotguard::backend::{Backend, Model, Op, Session, SharedMemory};
use slotguard::{Cancel, Deadline, ErrorKind, Outcome, Segment};

use forked::fork;
use harness::isolated::isolated;
use weather::{Weather, committed, weather};

const TTL: Duration = Duration::from_secs(9);

fn open<B: Backend + 'static>(store: &Arc<B>, name: &str) -> Session<B> {
    Session::open(store, name, b"here", TTL).unwrap().mine().expect("a free name")
}

fn by_hand<B: Backend>(store: &Arc<B>, name: &str) -> Session<B> {
    Session::manual(store, name, b"here", TTL).unwrap().mine().expect("a free name")
}

#[track_caller]
fn is_over<B: Backend>(session: &Session<B>) {
    assert_eq!(session.keep_alive().expect_err("it is over").kind(), ErrorKind::LeaseExpired);
    assert!(!session.is_alive() && session.alive_until().is_none());
    assert!(session.wait_lost(&Deadline::now()).unwrap());
}

/// Waits until the session's thread has made a renewal that began after this call.
fn a_renewal<B: Backend>(store: &Weather<B>) {
    let seen = store.renewals.load(SeqCst);
    while store.renewals.load(SeqCst) < seen + 2 {
        thread::yield_now();
    }
}

// What follows needs nothing of a backend but the contract.

fn a_session_is_an_entry_and_each_of_a_name_has_a_larger_token<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let mut last = None;
    for _ in 0..3 {
        let session = open(&store, "worker/1");
        assert_eq!(store.value("worker/1").as_deref(), Some(&b"here"[..]));
        assert_eq!(session.key().as_ref(), "worker/1");
        let (meta, _) = store.read(session.key(), &mut Vec::new()).unwrap();
        let meta = meta.unwrap();
        assert_eq!((meta.created.0, meta.lease), (session.token().0, Some(session.lease())));
        assert!(last < Some(session.token()));
        last = Some(session.token());

        let changed = committed(store.commit(&[session.put(b"busy")]));
        let (meta, _) = store.read(session.key(), &mut Vec::new()).unwrap();
        let meta = meta.unwrap();
        assert_eq!((meta.modified, meta.lease), (changed, Some(session.lease())));
        session.close().unwrap();
        assert_eq!(store.value("worker/1"), None);
    }
}

fn a_name_that_is_taken_is_left_alone_and_told<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let first = open(&store, "worker/1");
    let taken = Session::open(&store, "worker/1", b"another", TTL).unwrap().taken().expect("it is taken");
    assert_eq!(taken.value, b"here");
    assert_eq!(taken.meta.created.0, first.token().0);
    assert!(taken.seen_at >= taken.meta.modified);
    assert_eq!(store.revocations.load(SeqCst), 1, "the lease granted in vain is given back");
    assert!(first.keep_alive().is_ok());
    drop(first);
    assert!(Session::open(&store, "worker/1", b"another", TTL).unwrap().mine().is_some());
}

fn a_session_that_cannot_be_opened_leaves_nothing_behind<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let kind = |opened: slotguard::Result<_>| opened.map(|_: slotguard::backend::Opened<_>| ()).unwrap_err().kind();
    assert_eq!(kind(Session::open(&store, "", b"", TTL)), ErrorKind::BadName);
    assert_eq!(kind(Session::open(&store, "a", b"", Duration::ZERO)), ErrorKind::TimeToLive);
    assert_eq!(kind(Session::open(&store, "a", b"", Duration::MAX)), ErrorKind::TimeToLive);
    assert_eq!(store.revocations.load(SeqCst), 0);
    let value = vec![0; B::LIMITS.value + 1];
    assert_eq!(kind(Session::open(&store, "a", &value, TTL)), ErrorKind::TooLarge);
    assert_eq!(store.revocations.load(SeqCst), 1, "the lease had been granted");
    assert_eq!(store.value("a"), None);
}

fn alive_asks_no_store<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let session = by_hand(&store, "worker/1");
    let calls = store.calls.load(SeqCst);
    for _ in 0..1000 {
        assert!(session.is_alive() && session.alive_until().is_some());
    }
    assert_eq!(store.calls.load(SeqCst), calls);
}

fn a_commit_under_the_condition_holds_only_while_the_session_lives<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let result = store.key("result").unwrap();
    let session = by_hand(&store, "worker/1");
    committed(store.commit(&[session.condition(), Op::put(&result, b"1")]));
    store.store.revoke(session.lease()).unwrap();
    // It does not know yet. The store does.
    assert!(session.is_alive());
    assert_eq!(store.commit(&[session.condition(), Op::put(&result, b"2")]).unwrap(), Outcome::Conflict);
    // Nor does a later session of the name help the earlier one.
    let later = by_hand(&store, "worker/1");
    assert_eq!(store.commit(&[session.condition(), Op::put(&result, b"3")]).unwrap(), Outcome::Conflict);
    assert_eq!(store.value("result").as_deref(), Some(&b"1"[..]));
    committed(store.commit(&[later.condition(), Op::put(&result, b"4")]));
}

fn a_revoked_lease_is_noticed_by_the_next_renewal_and_nothing_is_made_anew<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let session = by_hand(&store, "worker/1");
    store.store.revoke(session.lease()).unwrap();
    for _ in 0..3 {
        is_over(&session);
    }
    assert_eq!(store.value("worker/1"), None);
    assert_eq!(session.close().unwrap_err().kind(), ErrorKind::LeaseExpired);
}

fn whoever_deletes_the_entry_ends_the_session<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let session = by_hand(&store, "worker/1");
    store.delete("worker/1");
    // That somebody else has the name now does not make it ours again.
    store.put("worker/1", b"another");
    is_over(&session);
    assert_eq!(store.store.renew(session.lease()).unwrap_err().kind(), ErrorKind::LeaseExpired, "not kept for nobody");
    assert_eq!(store.value("worker/1").as_deref(), Some(&b"another"[..]));
}

fn who_waits_for_the_loss_is_woken_by_whoever_notices_it<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let (by_hand, by_thread) = (by_hand(&store, "by hand"), {
        Session::open(&store, "by thread", b"", B::LIMITS.shortest_lease.max(Duration::from_millis(50)))
            .unwrap()
            .mine()
            .unwrap()
    });
    thread::scope(|scope| {
        let waiters = [&by_hand, &by_thread].map(|session| scope.spawn(|| session.wait_lost(&Deadline::never())));
        store.store.revoke(by_hand.lease()).unwrap();
        by_hand.keep_alive().unwrap_err();
        let _ = store.store.revoke(by_thread.lease());
        for waiter in waiters {
            assert!(waiter.join().unwrap().unwrap());
        }
    });
}

fn a_wait_for_the_loss_ends_at_its_deadline_or_when_cancelled<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let session = open(&store, "worker/1");
    assert!(!session.wait_lost(&Deadline::now()).unwrap());
    let began = Instant::now();
    assert!(!session.wait_lost(&Deadline::after(Duration::from_millis(20))).unwrap());
    assert!(began.elapsed() >= Duration::from_millis(20));
    let stop = Cancel::new();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| session.wait_lost(&Deadline::never().or_cancelled(&stop)));
        stop.cancel();
        assert_eq!(waiter.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    });
    assert!(session.is_alive());
}

fn a_session_that_is_dropped_ends_its_thread_and_is_gone_for_all<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    drop(open(&store, "worker/1"));
    assert_eq!(store.value("worker/1"), None);
    assert_eq!(Arc::strong_count(&store), 1, "nobody else has the store any more");
    drop(by_hand(&store, "worker/1"));
    assert_eq!(store.value("worker/1"), None);
}

/// The child's copies must neither end the parent's sessions nor wait for threads that are the parent's.
fn a_forked_child_ends_nothing_of_its_parents_and_waits_for_nobody<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let [mut one, mut two, mut three] = [by_hand(&store, "1"), open(&store, "2"), by_hand(&store, "3")].map(Some);
    let sessions = (&mut one, &mut two, &mut three);
    fork(|| {
        drop(sessions.0.take());
        assert_eq!(sessions.2.as_ref().unwrap().keep_alive().unwrap_err().kind(), ErrorKind::Forked);
        assert_eq!(sessions.2.take().unwrap().close().unwrap_err().kind(), ErrorKind::Forked);
        assert_eq!(store.revocations.load(SeqCst), 0);
        drop(sessions.1.take());
        assert_eq!(store.revocations.load(SeqCst), 0);
    })
    .join();
    for session in [&one, &two, &three] {
        session.as_ref().unwrap().keep_alive().unwrap();
    }
}

macro_rules! on {
    ($backend:ident, $make:expr, $($name:ident)*) => {
        mod $backend {
            #[allow(unused_imports, reason = "what a backend is made with differs")]
            use super::*;
            $(#[test] fn $name() { super::$name($make) })*

            #[test]
            fn a_child_of_a_process_with_sessions() {
                isolated(|_| a_forked_child_ends_nothing_of_its_parents_and_waits_for_nobody($make));
            }
        }
    };
}

macro_rules! every_test_on {
    ($backend:ident, $make:expr) => {
        on! { $backend, $make,
            a_session_is_an_entry_and_each_of_a_name_has_a_larger_token
            a_name_that_is_taken_is_left_alone_and_told
            a_session_that_cannot_be_opened_leaves_nothing_behind
            alive_asks_no_store
            a_commit_under_the_condition_holds_only_while_the_session_lives
            a_revoked_lease_is_noticed_by_the_next_renewal_and_nothing_is_made_anew
            whoever_deletes_the_entry_ends_the_session
            who_waits_for_the_loss_is_woken_by_whoever_notices_it
            a_wait_for_the_loss_ends_at_its_deadline_or_when_cancelled
            a_session_that_is_dropped_ends_its_thread_and_is_gone_for_all
        }
    };
}

every_test_on!(model, Model::new);

every_test_on!(shared_memory, || { SharedMemory::new(Segment::builder().keys(1_000).anonymous().unwrap()).unwrap() });

// What follows needs a clock that a test moves.

#[test]
fn a_session_lives_its_time_from_the_last_renewal() {
    let store = weather(Model::new());
    let session = by_hand(&store, "worker/1");
    for _ in 0..5 {
        store.store.advance(TTL - Duration::from_nanos(1));
        assert!(session.is_alive());
        assert_eq!(session.keep_alive().unwrap(), store.now() + TTL);
        assert_eq!(session.alive_until(), Some(store.now() + TTL));
    }
    store.store.advance(TTL);
    is_over(&session);
}

/// A renewal whose answer takes 4 s has moved the store's deadline to 9 s from when it was made, not from when the answer
/// came. A session that counts from the answer believes in itself for 4 s in which somebody else may have the name.
#[test]
fn the_session_is_over_here_no_later_than_in_the_store() {
    let store = weather(Model::new());
    store.answer_slowly(|model| model.advance(Duration::from_secs(4)));
    for renewals in 0..3 {
        let session = by_hand(&store, "worker/1");
        for _ in 0..renewals {
            session.keep_alive().unwrap();
        }
        assert!(session.is_alive());
        store.store.advance(Duration::from_secs(5));
        assert_eq!(store.value("worker/1"), None);
        assert!(!session.is_alive(), "after {renewals} renewals");
    }
}

#[test]
fn after_the_end_nothing_is_sent_any_more() {
    let store = weather(Model::new());
    let session = by_hand(&store, "worker/1");
    // By our clock the time is up; the store's is behind, and would renew.
    store.move_ahead(TTL);
    let calls = store.calls.load(SeqCst);
    is_over(&session);
    assert_eq!(store.calls.load(SeqCst), calls);
}

/// Somebody has been told that the session is over while the renewal that would have saved it was on its way.
#[test]
fn what_one_caller_was_told_no_renewal_takes_back() {
    let store = weather(Model::new());
    let session = Arc::new(by_hand(&store, "worker/1"));
    let (asked, other): (Arc<OnceLock<bool>>, _) = (Arc::default(), Arc::downgrade(&session));
    let weather = Arc::downgrade(&store);
    let told = Arc::clone(&asked);
    store.answer_slowly(move |_| {
        weather.upgrade().unwrap().move_ahead(TTL);
        told.set(other.upgrade().unwrap().is_alive()).unwrap();
    });
    assert_eq!(session.keep_alive().unwrap_err().kind(), ErrorKind::LeaseExpired);
    assert_eq!(asked.get(), Some(&false));
    is_over(&session);
    assert_eq!(store.value("worker/1"), None, "the lease that was renewed for nobody is given back");
}

#[test]
fn a_renewal_that_fails_is_tried_again_until_the_local_deadline() {
    let store = weather(Model::new());
    let session = by_hand(&store, "worker/1");
    store.lost_renewals.store(2, SeqCst);
    for _ in 0..2 {
        store.store.advance(TTL / 3);
        assert_eq!(session.keep_alive().unwrap_err().kind(), ErrorKind::Outrun);
        assert!(session.is_alive());
    }
    session.keep_alive().unwrap();
    store.lost_renewals.store(u32::MAX, SeqCst);
    store.store.advance(TTL - Duration::from_nanos(1));
    assert_eq!(session.keep_alive().unwrap_err().kind(), ErrorKind::Outrun);
    store.store.advance(Duration::from_nanos(1));
    is_over(&session);
}

#[test]
fn the_sessions_thread_renews_it_also_after_failures() {
    let store = weather(Model::new());
    let time_to_live = Duration::from_millis(60);
    let session = Session::open(&store, "worker/1", b"", time_to_live).unwrap().mine().unwrap();
    for round in 0..10 {
        store.lost_renewals.store(round % 3, SeqCst);
        a_renewal(&store);
        // The model's clock stands still but for this, so it is renewals that keep it alive.
        store.store.advance(time_to_live * 2 / 3);
        assert!(session.is_alive() && store.value("worker/1").is_some());
    }
    a_renewal(&store);
    assert!(session.last_failure().is_none());
    store.lost_renewals.store(u32::MAX, SeqCst);
    let failure = loop {
        if let Some(failure) = session.last_failure() {
            break failure;
        }
        thread::yield_now();
    };
    assert_eq!(failure.kind(), ErrorKind::Outrun);
    store.lost_renewals.store(0, SeqCst);
    store.store.kill_owner(session.lease());
    assert!(session.wait_lost(&Deadline::never()).unwrap());
    is_over(&session);
}

#[test]
fn without_renewals_the_loss_is_known_when_the_time_is_up() {
    let store = weather(Model::new());
    store.real_time.store(true, SeqCst);
    store.lost_renewals.store(u32::MAX, SeqCst);
    let time_to_live = Duration::from_millis(60);
    let began = Instant::now();
    let session = Session::open(&store, "worker/1", b"", time_to_live).unwrap().mine().unwrap();
    assert!(session.wait_lost(&Deadline::never()).unwrap());
    assert!(began.elapsed() >= time_to_live);
    is_over(&session);
    assert_eq!(store.renewals.load(SeqCst), 0);
}
