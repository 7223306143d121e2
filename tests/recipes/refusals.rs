//! A recipe's error keeps its words, its kind and the store's error in `recipe::Error`, and prints its cause once.

use std::error::Error as _;
use std::sync::Arc;

use slotguard::backend::Model;
use slotguard::recipe::lock::{self, Mode};
use slotguard::recipe::{self, Barrier, DoubleBarrier, Election, Guarded, Kind, Lock, Semaphore};
use slotguard::{Deadline, ErrorKind};

use crate::member::{LONG, member_for, soon};

/// Turns the error of a refused call into the one for all recipes; it says and is what it was.
#[track_caller]
fn refused<T, E: std::error::Error + Into<recipe::Error>>(answer: Result<T, E>, kind: Kind) -> recipe::Error {
    let error = answer.map(drop).expect_err("it is refused");
    let text = error.to_string();
    let error = error.into();
    assert_eq!((error.to_string(), error.kind()), (text, kind));
    assert!(error.source().is_none(), "the cause of {error} is printed twice");
    assert_eq!((error.is_busy(), error.is_lost()), (kind == Kind::Busy, kind == Kind::Lost));
    error
}

#[test]
fn an_error_of_a_recipe_is_the_same_among_those_of_all() {
    let store = Arc::new(Model::new());
    let (one, two) = (member_for(&store, LONG), member_for(&store, LONG));
    let (lock, guarded) = (Lock::new(&one, "lock").unwrap(), Guarded::new(&one, "row").unwrap());
    let held = lock.try_acquire().unwrap();
    let other = Lock::new(&two, "lock").unwrap();
    refused(other.try_acquire(), Kind::Busy);
    refused(lock::all(&[(&other, Mode::Shared)], &Deadline::now()), Kind::Busy);
    refused(lock::all::<Model>(&[], &Deadline::now()), Kind::Misuse);
    lock.break_holder(held.token()).unwrap();
    refused(held.check(), Kind::Lost);
    refused(Guarded::new(&two, "row").unwrap().lock().break_holder(held.token()), Kind::Lost);
    let claim = guarded.claim(&Deadline::now()).unwrap();
    refused(Guarded::new(&two, "row").unwrap().claim(&Deadline::now()), Kind::Busy);
    guarded.lock().break_holder(claim.token()).unwrap();
    refused(claim.commit(b""), Kind::Lost);
    let election = Election::new(&one, "cron").unwrap();
    let lead = election.campaign(b"", &Deadline::now()).unwrap();
    refused(Election::new(&two, "cron").unwrap().campaign(b"", &Deadline::now()), Kind::Busy);
    election.depose(lead.term()).unwrap();
    refused(election.depose(lead.term()), Kind::Lost);
    refused(lead.resign(), Kind::Lost);
    let permits = Semaphore::new(&one, "gpus", 1).unwrap();
    let _permit = permits.try_acquire().unwrap();
    refused(permits.try_acquire(), Kind::Busy);
    refused(Semaphore::new(&two, "gpus", 2).unwrap().try_acquire(), Kind::Incompatible);
    refused(Semaphore::new(&two, "gpus", 0), Kind::Misuse);
    refused(Barrier::new(&one, "phase", 2).unwrap().wait(&soon()), Kind::TimedOut);
    refused(DoubleBarrier::new(&one, "step", 2).unwrap().enter(&soon()), Kind::TimedOut);
    // What the store refuses.
    let much = lock::all(&vec![(&lock, Mode::Shared); 1_000], &Deadline::now());
    assert_eq!(refused(much, Kind::Misuse).store().map(slotguard::Error::kind), Some(ErrorKind::TooManyOps));
    let nameless = Barrier::new(&one, "", 1);
    assert_eq!(refused(nameless, Kind::Misuse).store().map(slotguard::Error::kind), Some(ErrorKind::BadName));
    let nameless = DoubleBarrier::new(&one, "", 1);
    assert_eq!(refused(nameless, Kind::Misuse).store().map(slotguard::Error::kind), Some(ErrorKind::BadName));
}
