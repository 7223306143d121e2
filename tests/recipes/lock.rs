//! Locks: one holder per token, in the order of asking, and nobody who is late writes.

mod by_force;
mod delay;
mod reentrant;
mod several;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use slotguard::backend::{Backend, Model, Op, Session, SharedMemory};
use slotguard::conformance::{Mortal, Subject};
use slotguard::recipe::lock::{self, Error, Guard, Mode};
use slotguard::recipe::{InUse, Lock, Lost, Owner, join};
use slotguard::{Cancel, Deadline, ErrorKind, Outcome, Segment, Token};

use crate::member::{LONG, SHORT, held_shortly, member, member_for, names, put_as_another, read, soon, until_waiting};
use crate::on_every_backend;
use crate::weather::{lost, weather};
use harness::peer::{answer_questions, with_peers};

on_every_backend! {
    b10_of_many_contenders_one_holds_and_nothing_is_lost,
    b10_a_late_holder_cannot_write,
    b10_renewing_what_is_over_says_who_has_it_now,
    b10_releasing_what_is_lost_is_an_error_that_names_the_holder,
    b10_a_deadline_that_has_passed_is_one_look,
    b10_waiters_are_served_in_the_order_of_asking,
    b10_the_time_of_day_plays_no_part,
    b10_a_dead_holder_is_followed_by_the_next,
    b10_a_dead_waiter_is_passed_over,
    s2_1_who_asks_alone_has_it_at_once,
    s2_2_an_earlier_clock_steals_nothing,
    s2_3_an_expired_lease_is_noticed,
    a21_readers_are_together_and_a_writer_is_alone,
    no_reader_passes_a_writer_that_waits,
    a_waiter_that_gives_up_leaves_the_line,
    a_waiter_whose_session_ends_is_told,
    an_error_names_the_holder_and_our_place,
    who_waits_when_its_session_ends_is_told_that,
    the_dead_are_not_shown_whoever_looks,
    what_could_not_be_released_is_released_by_the_next_renewal,
    locks_of_longer_names_are_other_locks,
    what_is_no_name_or_lease_is_refused,
}

fn lock_of<B: Backend>(session: &Arc<Session<B>>, name: &str) -> Lock<B> {
    Lock::new(session, name).expect("a name")
}

fn lock_in<S: Subject>(subject: &S, name: &str) -> Lock<S::Store> {
    lock_of(&member(subject.client()), name)
}

#[track_caller]
fn committed_by<B: Backend>(guard: &Guard<B>, key: &B::Key, value: &[u8]) {
    let outcome = guard.commit(&[Op::put(key, value)]).expect("it is held");
    assert!(matches!(outcome, Outcome::Committed(_)));
}

#[track_caller]
fn in_use<T: std::fmt::Debug>(result: Result<T, impl Into<lock::several::Error> + std::fmt::Debug>) -> InUse {
    match result.expect_err("somebody is ahead").into() {
        lock::several::Error::Lock(Error::InUse(ahead)) => *ahead,
        other => panic!("not in use: {other}"),
    }
}

/// The token of whom the error names as first in line.
#[track_caller]
fn now_of<T: std::fmt::Debug>(result: Result<T, Error>) -> Option<Token> {
    match result.expect_err("it is lost") {
        Error::Lost(Lost { holder, .. }) => holder.map(|ticket| ticket.token),
        other => panic!("not lost: {other}"),
    }
}

/// Each holder reads a number and puts the next without a condition of its own: only the lock keeps them apart.
fn b10_of_many_contenders_one_holds_and_nothing_is_lost(subject: &impl Subject) {
    const EACH: u64 = 25;
    let (inside, tokens) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = Arc::new(subject.client());
                let lock = lock_of(&member_for(&store, LONG), "billing");
                let (count, mut value) = (store.key("count").unwrap(), Vec::new());
                start.wait();
                for _ in 0..EACH {
                    let guard = lock.acquire(&Deadline::never()).unwrap();
                    assert!(!inside.swap(true, SeqCst), "two are inside");
                    tokens.lock().unwrap().push(guard.token());
                    store.read(&count, &mut value).unwrap();
                    thread::yield_now();
                    let next = value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)) + 1;
                    committed_by(&guard, &count, &next.to_le_bytes());
                    inside.store(false, SeqCst);
                    guard.release().unwrap();
                }
            });
        }
    });
    let (value, _) = read(&subject.client(), "count").unwrap();
    assert_eq!(value, (8 * EACH).to_le_bytes());
    let tokens = tokens.into_inner().unwrap();
    assert!(tokens.windows(2).all(|pair| pair[0] < pair[1]), "tokens grow from holder to holder");
}

/// Source 2 hands out no token: a holder that was stopped past its lease goes on writing beside its successor.
fn b10_a_late_holder_cannot_write(subject: &impl Subject) {
    let store = subject.client();
    let cap = store.key("cap").unwrap();
    let next = lock_in(subject, "billing");
    let (late, _session, time) = held_shortly(subject, |session| lock_of(session, "billing").try_acquire());
    subject.pass(time);
    let guard = next.acquire(&Deadline::never()).unwrap();
    assert!(guard.token() > late.token());
    committed_by(&guard, &cap, b"new");
    // Whichever way it goes about it.
    assert_eq!(now_of(late.commit(&[Op::put(&cap, b"late")])), Some(guard.token()));
    assert_eq!(store.commit(&late.protect(&[Op::put(&cap, b"late")])).unwrap(), Outcome::Conflict);
    assert_eq!(read(&store, "cap").unwrap().0, b"new");
    assert!(!late.is_alive() && guard.is_alive());
    // A condition of the holder's own is an answer, and no loss.
    assert_eq!(guard.commit(&[Op::put(&cap, b"x").if_absent()]).unwrap(), Outcome::Conflict);
}

fn b10_renewing_what_is_over_says_who_has_it_now(subject: &impl Subject) {
    let next = lock_in(subject, "billing");
    let (late, _session, time) = held_shortly(subject, |session| {
        let guard = lock_of(session, "billing").try_acquire()?;
        guard.renew()?;
        Ok::<_, Error>(guard)
    });
    subject.pass(time);
    let guard = next.acquire(&Deadline::never()).unwrap();
    assert_eq!(now_of(late.renew()), Some(guard.token()));
    assert_eq!(now_of(late.check()), Some(guard.token()));
    assert!(late.wait_lost(&Deadline::never()).unwrap());
    guard.renew().unwrap();
    assert!(!guard.wait_lost(&Deadline::now()).unwrap());

    // Taken by force, with the session alive.
    next.break_holder(guard.token()).unwrap();
    assert_eq!(now_of(guard.renew()), None);
    assert!(!guard.is_alive(), "once told, it knows");
}

/// On the model time passes when it is told to: in thirds a lock is kept for ever.
#[test]
fn b10_a_lock_renewed_in_time_is_kept() {
    let store = Arc::new(Model::new());
    let session = member_for(&store, Duration::from_secs(9));
    let guard = lock_of(&session, "billing").try_acquire().unwrap();
    for _ in 0..10 {
        store.advance(Duration::from_secs(6));
        assert!(guard.is_alive());
        guard.renew().unwrap();
    }
    store.advance(Duration::from_secs(9));
    assert!(guard.renew().is_err() && !guard.is_alive());
}

fn b10_releasing_what_is_lost_is_an_error_that_names_the_holder(subject: &impl Subject) {
    let next = lock_in(subject, "billing");
    let (late, _session, time) = held_shortly(subject, |session| lock_of(session, "billing").try_acquire());
    subject.pass(time);
    let guard = next.acquire(&Deadline::never()).unwrap();
    let token = late.token();
    let error = late.release().expect_err("it is somebody else's");
    let text = error.to_string();
    assert!(text.contains(&format!("lock \"billing\" is not held with token {token} any more")), "{text}");
    assert!(text.contains(&format!("[{}]", std::process::id())), "{text}");
    assert_eq!(now_of(Err::<(), _>(error)), Some(guard.token()));
    guard.release().expect("the late one took nothing away");
}

fn b10_a_deadline_that_has_passed_is_one_look(subject: &impl Subject) {
    let (first, second) = (lock_in(subject, "billing"), lock_in(subject, "billing"));
    let guard = first.try_acquire().unwrap();
    let store = subject.client();
    let newest = || store.range("", &mut |_, _, _| {}).unwrap();
    let (before, at) = (first.status().unwrap(), newest());
    assert_eq!(in_use(second.try_acquire()).holders[0].token, guard.token());
    in_use(second.acquire(&Deadline::now()));
    in_use(second.try_read());
    assert_eq!((first.status().unwrap(), newest()), (before, at), "nothing has been written in between");
    guard.release().unwrap();
    let guard = second.try_acquire().unwrap();
    in_use(first.try_acquire());
    drop(guard);
}

fn b10_waiters_are_served_in_the_order_of_asking(subject: &impl Subject) {
    let lock = lock_in(subject, "billing");
    let guard = lock.try_acquire().unwrap();
    let served = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for waiter in 0..6 {
            let (served, lock) = (&served, lock_in(subject, "billing"));
            scope.spawn(move || {
                let guard = lock.acquire(&Deadline::never()).unwrap();
                served.lock().unwrap().push(waiter);
                guard.release().unwrap();
            });
            until_waiting(&self::lock_in(subject, "billing"), waiter + 1);
        }
        guard.release().unwrap();
    });
    assert_eq!(served.into_inner().unwrap(), [0, 1, 2, 3, 4, 5]);
}

/// Tickets by another program, which says of its clock what it likes.
fn b10_the_time_of_day_plays_no_part(subject: &impl Subject) {
    let store = subject.client();
    let lock = lock_in(subject, "billing");
    let (future, token) = put_as_another(&store, "billing/t/a", b"w 1 99999999999999 x");
    let (past, next) = put_as_another(&store, "billing/t/b", b"w 2 0 y");
    assert_eq!(in_use(lock.try_acquire()).holders[0].token.0, token.0);
    store.revoke(future).unwrap();
    assert_eq!(in_use(lock.try_acquire()).holders[0].token.0, next.0);
    store.revoke(past).unwrap();
    lock.try_acquire().unwrap();
}

/// Whoever is killed says nothing; its lease does.
fn b10_a_dead_holder_is_followed_by_the_next(subject: &impl Mortal) {
    let victim = subject.client();
    let (lease, token) = put_as_another(&victim, "billing/t/x", b"w 1 0 victim");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| lock_in(subject, "billing").acquire(&Deadline::never()).unwrap().token());
        until_waiting(&lock_in(subject, "billing"), 1);
        subject.kill(victim, &[lease]);
        assert!(waiter.join().unwrap().0 > token.0);
    });
    // Nor need anybody have waited: one look asks whether the holder lives.
    let victim = subject.client();
    let (lease, _) = put_as_another(&victim, "billing/t/x", b"w 1 0 victim");
    in_use(lock_in(subject, "billing").try_acquire());
    subject.kill(victim, &[lease]);
    lock_in(subject, "billing").try_acquire().unwrap();
}

fn b10_a_dead_waiter_is_passed_over(subject: &impl Mortal) {
    let holder = lock_in(subject, "billing").try_acquire().unwrap();
    let victim = subject.client();
    let (lease, _) = put_as_another(&victim, "billing/t/x", b"w 1 0 victim");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| lock_in(subject, "billing").acquire(&Deadline::never()).map(drop));
        until_waiting(&lock_in(subject, "billing"), 2);
        subject.kill(victim, &[lease]);
        until_waiting(&lock_in(subject, "billing"), 1);
        assert!(!waiter.is_finished(), "the holder lives");
        holder.release().unwrap();
        waiter.join().unwrap().unwrap();
    });
}

/// Source 2's requester learns of its own request from the channel's echo, and the channels it uses have none: who asked
/// alone was refused, while its peers believed that it held the lock.
fn s2_1_who_asks_alone_has_it_at_once(subject: &impl Subject) {
    let lock = lock_in(subject, "billing");
    let guard = lock.try_acquire().unwrap();
    assert_eq!(lock_in(subject, "billing").status().unwrap().holders[0].token, guard.token(), "others see the same");
    guard.release().unwrap();
    assert_eq!(names(&subject.client(), "billing"), [""; 0]);
}

/// Source 2 lets the earlier time of day win, also over a lock that is held: a peer whose clock was 60 s behind stole it
/// in the middle of a section, and the holder was told nothing.
fn s2_2_an_earlier_clock_steals_nothing(subject: &impl Subject) {
    let store = subject.client();
    let lock = lock_in(subject, "billing");
    let guard = lock.try_acquire().unwrap();
    let behind = Owner { since_ms: Owner::me().since_ms - 60_000, ..Owner::me() };
    let (_, thief) = put_as_another(&store, "billing/t/thief", &[b"w ", &behind.to_bytes()[..]].concat());
    let status = lock.status().unwrap();
    assert_eq!((status.holders[0].token, status.waiting[0].token.0), (guard.token(), thief.0));
    assert_eq!(in_use(lock_in(subject, "billing").try_acquire()).holders[0].token, guard.token());
    guard.check().unwrap();
    guard.release().unwrap();
    assert_eq!(lock.status().unwrap().holders[0].token.0, thief.0);
}

/// Source 2's `ownsLock` of a lease of 200 ms said `true` 400 ms later.
fn s2_3_an_expired_lease_is_noticed(subject: &impl Subject) {
    let (guard, _session, time) = held_shortly(subject, |session| lock_of(session, "billing").try_acquire());
    subject.pass(time * 2);
    assert!(!guard.is_alive(), "nobody has to ask the store");
    assert!(!guard.is_alive(), "and it stays so");
    lock_in(subject, "billing").try_acquire().unwrap();
}

fn a21_readers_are_together_and_a_writer_is_alone(subject: &impl Subject) {
    let lock = || lock_in(subject, "billing");
    let (one, two) = (lock().try_read().unwrap(), lock().try_read().unwrap());
    assert_eq!(lock().status().unwrap().holders.len(), 2);
    let ahead = in_use(lock().try_acquire());
    assert_eq!((ahead.holders.len(), ahead.ahead), (2, 2));
    assert_eq!(ahead.holders[0].kind, "r");
    one.release().unwrap();
    in_use(lock().try_acquire());
    two.release().unwrap();
    let writer = lock().try_acquire().unwrap();
    in_use(lock().try_read());
    in_use(lock().try_acquire());
    writer.release().unwrap();

    // And while many come and go.
    let (readers, writers) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for member in 0..6 {
            let (readers, writers) = (&readers, &writers);
            scope.spawn(move || {
                let lock = lock();
                for round in 0..25 {
                    if (member + round) % 3 == 0 {
                        let guard = lock.acquire(&Deadline::never()).unwrap();
                        assert_eq!((writers.fetch_add(1, SeqCst), readers.load(SeqCst)), (0, 0));
                        writers.fetch_sub(1, SeqCst);
                        drop(guard);
                    } else {
                        let guard = lock.read(&Deadline::never()).unwrap();
                        readers.fetch_add(1, SeqCst);
                        assert_eq!(writers.load(SeqCst), 0);
                        readers.fetch_sub(1, SeqCst);
                        drop(guard);
                    }
                }
            });
        }
    });
}

fn no_reader_passes_a_writer_that_waits(subject: &impl Subject) {
    let lock = || lock_in(subject, "billing");
    let reader = lock().try_read().unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| lock().acquire(&Deadline::never()).unwrap().token());
        until_waiting(&lock(), 1);
        assert_eq!(in_use(lock().try_read()).ahead, 2);
        let late = scope.spawn(|| lock().read(&Deadline::never()).unwrap().token());
        until_waiting(&lock(), 2);
        reader.release().unwrap();
        assert!(writer.join().unwrap() < late.join().unwrap());
    });
}

fn a_waiter_that_gives_up_leaves_the_line(subject: &impl Subject) {
    let lock = lock_in(subject, "billing");
    let guard = lock.try_acquire().unwrap();
    in_use(lock_in(subject, "billing").acquire(&soon()));
    in_use(lock_in(subject, "billing").read(&soon()));
    assert_eq!(names(&subject.client(), "billing").len(), 1, "only the holder's ticket is there");

    // In the midst of the line, by whatever ends the wait.
    let stop = Cancel::new();
    let deadline = Deadline::never().or_cancelled(&stop);
    thread::scope(|scope| {
        let gives_up = scope.spawn(|| lock_in(subject, "billing").acquire(&deadline).map(drop));
        until_waiting(&lock, 1);
        let stays = scope.spawn(|| lock_in(subject, "billing").acquire(&Deadline::never()).map(drop));
        until_waiting(&lock, 2);
        stop.cancel();
        let ended = gives_up.join().unwrap().expect_err("it was cancelled");
        assert!(matches!(ended, Error::Store(ref error) if error.kind() == ErrorKind::Cancelled), "{ended}");
        until_waiting(&lock, 1);
        guard.release().unwrap();
        stays.join().unwrap().unwrap();
    });
    assert_eq!(names(&subject.client(), "billing"), [""; 0]);
}

fn a_waiter_whose_session_ends_is_told(subject: &impl Subject) {
    let _guard = lock_in(subject, "billing").try_acquire().unwrap();
    let session = member_for(&Arc::new(subject.client()), SHORT);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| lock_of(&session, "billing").acquire(&Deadline::never()).map(drop));
        subject.pass(SHORT);
        let ended = waiter.join().unwrap().expect_err("its session is over");
        assert!(matches!(&ended, Error::Store(error) if error.kind() == ErrorKind::LeaseExpired), "{ended}");
    });
    // Nor does it acquire what is free.
    let error = lock_of(&session, "free").try_acquire().expect_err("its session is over");
    assert!(matches!(error, Error::Store(ref error) if error.kind() == ErrorKind::LeaseExpired), "{error}");
    assert_eq!(names(&subject.client(), "free"), [""; 0]);
}

fn an_error_names_the_holder_and_our_place(subject: &impl Subject) {
    let guard = lock_in(subject, "billing").try_acquire().unwrap();
    let store = subject.client();
    let (_, _) = put_as_another(&store, "billing/t/second", b"r 4711 0 uvicorn");
    let error = lock_in(subject, "billing").acquire(&soon()).expect_err("two are ahead");
    let (text, me) = (error.to_string(), Owner::me());
    let ahead = in_use(Err::<(), _>(error));
    assert_eq!((ahead.ahead, ahead.holders.len()), (2, 1));
    assert_eq!((ahead.holders[0].owner.pid, &ahead.holders[0].owner.command), (me.pid, &me.command));
    assert_eq!(ahead.holders[0].token, guard.token());
    let lease = ahead.holders[0].lease.expect("a ticket lives by a lease");
    let begin = format!("lock \"billing\": held by {}[{}], which asked for it ", me.command, me.pid);
    assert!(text.starts_with(&begin), "{text}");
    let left = ahead.holders[0].expires_in.expect("the lease has not ended");
    assert!(left <= LONG, "{left:?}");
    let lease = format!("lease {lease} (it ends in {left:.1?} unless renewed)");
    let middle = format!(" ago, token {}, {lease}; 2 ahead of you after ", guard.token());
    assert!(text.contains(&middle) && text.contains("; wait longer"), "{text}");
}

/// Its ticket is gone when it looks, and nobody has taken it away.
fn who_waits_when_its_session_ends_is_told_that(subject: &impl Subject) {
    for delay in [None, Some(LONG)] {
        let guard = lock_in(subject, "billing").try_acquire().unwrap();
        let session = member(subject.client());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let lock = lock_of(&session, "billing");
                delay.map_or(Ok(lock.clone()), |time| lock.delay(time)).unwrap().acquire(&Deadline::never()).map(drop)
            });
            until_waiting(&lock_in(subject, "billing"), 1);
            subject.client().revoke(session.lease()).unwrap();
            guard.release().unwrap();
            let error = waiter.join().unwrap().expect_err("its session is over");
            assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::LeaseExpired), "{error}");
        });
    }
}

/// Nobody waits for it: of those who only look, the first is told.
fn the_dead_are_not_shown_whoever_looks(subject: &impl Mortal) {
    let lock = lock_in(subject, "billing");
    let (holder, waiter) = (subject.client(), subject.client());
    let (first, _) = put_as_another(&holder, "billing/t/x", b"w 1 0 holder");
    let (second, _) = put_as_another(&waiter, "billing/t/y", b"w 1 0 waiter");
    let status = lock.status().unwrap();
    assert_eq!((status.holders.len(), status.waiting.len()), (1, 1));
    subject.kill(waiter, &[second]);
    let status = lock.status().unwrap();
    assert_eq!((status.holders.len(), status.waiting.len()), (1, 0));
    subject.kill(holder, &[first]);
    assert_eq!(lock.ask_to_release().unwrap(), []);
    assert_eq!(lock.status().unwrap().holders, []);
}

/// A guard dropped while the store refuses everything left a ticket that blocked all behind it for as long as the session
/// was renewed.
fn what_could_not_be_released_is_released_by_the_next_renewal(subject: &impl Subject) {
    let store = weather(subject.client());
    let session = member_for(&store, LONG);
    let [one, two] = ["one", "two"].map(|name| lock_of(&session, name));
    let guard = lock::all(&[(&one, Mode::Exclusive), (&two, Mode::Exclusive)], &Deadline::now()).unwrap();
    store.before_commits(|_, _| Err(lost()));
    drop(guard);
    session.keep_alive().expect("renewals do not need it to work");
    in_use(lock_in(subject, "one").try_acquire());
    store.let_commits_pass();
    session.keep_alive().unwrap();
    for name in ["one", "two"] {
        lock_in(subject, name).try_acquire().unwrap();
    }
    // And only that: what is drawn since is another ticket.
    let guard = one.try_acquire().unwrap();
    session.keep_alive().unwrap();
    guard.check().unwrap();
}

fn locks_of_longer_names_are_other_locks(subject: &impl Subject) {
    let guards = ["a", "a/t", "a/t/t", "a/b", "ab"].map(|name| lock_in(subject, name).try_acquire().unwrap());
    assert_eq!(lock_in(subject, "a").status().unwrap().holders.len(), 1);
    assert!(lock_in(subject, "a").status().unwrap().waiting.is_empty());
    guards.into_iter().for_each(|guard| guard.release().unwrap());
}

fn what_is_no_name_or_lease_is_refused<S: Subject>(subject: &S) {
    let session = member(subject.client());
    let kind = |name: &str| Lock::new(&session, name).expect_err("no name").kind();
    let longest = S::Store::LIMITS.name - 36;
    assert_eq!(kind(""), ErrorKind::BadName);
    assert_eq!(kind("a\0b"), ErrorKind::BadName);
    assert_eq!(kind(&"x".repeat(longest + 1)), ErrorKind::BadName);
    let lock = lock_of(&session, &"x".repeat(longest)).delay(Duration::ZERO).unwrap();
    lock.try_acquire().unwrap().release().unwrap();
}

/// A lease belongs to the session, and a session without time is none.
#[test]
fn a_lease_of_no_time_is_refused() {
    let refused = join(&Arc::new(Model::new()), Duration::ZERO).expect_err("no time");
    assert_eq!(refused.kind(), ErrorKind::TimeToLive);
}

/// Each waiter waits for one ticket: what a line of waiters costs grows with its length, not with its square.
#[test]
fn a_release_wakes_one() {
    const WAITERS: u64 = 40;
    let store = weather(Model::new());
    let lock = lock_of(&member_for(&store, LONG), "billing");
    let guard = lock.try_acquire().unwrap();
    thread::scope(|scope| {
        let looks = |count| {
            while lock.status().unwrap().waiting.len() != count {
                thread::yield_now();
            }
        };
        let waiters: Vec<_> = (0..WAITERS as usize)
            .map(|waiter| {
                let lock = lock_of(&member_for(&store, LONG), "billing");
                let waiter_thread = scope.spawn(move || drop(lock.acquire(&Deadline::never()).unwrap()));
                looks(waiter + 1);
                waiter_thread
            })
            .collect();
        let before = store.calls.load(SeqCst);
        drop(guard);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        // Those that were slow to fall asleep, and for each: the look that finds it first, and its release.
        let calls = store.calls.load(SeqCst) - before;
        assert!(calls <= 6 * WAITERS, "{calls} calls for {WAITERS} waiters");
    });
}

/// Real processes, of which one is killed while it holds.
#[test]
fn b10_processes_exclude_each_other_and_outlive_each_other() {
    with_peers(contend, |folder, peers| {
        let segment = Segment::builder().keys(200).create(folder.join("segment")).expect("a segment");
        let store = Arc::new(SharedMemory::new(segment).unwrap());
        let lock = Lock::new(&join(&store, LONG).unwrap(), "billing").unwrap();
        let mut peers: Vec<_> = (0..3).map(|_| peers.start(&[])).collect();
        peers.iter_mut().for_each(|peer| peer.tell("count 50"));
        let tokens: Vec<String> = peers.iter_mut().map(|peer| peer.answer()).collect();
        assert_eq!(read(&*store, "count").unwrap().0, b"150", "{tokens:?}");

        let held: u64 = peers[0].ask("hold").parse().unwrap();
        let ahead = in_use(lock.try_acquire());
        assert_eq!((ahead.holders[0].token.0, ahead.holders[0].owner.pid == std::process::id()), (held, false));
        peers[1].tell("hold");
        until_waiting(&lock, 1);
        peers[0].kill();
        let next: u64 = peers[1].answer().parse().unwrap();
        assert!(next > held);
        assert_eq!(peers[1].ask("release"), "ok");
        lock.acquire(&Deadline::never()).unwrap().release().unwrap();
    });
}

fn contend(folder: &Path) {
    let store = Arc::new(SharedMemory::new(Segment::open(folder.join("segment")).unwrap()).unwrap());
    let session = join(&store, LONG).unwrap();
    let (lock, count) = (Lock::new(&session, "billing").unwrap(), store.key("count").unwrap());
    let mut held = BTreeMap::new();
    answer_questions(|words| match words {
        ["count", times] => {
            let mut last = Token(0);
            for _ in 0..times.parse().unwrap() {
                let guard = lock.acquire(&Deadline::never()).unwrap();
                assert!(guard.token() > last);
                last = guard.token();
                let before =
                    read(&*store, "count").map_or(0, |(value, _)| String::from_utf8(value).unwrap().parse().unwrap());
                let after = (before + 1_u64).to_string();
                committed_by(&guard, &count, after.as_bytes());
            }
            last.to_string()
        }
        ["hold"] => {
            let guard = lock.acquire(&Deadline::never()).unwrap();
            let token = guard.token();
            held.insert(0, guard);
            token.to_string()
        }
        ["release"] => held.remove(&0).unwrap().release().map_or_else(|error| error.to_string(), |()| "ok".to_owned()),
        other => panic!("{other:?}"),
    });
}
