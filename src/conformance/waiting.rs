//! Waiting for one entry: no change is missed, whichever kind it is and whenever it comes.
//!
//! None of these waits has a deadline that could hide a lost wake-up.

use std::thread;
use std::time::{Duration, Instant};

use super::asking::{Asking, fault};
use super::subject::Subject;
use crate::backend::{Backend, Op};
use crate::{Cancel, Deadline, ErrorKind, Revision};

/// What has changed since is told at once: put, deleted, created, deleted and created.
pub fn a_wait_for_what_has_changed_already_ends_at_once(subject: &impl Subject) {
    let store = subject.client();
    let key = store.named("a");
    let absent = store.state_and_revision(&key).1;
    let created = store.apply(&[Op::put(&key, b"1")]);
    assert!(store.has_changed(&key, absent), "it was created");
    let put = store.apply(&[Op::put(&key, b"2")]);
    assert!(store.has_changed(&key, created), "it was put");
    assert!(store.has_changed(&key, Revision(0)), "it was put after the beginning");
    let deleted = store.apply(&[Op::delete(&key)]);
    assert!(store.has_changed(&key, put), "it was deleted");
    assert!(deleted > put);
    let again = store.apply(&[Op::put(&key, b"3")]);
    assert!(store.has_changed(&key, put), "it was deleted and created");
    assert!(store.has_changed(&key, deleted), "it was created");
    assert!(!store.has_changed(&key, again), "nothing since");
}

/// Without a change a wait ends with its deadline, not before.
pub fn a_wait_without_a_change_lasts_until_its_deadline(subject: &impl Subject) {
    let store = subject.client();
    let (key, other) = (store.named("a"), store.named("b"));
    store.apply(&[Op::put(&key, b"")]);
    let (_, seen) = store.state_and_revision(&key);
    store.apply(&[Op::put(&other, b"")]);
    let modified = store.meta(&key).modified;
    for newer_than in [modified, seen] {
        assert!(!store.has_changed(&key, newer_than));
        let (begun, patience) = (Instant::now(), Duration::from_millis(20));
        assert!(!store.wait(&key, newer_than, &Deadline::after(patience)).expect("a wait"));
        assert!(begun.elapsed() >= patience);
    }
}

/// A sleeper is woken by a put, by a deletion and by a creation, of its own client or another.
pub fn a_sleeper_is_woken_by_every_kind_of_change(subject: &impl Subject) {
    let (store, other) = (subject.client(), subject.client());
    let key = store.named("a");
    for round in 0..60 {
        let (before, seen) = store.state_and_revision(&key);
        let writer = if round % 2 == 0 { &store } else { &other };
        let same = writer.named("a");
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                // True for an absent entry may mean a neighbour: then read again.
                let mut newer_than = seen;
                loop {
                    store.wait_for_change(&key, newer_than);
                    let (now, revision) = store.state_and_revision(&key);
                    if now != before {
                        return;
                    }
                    assert!(now.is_none(), "an entry that is there is told of only if it has changed");
                    newer_than = revision;
                }
            });
            writer.apply(&[if round % 3 == 2 { Op::delete(&same) } else { Op::put(&same, b"woken") }]);
            sleeper.join().expect("the sleeper");
        });
    }
}

/// A commit over several entries wakes who waits for any of them: those it creates and those it deletes.
pub fn a_commit_wakes_the_waiters_of_all_its_entries(subject: &impl Subject) {
    let store = subject.client();
    let keys: Vec<_> = (0..6).map(|number| store.named(&format!("k{number}"))).collect();
    store.apply(&keys[..3].iter().map(|key| Op::put(key, b"there")).collect::<Vec<_>>());
    // Many rounds, as nothing here says who is asleep already when the commit comes.
    for _ in 0..100 {
        let before: Vec<_> = keys.iter().map(|key| store.state_and_revision(key)).collect();
        thread::scope(|scope| {
            for (key, (state, revision)) in keys.iter().zip(&before) {
                let (store, mut newer_than) = (&store, *revision);
                scope.spawn(move || {
                    loop {
                        store.wait_for_change(key, newer_than);
                        let (now, revision) = store.state_and_revision(key);
                        if now.is_some() != state.is_some() {
                            return;
                        }
                        newer_than = revision;
                    }
                });
            }
            let flip = |(key, (state, _)): (_, &(Option<_>, _))| match state {
                Some(_) => Op::delete(key).if_exists(),
                None => Op::put(key, b"there").if_absent(),
            };
            store.apply(&keys.iter().zip(&before).map(flip).collect::<Vec<_>>());
        });
    }
}

/// Whoever reads, and waits from the revision of that read, sees the last change, though entries come and go meanwhile.
pub fn no_change_is_missed_between_a_read_and_a_wait(subject: &impl Subject) {
    let (store, writer) = (subject.client(), subject.client());
    let key = store.named("a");
    thread::scope(|scope| {
        scope.spawn(|| {
            let key = writer.named("a");
            for round in 0..2_000 {
                writer.apply(&[if round % 3 == 1 { Op::delete(&key) } else { Op::put(&key, b"on the way") }]);
            }
            writer.apply(&[Op::put(&key, b"last")]);
        });
        loop {
            let (state, revision) = store.state_and_revision(&key);
            if state.is_some_and(|state| state.value == b"last") {
                break;
            }
            store.wait_for_change(&key, revision);
        }
    });
}

/// Two who take turns, each waiting for the other, never both sleep.
pub fn two_who_take_turns_never_both_sleep(subject: &impl Subject) {
    const TURNS: u64 = 2_000;
    // Passes the ball on when it is one's turn, every second time, and waits for it else.
    fn play<B: Backend>(store: &B, mut turn: u64) {
        let key = store.named("ball");
        while turn < TURNS {
            let state = store.state(&key).expect("the ball is never out");
            if state.value == turn.to_le_bytes() {
                store.apply(&[Op::put(&key, &(turn + 1).to_le_bytes()).if_modified_at(state.meta.modified)]);
                turn += 2;
            } else {
                store.wait_for_change(&key, state.meta.modified);
            }
        }
    }
    let (ping, pong) = (subject.client(), subject.client());
    ping.set("ball", &0_u64.to_le_bytes());
    thread::scope(|scope| {
        scope.spawn(|| play(&pong, 1));
        play(&ping, 0);
    });
    // The last move may have been the other's; its thread has ended.
    assert_eq!(ping.value(&ping.named("ball")).as_deref(), Some(&TURNS.to_le_bytes()[..]));
}

/// A cancelled wait says so, whether it was cancelled before it began or while it slept; the next one is not affected.
pub fn a_cancelled_wait_says_so(subject: &impl Subject) {
    let store = subject.client();
    let key = store.named("a");
    let seen = store.apply(&[Op::put(&key, b"")]);
    for early in [true, false] {
        let stop = Cancel::new();
        let deadline = Deadline::never().or_cancelled(&stop);
        thread::scope(|scope| {
            if early {
                stop.cancel();
            }
            let sleeper = scope.spawn(|| store.wait(&key, seen, &deadline));
            stop.cancel();
            assert_eq!(fault(sleeper.join().expect("the sleeper")), ErrorKind::Cancelled);
        });
    }
    assert!(!store.has_changed(&key, seen));
    store.apply(&[Op::put(&key, b"")]);
    assert!(store.wait(&key, seen, &Deadline::never().or_cancelled(&Cancel::new())).expect("a wait"));
}
