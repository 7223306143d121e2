//! Barriers: nobody goes on before all have come, and all go on then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use slotguard::backend::{Act, Backend};
use slotguard::conformance::{Mortal, Subject};
use slotguard::recipe::barrier::Error;
use slotguard::recipe::{BadCount, Barrier, DoubleBarrier, OtherCount, double_barrier};
use slotguard::{Cancel, Deadline, ErrorKind};

use crate::member::{LONG, SHORT, member, member_for, names, put_as_another, soon, until_there};
use crate::on_every_backend;
use crate::weather::{lost, weather};

on_every_backend! {
    all_go_on_when_the_last_has_come_again_and_again,
    who_gave_up_is_not_counted,
    the_dead_are_not_counted,
    who_loses_its_session_is_told,
    who_was_replaced_while_it_waited_does_not_go_on,
    who_goes_while_the_last_one_is_stopped_is_not_counted,
    who_gives_up_in_a_full_store_while_the_last_one_is_stopped_is_not_counted,
    of_more_than_a_commit_can_check_all_are_counted_and_may_give_up,
    who_waits_for_a_barrier_that_is_removed_is_told,
    what_came_to_a_removed_barrier_is_not_counted_by_the_next,
    another_number_of_parties_is_refused,
    what_is_no_barrier_is_refused,
}

fn barrier<S: Subject>(subject: &S, parties: u32) -> Barrier<S::Store> {
    Barrier::new(&member(subject.client()), "phase", parties).expect("a name")
}

fn all_go_on_when_the_last_has_come_again_and_again(subject: &impl Subject) {
    const PARTIES: u64 = 5;
    const ROUNDS: u64 = 20;
    let (come, last) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..PARTIES {
            scope.spawn(|| {
                let barrier = barrier(subject, PARTIES as u32);
                for round in 1..=ROUNDS {
                    come.fetch_add(1, SeqCst);
                    let passed = barrier.wait(&Deadline::never()).unwrap();
                    assert_eq!(passed.generation, round);
                    assert!(come.load(SeqCst) >= round * PARTIES, "somebody has not come");
                    last.fetch_add(passed.last.into(), SeqCst);
                }
            });
        }
    });
    assert_eq!(last.into_inner(), ROUNDS, "one of all is the last, each time");
    assert_eq!(names(&subject.client(), "phase/b/"), [""; 0]);
    assert!(barrier(subject, PARTIES as u32).wait(&Deadline::now()).is_err());
}

fn who_gave_up_is_not_counted(subject: &impl Subject) {
    let error = barrier(subject, 3).wait(&soon()).expect_err("it is alone");
    assert!(matches!(error, Error::NotAllThere { there: 1, parties: 3, .. }), "{error}");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| barrier(subject, 3).wait(&Deadline::never()));
        until_there(subject, "phase/b/", 1);
        let error = barrier(subject, 3).wait(&soon()).expect_err("they are two");
        assert!(matches!(error, Error::NotAllThere { there: 2, .. }), "{error}");
        assert!(!waiter.is_finished());
        let second = scope.spawn(|| barrier(subject, 3).wait(&Deadline::never()));
        until_there(subject, "phase/b/", 2);
        assert!(barrier(subject, 3).wait(&Deadline::now()).unwrap().last, "who makes it full need not wait");
        assert!(!waiter.join().unwrap().unwrap().last && !second.join().unwrap().unwrap().last);
    });
}

fn the_dead_are_not_counted(subject: &impl Mortal) {
    // Generation 1 of 2 parties, of which one has come and dies.
    assert!(barrier(subject, 2).wait(&Deadline::now()).is_err());
    let victim = subject.client();
    let (lease, _) = put_as_another(&victim, "phase/b/x", b"1 1 0 victim");
    subject.kill(victim, &[lease]);
    let error = barrier(subject, 2).wait(&soon()).expect_err("the other is dead");
    assert!(matches!(error, Error::NotAllThere { there: 1, .. }), "{error}");
    // As long as it lives it is.
    let lives = subject.client();
    put_as_another(&lives, "phase/b/y", b"1 1 0 somebody");
    assert!(barrier(subject, 2).wait(&Deadline::now()).unwrap().last);
}

fn who_loses_its_session_is_told(subject: &impl Subject) {
    let session = member_for(&Arc::new(subject.client()), SHORT);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| Barrier::new(&session, "phase", 2).unwrap().wait(&Deadline::never()));
        subject.pass(SHORT);
        let ended = waiter.join().unwrap().expect_err("its session is over");
        assert!(matches!(&ended, Error::Store(error) if error.kind() == ErrorKind::LeaseExpired), "{ended}");
    });
    let error = barrier(subject, 2).wait(&soon()).expect_err("nobody else is there");
    assert!(matches!(error, Error::NotAllThere { there: 1, .. }), "{error}");
}

/// Its lease has ended without its notice, as if it had been stopped, and its place is another's; when it looks, its
/// generation has passed, without it.
fn who_was_replaced_while_it_waited_does_not_go_on(subject: &impl Subject) {
    let stopped = member(subject.client());
    let wait = |session| Barrier::new(&session, "phase", 2).unwrap().wait(&Deadline::never());
    thread::scope(|scope| {
        let late = scope.spawn(|| wait(Arc::clone(&stopped)));
        until_there(subject, "phase/b/", 1);
        subject.client().revoke(stopped.lease()).unwrap();
        let next = [(); 2].map(|()| member(subject.client())).map(|session| scope.spawn(move || wait(session)));
        assert!(next.map(|next| next.join().unwrap().unwrap().generation) == [1; 2]);
        let error = late.join().unwrap().expect_err("two went on in place of it");
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::LeaseExpired), "{error}");
    });
}

/// The last to come looks, is stopped, and commits: in between the lease of one that it has counted ends.
fn who_goes_while_the_last_one_is_stopped_is_not_counted(subject: &impl Subject) {
    assert!(barrier(subject, 2).wait(&Deadline::now()).is_err());
    let peer = subject.client();
    let (lease, _) = put_as_another(&peer, "phase/b/x", b"1 1 0 peer");
    let stopped = weather(subject.client());
    let last = Barrier::new(&member_for(&stopped, LONG), "phase", 2).unwrap();
    stopped.before_commits(move |store, _| {
        let _ = store.revoke(lease);
        Ok(())
    });
    let error = last.wait(&soon()).expect_err("the other had gone");
    assert!(matches!(error, Error::NotAllThere { there: 1, .. }), "{error}");
}

/// As before; but the other gives up, where nothing can be written any more.
fn who_gives_up_in_a_full_store_while_the_last_one_is_stopped_is_not_counted(subject: &impl Subject) {
    let (full, stopped) = (weather(subject.client()), weather(subject.client()));
    let [other, last] = [&full, &stopped].map(|store| Barrier::new(&member_for(store, LONG), "phase", 2).unwrap());
    let stop = Cancel::new();
    let deadline = Deadline::never().or_cancelled(&stop);
    thread::scope(|scope| {
        let other = scope.spawn(|| other.wait(&deadline));
        until_there(subject, "phase/b/", 1);
        full.before_commits(
            |_, ops| {
                if ops.iter().any(|op| matches!(op.act, Act::Put { .. })) { Err(lost()) } else { Ok(()) }
            },
        );
        let stop = stop.clone();
        stopped.before_commits(move |store, ops| {
            // Its coming; afterwards it gives up, too.
            if ops.iter().any(|op| matches!(op.act, Act::Put { .. })) {
                stop.cancel();
                while !names(store, "phase/b/").is_empty() {
                    thread::yield_now();
                }
            }
            Ok(())
        });
        let error = last.wait(&soon()).expect_err("the other has given up");
        assert!(matches!(error, Error::NotAllThere { there: 1, .. }), "{error}");
        let error = other.join().unwrap().expect_err("it was cancelled");
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::Cancelled), "{error}");
    });
}

/// Who gives up does so where nothing can be written but by who comes.
fn of_more_than_a_commit_can_check_all_are_counted_and_may_give_up<S: Subject>(subject: &S) {
    let (most, peers, full) = (S::Store::LIMITS.ops - 3, subject.client(), weather(subject.client()));
    let session = member_for(&full, LONG);
    full.before_commits(|_, ops| {
        let puts = || ops.iter().filter(|op| matches!(op.act, Act::Put { .. }));
        let comes = puts().any(|op| op.key.as_ref().contains("/b/"));
        if puts().count() > 0 && !comes { Err(lost()) } else { Ok(()) }
    });
    for parties in [most, most + 1, most + 20] {
        let name = format!("of {parties}");
        let barrier = Barrier::new(&session, &name, parties as u32).unwrap();
        for there in 1..parties {
            let error = barrier.wait(&Deadline::now()).expect_err("one is missing");
            assert!(matches!(error, Error::NotAllThere { there: found, .. } if found == there as u64), "{error}");
            put_as_another(&peers, &format!("{name}/b/{there}"), b"1 1 0 peer");
        }
        assert!(barrier.wait(&Deadline::now()).unwrap().last);
    }
}

fn who_waits_for_a_barrier_that_is_removed_is_told(subject: &impl Subject) {
    thread::scope(|scope| {
        let waiters = [0, 1].map(|_| scope.spawn(|| barrier(subject, 3).wait(&Deadline::never())));
        until_there(subject, "phase/b/", 2);
        barrier(subject, 3).remove().unwrap();
        for waiter in waiters {
            let error = waiter.join().unwrap().expect_err("it was removed");
            assert!(matches!(error, Error::Removed { what: "barrier", .. }), "{error}");
        }
    });
    assert_eq!(names(&subject.client(), "phase"), [""; 0]);
    barrier(subject, 3).remove().expect("there is nothing to remove");
    // The name is free for another number.
    assert_eq!(barrier(subject, 1).wait(&Deadline::now()).unwrap().generation, 1);
    assert_eq!(barrier(subject, 1).wait(&Deadline::now()).unwrap().generation, 2);
}

/// One that waits is stopped, and has not been told when others come anew.
fn what_came_to_a_removed_barrier_is_not_counted_by_the_next(subject: &impl Subject) {
    assert!(barrier(subject, 2).wait(&Deadline::now()).is_err());
    let stopped = subject.client();
    put_as_another(&stopped, "phase/b/x", b"1 1 0 stopped");
    barrier(subject, 2).remove().unwrap();
    for _ in 0..2 {
        let error = barrier(subject, 2).wait(&soon()).expect_err("it is alone");
        assert!(matches!(error, Error::NotAllThere { there: 1, .. }), "{error}");
    }
}

fn another_number_of_parties_is_refused(subject: &impl Subject) {
    assert!(barrier(subject, 2).wait(&Deadline::now()).is_err());
    let error = barrier(subject, 3).wait(&Deadline::never()).expect_err("they are two");
    assert!(matches!(error, Error::OtherCount(OtherCount { asked: 3, found: 2, .. })), "{error}");
    // A double barrier of the same name is another thing.
    assert!(DoubleBarrier::new(&member(subject.client()), "phase", 1).unwrap().enter(&Deadline::now()).is_ok());
}

fn what_is_no_barrier_is_refused<S: Subject>(subject: &S) {
    let session = member(subject.client());
    let none = Barrier::new(&session, "phase", 0).expect_err("nobody");
    assert!(matches!(none, Error::BadCount(BadCount { what: "barrier", asked: 0, .. })), "{none}");
    let none = DoubleBarrier::new(&session, "phase", 0).expect_err("nobody");
    let double_barrier::Error::Barrier(none) = none else { panic!("{none}") };
    assert!(matches!(none, Error::BadCount(BadCount { what: "double barrier", asked: 0, .. })), "{none}");
    for name in ["", "a\0b", &"x".repeat(S::Store::LIMITS.name - 35)] {
        let error = Barrier::new(&session, name, 1).expect_err("no name");
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::BadName), "{error}");
    }
    let alone = Barrier::new(&session, &"x".repeat(S::Store::LIMITS.name - 36), 1).unwrap();
    assert!((1..=3).all(|round| alone.wait(&Deadline::now()).unwrap().generation == round));
}
