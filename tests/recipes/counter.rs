//! Counters: what was added is in the number once.

use std::sync::{Arc, Barrier};
use std::thread;

use slotguard::ErrorKind;
use slotguard::backend::{Backend, Op};
use slotguard::conformance::Subject;
use slotguard::recipe::{Counter, counter::Error};

use crate::delivery::frail::Frail;
use crate::on_every_backend;

on_every_backend! {
    no_addition_is_lost_and_every_answer_was_the_value,
    no_addition_is_lost_that_comes_between_anothers_look_and_its_commit,
    a_counter_that_would_overflow_stays_as_it_is,
    what_is_no_counter_is_refused,
}

fn no_addition_is_lost_and_every_answer_was_the_value(subject: &impl Subject) {
    const EACH: i64 = 1000;
    let start = Barrier::new(4);
    let told: Vec<i64> = thread::scope(|scope| {
        let add = || {
            let counter = Counter::new(&Arc::new(subject.client()), "requests").unwrap();
            start.wait();
            (0..EACH).map(|_| counter.add(1).unwrap()).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(add)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let counter = Counter::new(&Arc::new(subject.client()), "requests").unwrap();
    assert_eq!(counter.get().unwrap(), 4 * EACH);
    let mut sorted = told.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=4 * EACH).collect::<Vec<_>>(), "each value was told to one");
    assert_eq!((counter.add(-4 * EACH - 1).unwrap(), counter.get().unwrap()), (-1, -1));
}

fn no_addition_is_lost_that_comes_between_anothers_look_and_its_commit(subject: &impl Subject) {
    let frail = Frail::new(subject.client());
    let counter = Counter::new(&frail, "requests").unwrap();
    for before in [0, 11] {
        let rival = Counter::new(&Arc::new(subject.client()), "requests").unwrap();
        frail.before_next_commit(move |_| assert_eq!(rival.add(10).unwrap(), before + 10));
        assert_eq!(counter.add(1).unwrap(), before + 11);
    }
}

fn a_counter_that_would_overflow_stays_as_it_is(subject: &impl Subject) {
    let counter = Counter::new(&Arc::new(subject.client()), "requests").unwrap();
    counter.add(i64::MAX).unwrap();
    let error = counter.add(1).expect_err("it is full");
    assert!(matches!(error, Error::Overflow { value: i64::MAX, by: 1, .. }), "{error}");
    assert_eq!(counter.get().unwrap(), i64::MAX);
    counter.add(-i64::MAX).unwrap();
    counter.add(i64::MIN).unwrap();
    assert!(counter.add(-1).is_err());
    assert_eq!(counter.get().unwrap(), i64::MIN);
}

fn what_is_no_counter_is_refused<S: Subject>(subject: &S) {
    let store = Arc::new(subject.client());
    for name in ["", "a\0b", &"x".repeat(S::Store::LIMITS.name - 7)] {
        let error = Counter::new(&store, name).expect_err("no name");
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::BadName), "{error}");
    }
    assert_eq!(Counter::new(&store, &"x".repeat(S::Store::LIMITS.name - 8)).unwrap().add(1).unwrap(), 1);
    let counter = Counter::new(&store, "requests").unwrap();
    store.commit(&[Op::put(&store.key("requests/counter").unwrap(), b"many")]).unwrap();
    for error in [counter.add(1), counter.get()] {
        assert!(matches!(error, Err(Error::Damaged { .. })));
    }
}
