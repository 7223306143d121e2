//! Who is alive, who is stale, and whose slot is freed.

use std::sync::Arc;
use std::time::Duration;

use slotguard::ErrorKind;
use slotguard::backend::{Backend, Session};
use slotguard::conformance::Subject;
use slotguard::recipe::assignment::{Assignment, Error, Placement, STALE_AFTER};

use super::{TTL, assignment, everything, session};
use crate::delivery::frail::Frail;
use crate::on_every_backend;

on_every_backend! {
    being_alive_changes_nothing_that_others_write,
    who_joins_again_goes_on_as_the_same,
    a_node_is_stale_when_its_session_is_gone,
    only_who_was_stale_for_long_enough_is_cleaned_up,
    who_came_back_in_between_is_not_cleaned_up,
    stats_and_entries_agree,
    who_comes_back_at_the_last_moment_is_not_cleaned_up,
}

/// Source 1 kept when a node was last seen in the table itself: every heartbeat was a new version, and so a conflict for
/// everybody who was changing something: S1-13.
fn being_alive_changes_nothing_that_others_write(subject: &impl Subject) {
    let (slots, store) = (assignment(subject, "a"), Arc::new(subject.client()));
    let session = Session::manual(&store, "s", b"", TTL).unwrap().mine().unwrap();
    let mine = slots.join(&session, "node").unwrap();
    let before = everything(&*store, "a/");
    for _ in 0..5 {
        session.keep_alive().unwrap();
    }
    assert_eq!(everything(&*store, "a/"), before);
    mine.check().unwrap();
    // What is alive is a matter of the session and not of when somebody was seen.
    assert_eq!(slots.active().unwrap(), [mine.placement().clone()]);
    session.close().unwrap();
    let gone: Vec<_> = before.into_iter().filter(|(name, ..)| !name.starts_with("a/alive/")).collect();
    assert_eq!(everything(&*store, "a/"), gone);
    assert_eq!(slots.stale().unwrap(), [mine.placement().clone()]);
}

fn who_joins_again_goes_on_as_the_same(subject: &impl Subject) {
    let (slots, first) = (assignment(subject, "a"), session(subject));
    let before = slots.join(&first, "node").unwrap();
    drop(first);
    assert_eq!(slots.active().unwrap(), []);
    let again = session(subject);
    let after = slots.join(&again, "node").unwrap();
    assert_eq!(after.placement(), before.placement());
    assert_eq!(slots.active().unwrap(), [after.placement().clone()]);
    // Under a session that is over nobody is alive, and nothing is taken.
    let store = Arc::new(subject.client());
    let over = Session::manual(&store, "over", b"", TTL).unwrap().mine().unwrap();
    store.revoke(over.lease()).unwrap();
    for node in ["node", "another"] {
        let error = slots.join(&over, node).unwrap_err();
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::LeaseExpired), "{error}");
    }
    assert_eq!(slots.lookup("another").unwrap(), None);
    assert_eq!(slots.active().unwrap(), [after.placement().clone()]);
}

fn a_node_is_stale_when_its_session_is_gone(subject: &impl Subject) {
    let slots = assignment(subject, "a");
    let sessions = ["c", "a", "b"].map(|node| {
        let session = session(subject);
        slots.join(&session, node).unwrap();
        session
    });
    slots.assign("d").unwrap();
    let names = |places: Vec<Placement>| places.into_iter().map(|place| place.node).collect::<Vec<_>>();
    assert_eq!(names(slots.active().unwrap()), ["a", "b", "c"]);
    assert_eq!(names(slots.stale().unwrap()), ["d"]);
    let [c, a, b] = sessions;
    drop((a, c));
    assert_eq!(names(slots.active().unwrap()), ["b"]);
    assert_eq!(names(slots.stale().unwrap()), ["a", "c", "d"]);
    drop(b);
}

/// Source 1 compared the wall clocks of different machines to tell who was stale: S1-13.
fn only_who_was_stale_for_long_enough_is_cleaned_up(subject: &impl Subject) {
    let (slots, alive) = (assignment(subject, "a"), session(subject));
    slots.join(&alive, "alive").unwrap();
    let gone = slots.assign("gone").unwrap();
    let mut cleaner = slots.cleaner();
    assert_eq!(cleaner.look().unwrap().len(), 1);
    assert!(cleaner.release_stale(STALE_AFTER).unwrap().is_empty(), "nobody has been seen stale for ten minutes");
    gone.check().unwrap();

    let long = Duration::from_millis(20);
    subject.pass(long);
    let late = slots.assign("late").unwrap();
    let released = cleaner.release_stale(long).unwrap();
    assert_eq!(released, [gone.placement().clone()], "not who is alive, not who was not seen stale before");
    assert!(matches!(gone.check(), Err(Error::Evicted { .. })));
    late.check().unwrap();
    // A second cleaner has seen nothing yet; the first has.
    assert!(slots.cleaner().release_stale(long).unwrap().is_empty());
    subject.pass(long);
    assert_eq!(cleaner.release_stale(long).unwrap(), [late.placement().clone()]);
    assert!(cleaner.release_stale(Duration::ZERO).unwrap().is_empty());
    assert_eq!(slots.stats().unwrap().taken, 1);
}

fn who_came_back_in_between_is_not_cleaned_up(subject: &impl Subject) {
    let slots = assignment(subject, "a");
    let long = Duration::from_millis(20);
    let mut cleaner = slots.cleaner();
    let assigned = ["blink", "reborn", "stays"].map(|node| slots.assign(node).unwrap());
    cleaner.look().unwrap();
    subject.pass(long);
    // Alive and gone between two looks, so that both looks find it stale.
    slots.join(&session(subject), "blink").unwrap();
    // Released and placed again: the same name, the same slot.
    slots.release("reborn").unwrap();
    slots.assign("reborn").unwrap();
    assert_eq!(slots.stale().unwrap().len(), 3);
    let released = cleaner.release_stale(long).unwrap();
    assert_eq!(released, [assigned[2].placement().clone()]);
    subject.pass(long);
    assert_eq!(cleaner.release_stale(long).unwrap().len(), 2);
}

fn stats_and_entries_agree(subject: &impl Subject) {
    let slots = Assignment::open_with(&Arc::new(subject.client()), "a", "c", 10).unwrap();
    let mut sessions: Vec<_> = (0..5)
        .map(|n| {
            let session = session(subject);
            slots.join(&session, &format!("node-{n}")).unwrap();
            session
        })
        .collect();
    sessions.truncate(3);
    let stats = slots.stats().unwrap();
    assert_eq!((stats.slots, stats.taken, stats.free, stats.active, stats.stale), (10, 5, 5, 3, 2));
    assert_eq!(usize::from(stats.active), slots.active().unwrap().len());
    assert_eq!(usize::from(stats.stale), slots.stale().unwrap().len());
}

/// Between the cleaner's look and its commit.
fn who_comes_back_at_the_last_moment_is_not_cleaned_up(subject: &impl Subject) {
    let long = Duration::from_millis(20);
    for (name, stays) in [("blinks", false), ("stays", true)] {
        let frail = Frail::new(subject.client());
        let (slots, others) = (Assignment::open(&frail, name).unwrap(), assignment(subject, name));
        let (place, back) = (slots.assign("node").unwrap().placement().clone(), session(subject));
        let mut cleaner = slots.cleaner();
        cleaner.look().unwrap();
        subject.pass(long);
        let kept = stays.then(|| Arc::clone(&back));
        frail.before_next_commit(move |_| drop(others.join(&back, "node").unwrap()));
        assert_eq!(cleaner.release_stale(long).unwrap(), []);
        assert_eq!(slots.lookup("node").unwrap(), Some(place.clone()));
        drop(kept);
        // From now on it counts anew.
        assert_eq!(cleaner.release_stale(long).unwrap(), []);
        subject.pass(long);
        assert_eq!(cleaner.release_stale(long).unwrap(), [place]);
    }
}
