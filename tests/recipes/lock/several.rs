//! Several locks at once, in whatever order they are named.

use super::*;

on_every_backend! {
    a21_locks_taken_in_opposite_orders_do_not_block_each_other,
    a21_a_hundred_threads_and_ten_locks_leave_nothing_behind,
    several_locks_are_lost_and_released_one_by_one,
    of_several_locks_each_is_followed,
    what_cannot_be_acquired_at_once_is_refused,
}

fn a21_locks_taken_in_opposite_orders_do_not_block_each_other(subject: &impl Subject) {
    let inside = [const { AtomicBool::new(false) }; 3];
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
            let (inside, start) = (&inside, &start);
            scope.spawn(move || {
                let session = member(subject.client());
                start.wait();
                let locks = [0, 1, 2].map(|number| lock_of(&session, &format!("accounts/{number}")));
                for round in 0..25 {
                    // All of them, or two.
                    let wanted = &order[..if round % 3 == 0 { 3 } else { 2 }];
                    let all: Vec<_> = wanted.iter().map(|at| (&locks[*at], Mode::Exclusive)).collect();
                    let guard = lock::all(&all, &Deadline::never()).unwrap();
                    assert!(wanted.iter().all(|at| !inside[*at].swap(true, SeqCst)), "two are inside");
                    thread::yield_now();
                    wanted.iter().for_each(|at| inside[*at].store(false, SeqCst));
                    guard.release().unwrap();
                }
            });
        }
    });
    assert_eq!(names(&subject.client(), "accounts"), [""; 0]);
}

/// Source 4's lock by key must be empty after 100 threads and 10 keys; ours is whatever the store holds.
fn a21_a_hundred_threads_and_ten_locks_leave_nothing_behind(subject: &impl Subject) {
    let start = Barrier::new(100);
    let inside = [const { AtomicBool::new(false) }; 10];
    thread::scope(|scope| {
        for _ in 0..25 {
            let session = member(subject.client());
            for thread in 0..4 {
                let (session, start, inside) = (Arc::clone(&session), &start, &inside);
                scope.spawn(move || {
                    start.wait();
                    for round in 0..10 {
                        let number = (thread * 3 + round * 7) % 10;
                        let guard = lock_of(&session, &format!("keys/{number}")).acquire(&Deadline::never()).unwrap();
                        assert!(!inside[number].swap(true, SeqCst), "two are inside");
                        inside[number].store(false, SeqCst);
                        drop(guard);
                    }
                });
            }
        }
    });
    assert_eq!(names(&subject.client(), "keys"), [""; 0]);
}

fn several_locks_are_lost_and_released_one_by_one(subject: &impl Subject) {
    let session = member(subject.client());
    let [one, two] = ["one", "two"].map(|name| lock_of(&session, name));
    let guard = lock::all(&[(&one, Mode::Exclusive), (&two, Mode::Shared)], &Deadline::never()).unwrap();
    in_use(lock_in(subject, "one").try_read());
    let reader = lock_in(subject, "two").try_read().unwrap();
    let busy = lock::all(&[(&one, Mode::Exclusive), (&two, Mode::Exclusive)], &soon());
    assert_eq!(in_use(busy).name, "one");
    assert_eq!(names(&subject.client(), "two").len(), 2, "who gives up leaves all the lines");
    one.ask_to_release().unwrap();
    assert!(guard.asked_by().unwrap().is_some());
    lock_in(subject, "two").break_holder(guard.token()).unwrap();
    let key = session.store().key("count").unwrap();
    let error = guard.commit(&[Op::put(&key, b"1")]).expect_err("one of them is lost");
    assert!(matches!(&error, Error::Lost(Lost { name, .. }) if name == "two"), "{error}");
    assert!(read(&subject.client(), "count").is_none());
    now_of(guard.release());
    lock_in(subject, "one").try_acquire().expect("the other was released all the same");
    drop(reader);
    assert_eq!(names(&subject.client(), "two"), [""; 0]);
}

fn of_several_locks_each_is_followed(subject: &impl Subject) {
    let store = weather(subject.client());
    let session = member_for(&store, LONG);
    // It has looked at each ticket, and begins to wait.
    let until_it_waits = |before: u64| {
        while store.calls.load(SeqCst) < before + 4 {
            thread::yield_now();
        }
    };
    let locks = ["one", "two", "three"].map(|name| lock_of(&session, name));
    let all = locks.each_ref().map(|lock| (lock, Mode::Exclusive));
    for name in ["one", "two", "three"] {
        let guard = lock::all(&all, &Deadline::now()).unwrap();
        assert_eq!(guard.wait_asked(&soon()).unwrap(), None);
        assert!(!guard.wait_lost(&soon()).unwrap());
        thread::scope(|scope| {
            let before = store.calls.load(SeqCst);
            let asked = scope.spawn(|| guard.wait_asked(&Deadline::never()));
            until_it_waits(before);
            lock_in(subject, name).ask_to_release().unwrap();
            assert!(asked.join().unwrap().unwrap().is_some());
            let before = store.calls.load(SeqCst);
            let told = scope.spawn(|| guard.wait_lost(&Deadline::never()));
            until_it_waits(before);
            lock_in(subject, name).break_holder(guard.token()).unwrap();
            assert!(told.join().unwrap().unwrap());
        });
        let error = guard.wait_asked(&Deadline::never()).expect_err("it is lost");
        assert!(matches!(&error, Error::Lost(Lost { name: lost, .. }) if lost == name), "{error}");
    }
    // By whatever else ends the wait.
    let guard = lock::all(&all, &Deadline::now()).unwrap();
    let stop = Cancel::new();
    let deadline = Deadline::never().or_cancelled(&stop);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| guard.wait_asked(&deadline));
        stop.cancel();
        let error = waiter.join().unwrap().expect_err("it was cancelled");
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::Cancelled), "{error}");
    });
    guard.wait_lost(&deadline).expect_err("it is cancelled for ever");
}

fn what_cannot_be_acquired_at_once_is_refused<S: Subject>(subject: &S) {
    let session = member(subject.client());
    let lock = lock_of(&session, "a");
    let other = lock_in(subject, "b");
    let refused = |wanted: &[(&Lock<S::Store>, Mode)]| lock::all(wanted, &Deadline::never()).expect_err("refused");
    assert!(matches!(refused(&[]), lock::several::Error::NoLocks));
    let error = refused(&[(&lock, Mode::Exclusive), (&other, Mode::Exclusive)]);
    assert!(matches!(&error, lock::several::Error::OtherSession { name } if name == "b"), "{error}");
    let kind = |error| match error {
        lock::several::Error::Lock(Error::Store(error)) => error.kind(),
        other => panic!("{other}"),
    };
    let twice =
        [(&lock, Mode::Exclusive), (&lock_of(&session, "c"), Mode::Shared), (&lock_of(&session, "a"), Mode::Shared)];
    for deadline in [Deadline::now(), Deadline::never()] {
        let error = lock::all(&twice, &deadline).expect_err("refused");
        assert!(matches!(&error, lock::several::Error::NamedTwice { name } if name == "a"), "{error}");
    }
    let most = S::Store::LIMITS.ops;
    let many: Vec<_> = (0..most).map(|number| lock_of(&session, &format!("many/{number}"))).collect();
    let all = |locks: &[Lock<S::Store>]| {
        let wanted: Vec<_> = locks.iter().map(|lock| (lock, Mode::Exclusive)).collect();
        lock::all(&wanted, &Deadline::never())
    };
    assert_eq!(kind(all(&many).expect_err("too many")), ErrorKind::TooManyOps);
    let delayed: Vec<_> = many.iter().map(|lock| lock.clone().delay(LONG).unwrap()).collect();
    assert_eq!(kind(all(&delayed[..most / 2 + 1]).expect_err("too many")), ErrorKind::TooManyOps);
    all(&many[1..]).unwrap().release().unwrap();
    all(&delayed[..most / 2]).unwrap().release().unwrap();
    for prefix in ["a", "b", "many"] {
        assert_eq!(names(&subject.client(), prefix), [""; 0]);
    }
}
