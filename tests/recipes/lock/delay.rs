//! A pause after a holder that ended without a word.

use super::*;

on_every_backend! {
    after_a_death_a_delay_keeps_everybody_waiting,
    who_gives_up_one_of_several_leaves_no_delay,
    who_has_lost_one_of_several_leaves_no_delay_for_the_others,
    after_a_release_there_is_no_delay,
}

fn after_a_death_a_delay_keeps_everybody_waiting(subject: &impl Subject) {
    let lock = |time| lock_in(subject, "billing").delay(time).unwrap();
    let session = member(subject.client());
    let late = lock_of(&session, "billing").delay(LONG).unwrap().try_acquire().unwrap();
    assert_eq!(read(&subject.client(), "billing/held").unwrap().0, late.token().to_string().as_bytes());
    // It ends without a word.
    session.store().revoke(session.lease()).unwrap();
    let patient = lock(LONG);
    for tried in [patient.try_acquire(), patient.acquire(&soon()), patient.read(&soon())] {
        match tried.expect_err("the delay is not over") {
            Error::Delayed { token, left, .. } => assert!(token == late.token() && left <= LONG && !left.is_zero()),
            other => panic!("{other}"),
        }
    }
    assert_eq!(names(&subject.client(), "billing/"), ["billing/held"], "nobody is in line");
    // The delay is the waiter's own, from when it noticed. A machine that stood still may be past it.
    let next = lock(SHORT);
    let guard = next.try_acquire().or_else(|_| {
        subject.pass(SHORT);
        next.try_acquire()
    });
    let guard = guard.expect("the delay is over");
    assert_eq!(read(&subject.client(), "billing/held").unwrap().0, guard.token().to_string().as_bytes());
    now_of(late.release());
    guard.release().unwrap();
    assert_eq!(names(&subject.client(), "billing/"), [""; 0]);
}

/// It had the first of them already when it gave up the second, and nobody died.
fn who_gives_up_one_of_several_leaves_no_delay(subject: &impl Subject) {
    let session = member(subject.client());
    let [one, two] = ["one", "two"].map(|name| lock_of(&session, name).delay(LONG).unwrap());
    let held = two.try_acquire().unwrap();
    let both = [(&one, Mode::Exclusive), (&two, Mode::Exclusive)];
    assert_eq!(in_use(lock::all(&both, &soon())).name, "two");
    assert_eq!(names(&subject.client(), "one/"), [""; 0]);
    one.try_acquire().unwrap();
    // What the holder of the second goes by stays.
    assert!(read(&subject.client(), "two/held").is_some());
    held.release().unwrap();
    lock::all(&both, &Deadline::now()).unwrap().release().unwrap();
}

fn who_has_lost_one_of_several_leaves_no_delay_for_the_others(subject: &impl Subject) {
    let session = member(subject.client());
    let [one, two] = ["one", "two"].map(|name| lock_of(&session, name).delay(LONG).unwrap());
    let both = lock::all(&[(&one, Mode::Exclusive), (&two, Mode::Exclusive)], &Deadline::now()).unwrap();
    one.break_holder(both.token()).unwrap();
    assert_eq!(now_of(both.release()), None);
    two.try_acquire().expect("it was released");
    assert!(matches!(one.try_acquire(), Err(Error::Delayed { .. })), "and this was not");
}

fn after_a_release_there_is_no_delay(subject: &impl Subject) {
    let lock = || lock_in(subject, "billing").delay(LONG).unwrap();
    for _ in 0..3 {
        let guard = lock().acquire(&Deadline::never()).unwrap();
        in_use(lock().try_acquire());
        guard.release().unwrap();
        drop(lock().try_read().unwrap());
        drop(lock().try_acquire().unwrap());
    }
    assert_eq!(names(&subject.client(), "billing/"), [""; 0]);
    // Whoever is only read from leaves nothing to wait for.
    let reader = lock().try_read().unwrap();
    lock().break_holder(reader.token()).unwrap();
    lock().try_acquire().unwrap();
}
