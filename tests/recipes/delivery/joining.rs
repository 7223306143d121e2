//! Who joins late, leaves, or comes back.

use super::*;

on_every_backend! {
    a_member_started_again_goes_on_where_it_was,
    s2_9_a_late_joiner_is_sent_what_is_sent_from_then_on,
    s2_9_a_joiner_and_a_removal_that_cross_lose_nothing,
    s2_9_what_is_removed_while_one_joins_is_not_waited_for,
    a_number_is_one_members,
    who_is_no_member_any_more_is_refused_and_told,
    who_was_dropped_meanwhile_is_told_that_and_of_no_damage,
    who_leaves_is_waited_for_no_more,
}

fn a_member_started_again_goes_on_where_it_was(subject: &impl Subject) {
    let (a, b) = (member(subject, 1), member(subject, 2));
    assert!(!b.has_resumed());
    for n in 0..4 {
        a.send(format!("{n}").as_bytes()).unwrap();
    }
    let mut inbox = b.inbox().unwrap();
    inbox.next(&Deadline::now()).unwrap().unwrap().acknowledge().unwrap();
    drop(inbox);
    b.send(b"b1").unwrap();
    drop(b);
    a.send(b"4").unwrap();
    let b = member(subject, 2);
    assert!(b.has_resumed());
    assert_eq!(b.send(b"b2").unwrap().sequence, 2);
    assert_eq!(drain(&b), [1, 2, 3, 4].map(|n| (1, n.to_string())));
    assert_eq!(drain(&a), [(2, "b1".to_owned()), (2, "b2".to_owned())]);
}

/// Source 2 waited for message 1 of a sender whose 6th came first, for ever: S2-9.
fn s2_9_a_late_joiner_is_sent_what_is_sent_from_then_on(subject: &impl Subject) {
    let (a, b) = (member(subject, 1), member(subject, 2));
    for n in 0..5 {
        a.send(format!("{n}").as_bytes()).unwrap();
    }
    drain(&b);
    b.send(b"b").unwrap();
    assert_eq!(a.prune().unwrap(), 5);
    // One message is there still, that all but one have acknowledged.
    let late = member(subject, 3);
    assert_eq!(late.clock(), [(1, 5), (2, 1)].into_iter().collect());
    assert_eq!(drain(&late), []);
    a.send(b"new").unwrap();
    assert_eq!(drain(&late), [(1, "new".to_owned())]);
    late.send(b"hello").unwrap();
    assert_eq!(drain(&b), [(1, "new".to_owned()), (3, "hello".to_owned())]);
}

/// The removal has looked who is a member, the joiner has looked what was sent; then the one joins and the other removes.
fn s2_9_a_joiner_and_a_removal_that_cross_lose_nothing(subject: &impl Subject) {
    let way = Frail::new(subject.client());
    let a = Member::join(&join(&way, TTL).unwrap(), "d", 1).unwrap();
    let b = member(subject, 2);
    let late_way = Frail::new(subject.client());
    let late_session = join(&late_way, TTL).unwrap();
    let (looked, has_looked) = channel::<()>();
    let (go, may_go) = channel::<()>();
    let (joined, has_joined) = channel::<()>();
    late_way.before_next_commit(move |_| {
        looked.send(()).unwrap();
        // Also when the other side has panicked.
        let _ = may_go.recv();
    });
    let late = thread::spawn(move || {
        let late = Member::join(&late_session, "d", 3).unwrap();
        let _ = joined.send(());
        late
    });
    has_looked.recv().unwrap();
    // Sent after the joiner has looked, acknowledged by all there are.
    a.send(b"in between").unwrap();
    drain(&b);
    way.before_next_commit(move |_| {
        go.send(()).unwrap();
        let _ = has_joined.recv();
    });
    a.prune().unwrap();
    let late = late.join().unwrap();
    assert_eq!(drain(&late), [(1, "in between".to_owned())], "removed before it was told to all");
    a.send(b"after").unwrap();
    assert_eq!(drain(&late), [(1, "after".to_owned())], "a gap that never closes");
}

/// The joiner has looked what was sent; before it joins, more is sent, acknowledged by all there are, and removed.
fn s2_9_what_is_removed_while_one_joins_is_not_waited_for(subject: &impl Subject) {
    let (a, b) = (Arc::new(member(subject, 1)), Arc::new(member(subject, 2)));
    a.send(b"before").unwrap();
    drain(&b);
    let way = Frail::new(subject.client());
    let session = join(&way, TTL).unwrap();
    let others = (Arc::clone(&a), Arc::clone(&b));
    way.before_next_commit(move |_| {
        let (a, b) = others;
        a.send(b"in between").unwrap();
        drain(&b);
        assert_eq!(a.prune().unwrap(), 2);
    });
    let late = Member::join(&session, "d", 3).unwrap();
    assert_eq!(drain(&late), []);
    a.send(b"after").unwrap();
    assert_eq!(drain(&late), [(1, "after".to_owned())], "a gap that never closes");
}

fn a_number_is_one_members(subject: &impl Subject) {
    let first = member(subject, 7);
    let error = Member::join(&session(subject), "d", 7).unwrap_err();
    assert!(matches!(&error, Error::MemberTaken { member: 7, .. }), "{error}");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    let other = Member::join(&session(subject), "e", 7).unwrap();
    drop(first);
    let second = member(subject, 7);
    assert!(second.has_resumed() && !other.has_resumed());
    // Of many at once, one.
    drop(second);
    let won = thread::scope(|scope| {
        let joins: Vec<_> = (0..6)
            .map(|_| {
                let session = session(subject);
                scope.spawn(move || Member::join(&session, "d", 7))
            })
            .collect();
        let joined: Vec<_> = joins.into_iter().map(|join| join.join().unwrap()).collect();
        joined.iter().filter(|join| join.is_ok()).count()
    });
    assert_eq!(won, 1);
}

fn who_is_no_member_any_more_is_refused_and_told(subject: &impl Subject) {
    let (a, store, doomed) = (member(subject, 1), subject.client(), session(subject));
    let b = Member::join(&doomed, "d", 2).unwrap();
    a.send(b"one").unwrap();
    a.send(b"two").unwrap();
    let mut inbox = b.inbox().unwrap();
    let delivery = inbox.next(&Deadline::now()).unwrap().unwrap();
    store.revoke(doomed.lease()).unwrap();
    let effect = store.key("effect").unwrap();
    let is_lost = |error: Error| {
        assert!(matches!(&error, Error::MemberLost { member: 2, .. }) && error.is_lost(), "{error}");
    };
    is_lost(delivery.commit(&[Op::put(&effect, b"late")]).unwrap_err());
    is_lost(delivery.reply(b"late", &[]).unwrap_err());
    is_lost(delivery.acknowledge().unwrap_err());
    is_lost(b.send(b"late").unwrap_err());
    is_lost(b.check().unwrap_err());
    assert_eq!(value(&store, "effect"), None);
    // Its successor does what it has not done.
    let heir = member(subject, 2);
    is_lost(b.send(b"late").unwrap_err());
    assert_eq!(drain(&heir).len(), 2);
    assert_eq!(drain(&a), []);
    drop(inbox);
    is_lost(b.leave().unwrap_err());
    assert!(heir.check().is_ok());
    // Who waits for messages is told as well, by a wait that has no end of its own.
    let doomed = self::session(subject);
    let c = Member::join(&doomed, "d", 3).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| c.inbox().unwrap().next(&Deadline::never()).map(drop).unwrap_err());
        store.revoke(doomed.lease()).unwrap();
        assert!(matches!(waiting.join().unwrap(), Error::MemberLost { member: 3, .. }));
    });
    // And by one that begins afterwards.
    assert!(matches!(c.inbox().unwrap().next(&Deadline::never()), Err(Error::MemberLost { member: 3, .. })));
}

fn who_was_dropped_meanwhile_is_told_that_and_of_no_damage(subject: &impl Subject) {
    let a = Member::join_with(&session(subject), "d", 1, 2).unwrap();
    let (store, doomed) = (subject.client(), session(subject));
    let b = Member::join(&doomed, "d", 2).unwrap();
    let mut inbox = b.inbox().unwrap();
    store.revoke(doomed.lease()).unwrap();
    // The third finds no room but that of what nobody keeps any more.
    for n in 1..=3 {
        a.send(format!("{n}").as_bytes()).unwrap();
    }
    assert_eq!(names(&store, "d/r/"), ["d/r/1"]);
    let error = inbox.next(&Deadline::now()).map(drop).unwrap_err();
    assert!(matches!(error, Error::MemberLost { member: 2, .. }), "{error}");
}

fn who_leaves_is_waited_for_no_more(subject: &impl Subject) {
    let (a, b, c) = (member(subject, 1), member(subject, 2), member(subject, 3));
    b.send(b"farewell").unwrap();
    let sent = a.send(b"m").unwrap().sequence;
    drain(&c);
    b.leave().unwrap();
    a.wait_acknowledged(sent, &Deadline::now()).unwrap();
    assert_eq!(names(&subject.client(), "d/r/"), ["d/r/1", "d/r/3"]);
    assert_eq!(drain(&a), [(2, "farewell".to_owned())]);
    assert_eq!(a.prune().unwrap(), 2);
    let again = member(subject, 2);
    assert!(!again.has_resumed());
    assert_eq!(again.send(b"back").unwrap().sequence, 2);
    assert_eq!(drain(&c), [(2, "back".to_owned())]);
}
