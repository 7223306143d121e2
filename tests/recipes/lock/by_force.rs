//! Asked for, taken by force, and told so.

use super::*;

on_every_backend! {
    a_holder_may_be_asked_to_give_it_up,
    a_lock_taken_by_force_is_the_next_ones,
    a_place_taken_by_force_is_told,
}

fn a_holder_may_be_asked_to_give_it_up(subject: &impl Subject) {
    let lock = lock_in(subject, "billing");
    let me = Owner::me();
    assert_eq!(lock.ask_to_release().unwrap(), [], "there is nobody to ask");
    let guard = lock.try_acquire().unwrap();
    assert_eq!(guard.asked_by().unwrap(), None);
    assert_eq!(guard.wait_asked(&soon()).unwrap(), None);
    thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let asker = guard.wait_asked(&Deadline::never()).unwrap();
            guard.release().unwrap();
            asker
        });
        let asker = lock_in(subject, "billing");
        let waiter = scope.spawn(|| lock_in(subject, "billing").acquire(&Deadline::never()).unwrap().token());
        let asked = asker.ask_to_release().unwrap();
        assert_eq!(asked.len(), 1);
        assert_eq!(holder.join().unwrap(), Some(format!("{}[{}]", me.command, me.pid)));
        assert!(waiter.join().unwrap() > asked[0].token);
    });
    // The next holder has not been asked. And asking changes neither owner nor token.
    let guard = lock.try_acquire().unwrap();
    assert_eq!(guard.asked_by().unwrap(), None);
    let before = lock.status().unwrap().holders.remove(0);
    lock.ask_to_release().unwrap();
    let after = lock.status().unwrap().holders.remove(0);
    assert_eq!((&before.owner, before.token, before.lease), (&after.owner, after.token, after.lease));
    guard.check().unwrap();
    let (value, _) = read(&subject.client(), &names(&subject.client(), "billing/t/")[0]).unwrap();
    assert!(value.len() <= 64, "{} bytes", value.len());
}

fn a_lock_taken_by_force_is_the_next_ones(subject: &impl Subject) {
    let store = subject.client();
    let count = store.key("count").unwrap();
    let (lock, other) = (lock_in(subject, "billing"), lock_in(subject, "billing"));
    let victim = lock.try_acquire().unwrap();
    let error = other.break_holder(Token(1)).expect_err("nobody has that token");
    assert_eq!(now_of(Err::<(), _>(error)), Some(victim.token()));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| other.acquire(&Deadline::never()).unwrap());
        until_waiting(&lock, 1);
        lock.break_holder(victim.token()).unwrap();
        let next = waiter.join().unwrap();
        assert_eq!(now_of(victim.commit(&[Op::put(&count, b"late")])), Some(next.token()));
        assert!(!victim.is_alive());
        assert_eq!(now_of(victim.wait_asked(&Deadline::never())), Some(next.token()));
        committed_by(&next, &count, b"1");
    });
    assert_eq!(read(&store, "count").unwrap().0, b"1");
}

fn a_place_taken_by_force_is_told(subject: &impl Subject) {
    let lock = lock_in(subject, "billing");
    let guard = lock.try_acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| lock_in(subject, "billing").acquire(&Deadline::never()).map(drop));
        until_waiting(&lock, 1);
        lock.break_holder(lock.status().unwrap().waiting[0].token).unwrap();
        guard.release().unwrap();
        now_of(waiter.join().unwrap());
    });
}
