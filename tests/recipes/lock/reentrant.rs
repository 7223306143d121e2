//! A thread that asks again for what it has.

use super::*;

on_every_backend! {
    a_thread_that_holds_a_re_entrant_lock_has_it_again,
    a_re_entrant_reader_does_not_become_a_writer,
    a_re_entrant_reader_reads_again_past_a_waiting_writer,
}

fn a_thread_that_holds_a_re_entrant_lock_has_it_again(subject: &impl Subject) {
    let session = member(subject.client());
    let lock = lock_of(&session, "billing").reentrant();
    let outer = lock.try_acquire().unwrap();
    let inner = lock.clone().try_acquire().unwrap();
    let reading = lock.try_read().unwrap();
    assert_eq!((outer.token(), outer.token()), (inner.token(), reading.token()));
    // Another thread, handle or process does not.
    thread::scope(|scope| {
        scope.spawn(|| in_use(lock.try_acquire()));
    });
    in_use(lock_of(&session, "billing").try_acquire());
    in_use(lock_in(subject, "billing").reentrant().try_acquire());
    // It is released with the last, wherever that one is.
    outer.release().unwrap();
    drop(inner);
    in_use(lock_in(subject, "billing").try_acquire());
    thread::scope(|scope| {
        scope.spawn(|| reading.release().unwrap());
    });
    let guard = lock_in(subject, "billing").try_acquire().unwrap();
    in_use(lock.try_acquire());
    guard.release().unwrap();

    // What was lost is not entered again.
    let outer = lock.try_acquire().unwrap();
    lock.break_holder(outer.token()).unwrap();
    assert_eq!(now_of(lock.try_acquire()), None);
    drop(outer);
    lock.try_acquire().unwrap();
}

fn a_re_entrant_reader_does_not_become_a_writer(subject: &impl Subject) {
    let lock = lock_in(subject, "billing").reentrant();
    let reading = lock.try_read().unwrap();
    let error = lock.acquire(&Deadline::never()).expect_err("it would wait for itself");
    assert!(matches!(error, Error::Upgrade { token, .. } if token == reading.token()), "{error}");
    reading.release().unwrap();
    lock.try_acquire().unwrap();
}

fn a_re_entrant_reader_reads_again_past_a_waiting_writer(subject: &impl Subject) {
    let lock = lock_in(subject, "billing").reentrant();
    let reading = lock.try_read().unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| lock_in(subject, "billing").acquire(&Deadline::never()).map(drop));
        until_waiting(&lock, 1);
        let again = lock.read(&Deadline::never()).unwrap();
        drop((reading, again));
        writer.join().unwrap().unwrap();
    });
}
