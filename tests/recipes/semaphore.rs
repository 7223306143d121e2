//! Semaphores: never more out than there are permits, and none lost.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use slotguard::backend::{Backend, Op};
use slotguard::conformance::{Mortal, Subject};
use slotguard::recipe::semaphore::Error;
use slotguard::recipe::{BadCount, Lost, OtherCount, Semaphore};
use slotguard::{Deadline, ErrorKind, Outcome};

use crate::member::{LONG, held_shortly, member, member_for, names, put_as_another, read, soon};
use crate::on_every_backend;

on_every_backend! {
    never_more_are_out_than_there_are_permits,
    permits_are_given_in_the_order_of_asking,
    a_permit_expires_with_its_session,
    the_permit_of_the_dead_is_the_next_ones,
    who_gives_up_leaves_the_line,
    an_error_names_the_holders,
    another_number_of_permits_is_refused,
    nobody_has_a_permit_behind_one_who_believes_in_another_number,
    what_is_no_semaphore_is_refused,
    a_permit_proves_that_it_is_held_and_tells_when_it_is_lost,
    the_dead_have_no_permits_whoever_looks,
    who_waits_when_its_session_ends_is_told_that,
}

fn semaphore<S: Subject>(subject: &S, permits: u32) -> Semaphore<S::Store> {
    Semaphore::new(&member(subject.client()), "gpus", permits).expect("a name")
}

fn never_more_are_out_than_there_are_permits(subject: &impl Subject) {
    let out = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let semaphore = semaphore(subject, 3);
                for _ in 0..25 {
                    let permit = semaphore.acquire(&Deadline::never()).unwrap();
                    assert!(out.fetch_add(1, SeqCst) < 3, "a permit too many");
                    thread::yield_now();
                    out.fetch_sub(1, SeqCst);
                    permit.release().unwrap();
                }
            });
        }
    });
    assert_eq!(names(&subject.client(), "gpus"), [""; 0]);

    let permits: Vec<_> = (0..3).map(|_| semaphore(subject, 3).try_acquire().unwrap()).collect();
    assert!(permits.windows(2).all(|pair| pair[0].token() < pair[1].token()));
    let full = semaphore(subject, 3);
    assert_eq!(full.free().unwrap(), 0);
    assert!(full.try_acquire().is_err(), "a permit too many");
    assert!(full.acquire(&soon()).is_err(), "a permit too many");
    drop(permits);
    assert_eq!(full.free().unwrap(), 3);
}

fn permits_are_given_in_the_order_of_asking(subject: &impl Subject) {
    let first = [0, 1].map(|_| semaphore(subject, 2).try_acquire().unwrap());
    let served = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for waiter in 0..5 {
            let served = &served;
            scope.spawn(move || {
                let permit = semaphore(subject, 2).acquire(&Deadline::never()).unwrap();
                served.lock().unwrap().push(permit.token());
                permit.release().unwrap();
            });
            while names(&subject.client(), "gpus/").len() < 3 + waiter {
                thread::yield_now();
            }
        }
        let [one, two] = first;
        // Either of those who have one may go.
        two.release().unwrap();
        while served.lock().unwrap().len() < 5 {
            thread::yield_now();
        }
        one.release().unwrap();
    });
    let served = served.into_inner().unwrap();
    assert!(served.windows(2).all(|pair| pair[0] < pair[1]), "{served:?}");
}

fn a_permit_expires_with_its_session(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    let key = store.key("result").unwrap();
    let next = Semaphore::new(&member_for(&store, LONG), "gpus", 1).unwrap();
    let (late, _session, time) = held_shortly(subject, |session| {
        let permit = Semaphore::new(session, "gpus", 1)?.try_acquire()?;
        permit.renew()?;
        Ok::<_, Error>(permit)
    });
    subject.pass(time);
    assert!(!late.is_alive());
    let permit = next.acquire(&Deadline::never()).unwrap();
    assert!(permit.is_alive() && permit.token() > late.token());
    assert!(matches!(permit.commit(&[Op::put(&key, b"new")]), Ok(Outcome::Committed(_))));
    for refused in [late.commit(&[Op::put(&key, b"late")]).map(drop), late.renew().map(drop), late.release()] {
        match refused.expect_err("it is somebody else's") {
            Error::Lost(Lost { what: "semaphore", holder: Some(ticket), .. }) => {
                assert_eq!(ticket.token, permit.token())
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(read(&*store, "result").unwrap().0, b"new");
    permit.release().unwrap();
}

fn the_permit_of_the_dead_is_the_next_ones(subject: &impl Mortal) {
    let _lives = semaphore(subject, 2).try_acquire().unwrap();
    for patient in [true, false] {
        let victim = subject.client();
        let (lease, _) = put_as_another(&victim, "gpus/s/x", b"2 1 0 victim");
        assert!(semaphore(subject, 2).try_acquire().is_err());
        thread::scope(|scope| {
            let waiter = patient.then(|| {
                let waiter = scope.spawn(|| semaphore(subject, 2).acquire(&Deadline::never()).map(drop));
                while names(&subject.client(), "gpus/").len() < 3 {
                    thread::yield_now();
                }
                waiter
            });
            subject.kill(victim, &[lease]);
            match waiter {
                Some(waiter) => waiter.join().unwrap().unwrap(),
                // Nor need anybody have waited.
                None => drop(semaphore(subject, 2).try_acquire().unwrap()),
            }
        });
    }
}

fn who_gives_up_leaves_the_line(subject: &impl Subject) {
    let permit = semaphore(subject, 1).try_acquire().unwrap();
    assert!(semaphore(subject, 1).acquire(&soon()).is_err());
    assert_eq!(names(&subject.client(), "gpus/").len(), 1);
    drop(permit);
    semaphore(subject, 1).try_acquire().unwrap();
    assert_eq!(names(&subject.client(), "gpus/"), [""; 0]);
}

fn an_error_names_the_holders(subject: &impl Subject) {
    let permits = [0, 1].map(|_| semaphore(subject, 2).try_acquire().unwrap());
    let error = semaphore(subject, 2).try_acquire().expect_err("both are out");
    let text = error.to_string();
    let Error::InUse(ahead) = error else { panic!("{error}") };
    assert_eq!(
        ahead.holders.iter().map(|ticket| ticket.token).collect::<Vec<_>>(),
        permits.each_ref().map(|p| p.token())
    );
    assert!(text.starts_with("semaphore \"gpus\": held by ") && text.contains("; 2 ahead of you"), "{text}");
}

fn another_number_of_permits_is_refused(subject: &impl Subject) {
    let permit = semaphore(subject, 2).try_acquire().unwrap();
    for deadline in [Deadline::now(), Deadline::never()] {
        let error = semaphore(subject, 3).acquire(&deadline).expect_err("there are two");
        assert!(matches!(error, Error::OtherCount(OtherCount { asked: 3, found: 2, .. })), "{error}");
    }
    assert_eq!(names(&subject.client(), "gpus/").len(), 1);
    drop(permit);
    // Once nobody uses it, any number is good.
    semaphore(subject, 3).try_acquire().unwrap();
}

/// One who believes in two has drawn its ticket behind one who believes in ten, and has not looked yet. If those behind it
/// went by the first alone, it would have a permit of two beside eight others once that one has gone.
fn nobody_has_a_permit_behind_one_who_believes_in_another_number(subject: &impl Subject) {
    let store = subject.client();
    let (first, _) = put_as_another(&store, "gpus/s/x", b"10 1 0 first");
    let (slow, _) = put_as_another(&store, "gpus/s/y", b"2 1 0 slow");
    let error = semaphore(subject, 10).try_acquire().expect_err("it is not known yet how many there are");
    assert!(matches!(&error, Error::InUse(ahead) if ahead.ahead == 2), "{error}");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| semaphore(subject, 10).acquire(&Deadline::never()).map(drop));
        while names(&subject.client(), "gpus/").len() < 3 {
            thread::yield_now();
        }
        // It has looked, was refused, and is gone.
        store.revoke(slow).unwrap();
        waiter.join().unwrap().unwrap();
    });
    let (_, _) = put_as_another(&store, "gpus/s/z", b"2 1 0 slow");
    store.revoke(first).unwrap();
    let error = semaphore(subject, 10).try_acquire().expect_err("the other is the first now");
    assert!(matches!(error, Error::OtherCount(OtherCount { asked: 10, found: 2, .. })), "{error}");
}

fn a_permit_proves_that_it_is_held_and_tells_when_it_is_lost(subject: &impl Subject) {
    let store = subject.client();
    let key = store.key("result").unwrap();
    let permit = semaphore(subject, 1).try_acquire().unwrap();
    permit.check().unwrap();
    assert!(!permit.wait_lost(&Deadline::now()).unwrap() && !permit.wait_lost(&soon()).unwrap());
    let commit = || store.commit(&permit.protect(&[Op::put(&key, b"done")])).unwrap();
    assert!(matches!(commit(), Outcome::Committed(_)));
    thread::scope(|scope| {
        let told = scope.spawn(|| permit.wait_lost(&Deadline::never()));
        let ticket = store.key(&names(&store, "gpus/s/")[0]).unwrap();
        store.commit(&[Op::delete(&ticket)]).unwrap();
        assert!(told.join().unwrap().unwrap());
    });
    assert!(!permit.is_alive());
    assert!(matches!(permit.check(), Err(Error::Lost(Lost { what: "semaphore", .. }))));
    assert_eq!(commit(), Outcome::Conflict);
}

/// Nobody waits for the dead one's permit.
fn the_dead_have_no_permits_whoever_looks(subject: &impl Mortal) {
    let victim = subject.client();
    let (lease, _) = put_as_another(&victim, "gpus/s/x", b"2 1 0 victim");
    assert_eq!(semaphore(subject, 2).free().unwrap(), 1);
    subject.kill(victim, &[lease]);
    assert_eq!(semaphore(subject, 2).free().unwrap(), 2);
}

fn who_waits_when_its_session_ends_is_told_that(subject: &impl Subject) {
    let permit = semaphore(subject, 1).try_acquire().unwrap();
    let session = member(subject.client());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| Semaphore::new(&session, "gpus", 1).unwrap().acquire(&Deadline::never()));
        while names(&subject.client(), "gpus/").len() < 2 {
            thread::yield_now();
        }
        subject.client().revoke(session.lease()).unwrap();
        permit.release().unwrap();
        let error = waiter.join().unwrap().expect_err("its session is over");
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::LeaseExpired), "{error}");
    });
}

fn what_is_no_semaphore_is_refused<S: Subject>(subject: &S) {
    let session = member(subject.client());
    let error = Semaphore::new(&session, "gpus", 0).expect_err("nobody could have it");
    assert!(matches!(error, Error::BadCount(BadCount { what: "semaphore", asked: 0, .. })), "{error}");
    for name in ["", "a\0b", &"x".repeat(S::Store::LIMITS.name - 35)] {
        let error = Semaphore::new(&session, name, 1).expect_err("no name");
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::BadName), "{error}");
    }
}
