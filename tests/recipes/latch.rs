//! Latches: each count counts once, and the last one opens.

use std::sync::{Arc, Barrier};
use std::thread;

use slotguard::backend::{Backend, Op};
use slotguard::conformance::Subject;
use slotguard::recipe::{BadCount, Kind, Latch, OtherCount, latch::Error};
use slotguard::{Deadline, ErrorKind};

use crate::delivery::frail::Frail;
use crate::member::{names, soon};
use crate::on_every_backend;

on_every_backend! {
    a_latch_opens_with_the_last_count_for_all,
    no_count_of_a_latch_is_lost,
    no_count_of_a_latch_is_lost_that_comes_between_anothers_look_and_its_commit,
    a_latch_for_another_number_is_refused,
    a_handle_of_a_removed_latch_does_not_count_at_the_next,
    what_is_no_latch_is_refused,
}

fn latch<S: Subject>(subject: &S, count: u32) -> Latch<S::Store> {
    Latch::new(&Arc::new(subject.client()), "migrated", count).expect("a latch")
}

fn a_latch_opens_with_the_last_count_for_all(subject: &impl Subject) {
    let latch = || latch(subject, 3);
    thread::scope(|scope| {
        let waiters = [0, 1].map(|_| scope.spawn(|| latch().wait(&Deadline::never())));
        for left in [2, 1] {
            assert_eq!(latch().count_down().unwrap(), left);
            let error = latch().wait(&soon()).expect_err("it is closed");
            assert!(matches!(error, Error::NotOpen { left: found, .. } if found == left), "{error}");
            assert_eq!(error.kind(), Kind::TimedOut);
        }
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        assert_eq!(latch().count_down().unwrap(), 0);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap().unwrap());
    });
    assert_eq!((latch().count_down().unwrap(), latch().left().unwrap()), (0, 0), "it stays open");
    latch().wait(&Deadline::now()).unwrap();
    latch().remove().unwrap();
    assert_eq!(names(&subject.client(), "migrated"), [""; 0]);
    assert_eq!(latch().left().unwrap(), 3, "the name is free for a new one");
}

fn no_count_of_a_latch_is_lost(subject: &impl Subject) {
    const EACH: u32 = 1000;
    let latch = latch(subject, 4 * EACH + 1);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let latch = self::latch(subject, 4 * EACH + 1);
                start.wait();
                (0..EACH).for_each(|_| assert!(latch.count_down().unwrap() > 0));
            });
        }
    });
    assert_eq!(latch.left().unwrap(), 1);
}

fn no_count_of_a_latch_is_lost_that_comes_between_anothers_look_and_its_commit(subject: &impl Subject) {
    let frail = Frail::new(subject.client());
    let latch = Latch::new(&frail, "migrated", 4).unwrap();
    for left in [2, 0] {
        let rival = self::latch(subject, 4);
        frail.before_next_commit(move |_| assert_eq!(rival.count_down().unwrap(), left + 1));
        assert_eq!(latch.count_down().unwrap(), left);
    }
}

fn a_latch_for_another_number_is_refused(subject: &impl Subject) {
    let latch = latch(subject, 2);
    latch.count_down().unwrap();
    let error = Latch::new(&Arc::new(subject.client()), "migrated", 3).expect_err("it is for two");
    assert!(matches!(error, Error::OtherCount(OtherCount { what: "latch", asked: 3, found: 2, .. })), "{error}");
    assert_eq!(latch.left().unwrap(), 1);
}

fn a_handle_of_a_removed_latch_does_not_count_at_the_next(subject: &impl Subject) {
    let (late, waits) = (latch(subject, 1), latch(subject, 1));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| waits.wait(&Deadline::never()));
        latch(subject, 1).remove().unwrap();
        let error = waiter.join().unwrap().expect_err("it was removed");
        assert!(matches!(error, Error::Removed { .. }), "{error}");
        assert!(error.is_lost());
    });
    let next = latch(subject, 1);
    assert!(matches!(late.count_down(), Err(Error::Removed { .. })));
    assert!(matches!(late.wait(&Deadline::never()), Err(Error::Removed { .. })));
    late.remove().expect("it is gone already");
    assert_eq!(next.left().unwrap(), 1);
    next.wait(&soon()).expect_err("nobody counted");
}

fn what_is_no_latch_is_refused<S: Subject>(subject: &S) {
    let store = Arc::new(subject.client());
    let error = Latch::new(&store, "migrated", 0).expect_err("open from the beginning");
    assert!(matches!(error, Error::BadCount(BadCount { what: "latch", asked: 0, .. })), "{error}");
    for name in ["", "a\0b", &"x".repeat(S::Store::LIMITS.name - 5)] {
        let error = Latch::new(&store, name, 1).expect_err("no name");
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::BadName), "{error}");
    }
    assert_eq!(names(&*store, ""), [""; 0], "nothing has been written");
    Latch::new(&store, &"x".repeat(S::Store::LIMITS.name - 6), 1).unwrap();
    let (latch, key) = (latch(subject, 1), store.key("migrated/latch").unwrap());
    store.commit(&[Op::put(&key, b"many")]).unwrap();
    assert!(matches!(latch.count_down(), Err(Error::Damaged { .. })));
    store.commit(&[Op::delete(&key)]).unwrap();
    assert!(matches!(latch.wait(&Deadline::never()), Err(Error::Removed { .. })));
}
