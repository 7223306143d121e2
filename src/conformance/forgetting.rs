//! What a watch does where the history is gone: for backends that can be made to forget.

use super::asking::Asking;
use super::mirror::{Mirror, Told};
use super::subject::Forgetful;
use crate::backend::{Backend, Op};
use crate::{Deadline, Revision};

/// From a revision whose history is gone, the first batch begins with a resync and brings the whole view.
pub fn a_watch_from_a_forgotten_revision_resyncs(subject: &impl Forgetful) {
    let store = subject.client();
    store.set("p/a", b"");
    store.set("p/b", b"");
    let (view, at) = store.contents("p/");
    store.apply(&[Op::delete(&store.named("p/a"))]);
    store.set("p/c", b"");
    subject.forget();

    // One that had known what was there then: nothing of it survives unless it is told again.
    let mut mirror = Mirror { view, at, ..Mirror::empty() };
    let mut watch = store.watch("p/", Revision(at.0 + 1)).expect("a watch from the past");
    assert!(mirror.follow(&mut watch, &Deadline::now()).expect("a look"));
    assert_eq!(mirror.told, [Told::Resync, Told::Put("p/b".to_owned()), Told::Put("p/c".to_owned())]);
    assert_eq!(mirror.view, store.contents("p/").0);
    store.set("p/d", b"");
    mirror.follow_until(&mut watch, "p/d");
    assert_eq!(mirror.resyncs, 1, "once");
}

/// Forgetting takes nothing from those who watch, from the present, or from who waits since what it read last.
pub fn forgetting_is_not_noticed_by_those_who_keep_up(subject: &impl Forgetful) {
    let store = subject.client();
    store.set("p/a", b"");
    let (mut running, mut watch) = Mirror::open(&store, "p/");
    let seen = store.state_and_revision(&store.named("p/a")).1;
    store.apply(&[Op::delete(&store.named("p/a"))]);
    subject.forget();
    assert!(store.has_changed(&store.named("p/a"), seen));
    running.catch_up(&mut watch);
    assert_eq!((running.resyncs, running.view.len()), (0, 0));

    let (mut fresh, mut next) = Mirror::open(&store, "p/");
    store.set("p/b", b"");
    fresh.follow_until(&mut next, "p/b");
    running.follow_until(&mut watch, "p/b");
    assert_eq!((fresh.resyncs, running.resyncs), (0, 0));
}
