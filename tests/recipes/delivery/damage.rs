//! What is damaged, or none of ours, and what was not heard of.

use super::*;

on_every_backend! {
    what_makes_no_sense_is_refused,
    what_nobody_of_us_wrote_stops_nobody_and_is_taken_away,
    a_message_that_cannot_be_read_is_told_and_can_be_taken_away,
    a_damaged_floor_is_told_to_all_and_made_anew,
    what_a_cursor_says_that_cannot_be_read_is_nothing,
    what_was_sent_and_not_heard_of_is_not_sent_over,
    what_was_done_and_not_heard_of_is_not_done_again,
}

fn what_makes_no_sense_is_refused(subject: &impl Subject) {
    let session = session(subject);
    assert!(matches!(Member::join_with(&session, "d", 1, 0), Err(Error::NoRoom)));
    for name in ["", "n\0", &"x".repeat(240)] {
        let error = Member::join(&session, name, 1).unwrap_err();
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::BadName), "{error}");
    }
    assert!(names(&subject.client(), "").iter().all(|name| name.starts_with("sessions/")));
    let a = Member::join(&session, "d", 1).unwrap();
    if let Err(error) = a.send(&vec![0; 1 << 20]) {
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::TooLarge), "{error}");
        assert_eq!(a.send(b"small").unwrap().sequence, 1);
    }
    // Room for the whole commit is asked of the store.
    let b = Member::join(&session, "d", 2).unwrap();
    a.send(b"m").unwrap();
    let store = subject.client();
    let keys: Vec<_> = (0..40).map(|n| store.key(&format!("k{n}")).unwrap()).collect();
    let ops: Vec<_> = keys.iter().map(|key| Op::put(key, b"x")).collect();
    let mut inbox = b.inbox().unwrap();
    let delivery = inbox.next(&Deadline::now()).unwrap().unwrap();
    let error = delivery.commit(&ops).unwrap_err();
    assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::TooManyOps), "{error}");
    assert_ne!(delivery.commit(&ops[..30]).unwrap(), Outcome::Conflict);
}

/// One such entry under the group's name once stopped every member: none could join, send at its bound, or look.
fn what_nobody_of_us_wrote_stops_nobody_and_is_taken_away(subject: &impl Subject) {
    let anna = Member::join_with(&session(subject), "d", 1, 2).unwrap();
    let (bert, store) = (member(subject, 2), subject.client());
    let strange = [
        ("d/floor/1", &b""[..]),
        ("d/m/1/2", b"\x01\x01\x02body"),
        ("d/m/x", b"\x00"),
        ("d/r/9", b""),
        ("d/m/8", b"me"),
    ];
    strange.iter().for_each(|(name, bytes)| put(&store, name, bytes));
    for n in 0..5 {
        anna.send(&[n]).unwrap();
        assert_eq!(drain(&bert).len(), 1);
        anna.wait_acknowledged(u64::from(n) + 1, &Deadline::never()).unwrap();
    }
    assert!(bert.history().unwrap().len() <= 2);
    drop(member(subject, 3));
    // Whose own entry it is cannot go on before it is gone. A cursor that nobody lives by is in no sender's way.
    put(&store, "d/r/9", b"");
    for (number, entry) in [(9, "d/r/9"), (8, "d/m/8")] {
        let error = Member::join(&session(subject), "d", number).unwrap_err();
        assert!(matches!(&error, Error::Damaged(Damaged { entry: found, .. }) if found == entry), "{error}");
        assert!(error.to_string().contains("remove_foreign"), "{error}");
    }
    let found: Vec<_> = foreign(&store, "d").unwrap().into_iter().map(|foreign| foreign.entry).collect();
    assert_eq!(found, ["d/floor/1", "d/m/1/2", "d/m/8", "d/m/x", "d/r/9"]);
    for entry in &found {
        assert!(remove_foreign(&store, "d", entry).unwrap(), "{entry}");
        assert_eq!(value(&store, entry), None);
    }
    assert_eq!(foreign(&store, "d").unwrap(), []);
    // What is sound stays.
    for entry in names(&store, "d/").iter().map(String::as_str).chain(["d/m/1/00000000000000000099", "elsewhere"]) {
        assert!(!remove_foreign(&store, "d", entry).unwrap(), "{entry}");
    }
    assert_eq!([8, 9].map(|number| member(subject, number).has_resumed()), [false, false]);
}

/// The rest of its sender's waits for it, visibly, until somebody takes it away; then nobody waits for ever.
fn a_message_that_cannot_be_read_is_told_and_can_be_taken_away(subject: &impl Subject) {
    let (anna, bert, carl, store) = (member(subject, 1), member(subject, 2), member(subject, 3), subject.client());
    let [second, fourth] = [2, 4].map(|n| format!("d/m/1/{n:020}"));
    put(&store, &second, b"\x01\x01\x07body");
    anna.send(b"one").unwrap();
    assert_eq!(anna.send(b"three").unwrap().sequence, 3);
    let mut inbox = bert.inbox().unwrap();
    let is_told = |error: Error, entry: &str| {
        assert!(matches!(&error, Error::Damaged(Damaged { entry: told, .. }) if told == entry), "{error}");
    };
    is_told(inbox.next(&Deadline::now()).unwrap_err(), &second);
    inbox.next(&Deadline::now()).unwrap().unwrap().acknowledge().unwrap();
    // All others go on.
    carl.send(b"hello").unwrap();
    inbox.next(&Deadline::now()).unwrap().unwrap().acknowledge().unwrap();
    assert!(inbox.next(&Deadline::now()).unwrap().is_none());
    assert_eq!(foreign(&store, "d").unwrap()[0].entry, second);
    assert!(remove_foreign(&store, "d", &second).unwrap() && !remove_foreign(&store, "d", &second).unwrap());
    assert!(matches!(bert.message(1, 2), Err(Error::NoSuchMessage { why, .. }) if why.contains("taken away")));
    let delivery = inbox.next(&Deadline::now()).unwrap().expect("what waited for it");
    assert_eq!((delivery.sequence(), delivery.body()), (3, &b"three"[..]));
    delivery.acknowledge().unwrap();
    assert_eq!(drain(&carl), [(1, "one".to_owned()), (1, "three".to_owned())]);
    assert_eq!(anna.prune().unwrap(), 3);

    // As for one that somebody has deleted: who waits for it is told, and by whom it is done it is not asked.
    anna.send(b"four").unwrap();
    anna.send(b"five").unwrap();
    store.commit(&[Op::delete(&store.key(&fourth).unwrap())]).unwrap();
    is_told(inbox.next(&Deadline::now()).unwrap_err(), &fourth);
    assert!(inbox.next(&Deadline::now()).unwrap().is_none());
    assert!(remove_foreign(&store, "d", &fourth).unwrap());
    assert_eq!(inbox.next(&Deadline::now()).unwrap().unwrap().body(), b"five");
    // One that is the newest is deleted, so that its sender goes on counting from its own.
    let last = format!("d/m/1/{:020}", u64::MAX);
    put(&store, &last, b"");
    assert_eq!(anna.send(b"six").unwrap().sequence, 6);
    drop(anna);
    assert!(matches!(member(subject, 1).send(b"seven"), Err(Error::Unacknowledged { .. })));
    assert!(remove_foreign(&store, "d", &last).unwrap());
    assert_eq!((value(&store, &last), member(subject, 1).send(b"seven").unwrap().sequence), (None, 7));
}

/// What it says all need. Made anew, it loses no message and gives no number twice.
fn a_damaged_floor_is_told_to_all_and_made_anew(subject: &impl Subject) {
    let (anna, bert, store) = (member(subject, 1), member(subject, 2), subject.client());
    for body in [b"one", b"two"] {
        anna.send(body).unwrap();
    }
    drain(&bert);
    bert.send(b"other").unwrap();
    assert_eq!(anna.prune().unwrap(), 2);
    put(&store, "d/floor", b"\xff");
    let is_told = |error: Error| {
        assert!(matches!(&error, Error::Damaged(Damaged { entry, .. }) if entry == "d/floor"), "{error}")
    };
    is_told(anna.prune().unwrap_err());
    is_told(Member::join(&session(subject), "d", 3).unwrap_err());
    assert!(remove_foreign(&store, "d", "d/floor").unwrap() && !remove_foreign(&store, "d", "d/floor").unwrap());
    drop(anna);
    let anna = member(subject, 1);
    assert_eq!(anna.send(b"three").unwrap().sequence, 3);
    assert_eq!(drain(&bert), [(1, "three".to_owned())]);
    assert_eq!(drain(&anna), [(2, "other".to_owned())]);
}

/// Taken for no cursor at all, what its member has not acknowledged would be removed.
fn what_a_cursor_says_that_cannot_be_read_is_nothing(subject: &impl Subject) {
    let (anna, bert, store) = (member(subject, 1), member(subject, 2), subject.client());
    anna.send(b"one").unwrap();
    put(&store, "d/r/2", b"\xff");
    assert_eq!(anna.prune().unwrap(), 0);
    assert!(matches!(anna.wait_acknowledged(1, &Deadline::now()), Err(Error::NotAcknowledged { .. })));
    assert!(!remove_foreign(&store, "d", "d/r/2").unwrap(), "its member writes it anew");
    assert_eq!(drain(&bert), [(1, "one".to_owned())]);
    assert_eq!((anna.prune().unwrap(), foreign(&store, "d").unwrap()), (1, vec![]));
}

/// A message whose sending ended in an error was delivered to all and removed. Its number is used up: another message under
/// it would be taken for the first.
fn what_was_sent_and_not_heard_of_is_not_sent_over(subject: &impl Subject) {
    let way = Frail::new(subject.client());
    let (anna, bert) = (Member::join(&join(&way, TTL).unwrap(), "d", 1).unwrap(), member(subject, 2));
    way.mishear_next_commit();
    anna.send(b"one").unwrap_err();
    let mut inbox = bert.inbox().unwrap();
    inbox.next(&Deadline::now()).unwrap().unwrap().acknowledge().unwrap();
    assert_eq!(bert.prune().unwrap(), 1);
    assert_eq!(anna.send(b"two").unwrap().sequence, 2);
    assert_eq!(inbox.next(&Deadline::now()).unwrap().expect("a message").body(), b"two");
}

/// The effect and the acknowledgement took place, and the receiver was told of an error. It tries again.
fn what_was_done_and_not_heard_of_is_not_done_again(subject: &impl Subject) {
    let way = Frail::new(subject.client());
    let (anna, bert) = (member(subject, 1), Member::join(&join(&way, TTL).unwrap(), "d", 2).unwrap());
    anna.send(b"one").unwrap();
    let effect = way.key("effect").unwrap();
    let mut inbox = bert.inbox().unwrap();
    let delivery = inbox.next(&Deadline::now()).unwrap().unwrap();
    way.mishear_next_commit();
    delivery.commit(&[Op::put(&effect, b"done")]).unwrap_err();
    let again = delivery.commit(&[Op::put(&effect, b"done again")]);
    assert!(matches!(again, Err(Error::AlreadyAcknowledged { sender: 1, sequence: 1 })), "{again:?}");
    assert_eq!(value(&way.store, "effect").unwrap(), "done");
    assert!(inbox.next(&Deadline::now()).unwrap().is_none());
}
