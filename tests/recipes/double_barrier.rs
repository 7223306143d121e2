//! Double barriers: nobody begins before all have come, and nobody is done before all are.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use slotguard::Deadline;
use slotguard::conformance::{Mortal, Subject};
use slotguard::recipe::double_barrier::{Error, Inside};
use slotguard::recipe::{DoubleBarrier, barrier};

use crate::member::{member, names, put_as_another, soon, until_there};
use crate::on_every_backend;

on_every_backend! {
    all_begin_together_and_end_together,
    who_is_still_inside_is_named,
    who_died_inside_has_left,
    one_may_enter_again_while_others_leave,
    whoever_is_inside_of_what_is_removed_leaves_with_its_own,
}

fn double<S: Subject>(subject: &S, parties: u32) -> DoubleBarrier<S::Store> {
    DoubleBarrier::new(&member(subject.client()), "step", parties).expect("a name")
}

fn all_begin_together_and_end_together(subject: &impl Subject) {
    const PARTIES: u64 = 4;
    const ROUNDS: u64 = 10;
    let (come, done) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..PARTIES {
            scope.spawn(|| {
                let step = double(subject, PARTIES as u32);
                for round in 1..=ROUNDS {
                    come.fetch_add(1, SeqCst);
                    let inside = step.enter(&Deadline::never()).unwrap();
                    assert_eq!(inside.generation(), round);
                    assert!(come.load(SeqCst) >= round * PARTIES, "somebody has not come");
                    done.fetch_add(1, SeqCst);
                    inside.leave(&Deadline::never()).unwrap();
                    assert!(done.load(SeqCst) >= round * PARTIES, "somebody is not done");
                }
            });
        }
    });
    assert_eq!(names(&subject.client(), "step/d/"), [""; 0]);
}

/// Lets two enter.
fn with_two_inside<S: Subject>(subject: &S, play: impl FnOnce(Inside<'_, S::Store>, Inside<'_, S::Store>)) {
    let [one, two] = [0, 1].map(|_| double(subject, 2));
    thread::scope(|scope| {
        let first = scope.spawn(|| one.enter(&Deadline::never()).unwrap());
        let second = two.enter(&Deadline::never()).unwrap();
        play(first.join().unwrap(), second);
    });
}

fn who_is_still_inside_is_named(subject: &impl Subject) {
    with_two_inside(subject, |one, two| {
        let error = one.leave(&soon()).expect_err("one is inside");
        assert!(matches!(&error, Error::NotAllGone { inside: 1, of, .. } if of.token == two.token()), "{error}");
        two.leave(&Deadline::now()).expect("the other has left");
    });
    // Whoever drops it has left, too.
    with_two_inside(subject, |one, two| {
        drop(one);
        two.leave(&Deadline::now()).unwrap();
    });
}

fn who_died_inside_has_left(subject: &impl Mortal) {
    let victim = subject.client();
    let step = double(subject, 2);
    assert!(step.enter(&Deadline::now()).is_err());
    let (lease, _) = put_as_another(&victim, "step/d/x", b"1 1 0 victim");
    let inside = step.enter(&Deadline::now()).expect("both are there");
    thread::scope(|scope| {
        let leaving = scope.spawn(|| inside.leave(&Deadline::never()));
        until_there(subject, "step/d/", 1);
        assert!(!leaving.is_finished(), "the other lives");
        subject.kill(victim, &[lease]);
        leaving.join().unwrap().unwrap();
    });
}

fn one_may_enter_again_while_others_leave(subject: &impl Subject) {
    let order = Mutex::new(Vec::new());
    with_two_inside(subject, |one, two| {
        one.leave(&Deadline::now()).expect_err("one is inside");
        thread::scope(|scope| {
            let again = scope.spawn(|| {
                let step = double(subject, 2);
                let inside = step.enter(&Deadline::never()).unwrap();
                order.lock().unwrap().push("in again");
                inside.generation()
            });
            until_there(subject, "step/d/", 2);
            order.lock().unwrap().push("out");
            two.leave(&Deadline::now()).expect("who waits to enter is not inside");
            drop(double(subject, 2).enter(&Deadline::never()).unwrap());
            assert_eq!(again.join().unwrap(), 2);
        });
    });
    assert_eq!(order.into_inner().unwrap(), ["out", "in again"]);
}

fn whoever_is_inside_of_what_is_removed_leaves_with_its_own(subject: &impl Subject) {
    let next = subject.client();
    with_two_inside(subject, |one, two| {
        double(subject, 2).remove().unwrap();
        // One comes to the next of this name, for its first generation as these did.
        assert!(double(subject, 3).enter(&Deadline::now()).is_err());
        put_as_another(&next, "step/d/x", b"1 1 0 next");
        let error = one.leave(&soon()).expect_err("one is inside");
        assert!(matches!(&error, Error::NotAllGone { inside: 1, of, .. } if of.token == two.token()), "{error}");
        two.leave(&Deadline::now()).expect("who waits for the next one is not inside");
    });
    let waits = double(subject, 3);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| waits.enter(&Deadline::never()).map(drop));
        until_there(subject, "step/d/", 2);
        double(subject, 3).remove().unwrap();
        let error = waiter.join().unwrap().expect_err("it was removed");
        assert!(matches!(error, Error::Barrier(barrier::Error::Removed { what: "double barrier", .. })), "{error}");
    });
}
