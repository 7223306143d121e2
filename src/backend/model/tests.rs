use std::time::Duration;

use super::store::REMEMBERED;
use super::{Backend, Model, Op};
use crate::backend::{Event, Watch};
use crate::clock::{Deadline, Revision};
use crate::error::ErrorKind;
use crate::memory::Outcome;

const SECOND: Duration = Duration::from_secs(1);

fn put(store: &Model, name: &str) -> Revision {
    let key = store.key(name).unwrap();
    match store.commit(&[Op::put(&key, b"")]).unwrap() {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict => unreachable!("there is no condition"),
    }
}

fn names(store: &Model) -> Vec<String> {
    let mut names = Vec::new();
    store.range("", &mut |key, _, _| names.push(key.as_ref().to_owned())).unwrap();
    names
}

/// The events of the next batch, in short.
fn next_batch(watch: &mut impl Watch<Key: AsRef<str>>) -> Vec<String> {
    let mut events = Vec::new();
    let note = &mut |event: Event<'_, _>| {
        events.push(match event {
            Event::Put { key, .. } => format!("put {}", AsRef::<str>::as_ref(key)),
            Event::Delete { key } => format!("delete {}", AsRef::<str>::as_ref(key)),
            Event::Resync => "resync".to_owned(),
            Event::Progress(_) => "progress".to_owned(),
        });
    };
    watch.next(&Deadline::now(), note).unwrap();
    events
}

#[test]
fn leases_end_on_the_way_in_the_order_of_their_ends_and_each_entry_by_itself() {
    let store = Model::new();
    let (late, early) = (store.grant(3 * SECOND).unwrap(), store.grant(2 * SECOND).unwrap());
    for (name, lease) in [("a", late), ("b", early), ("c", early), ("d", late)] {
        store.commit(&[Op::put_leased(&store.key(name).unwrap(), b"", lease)]).unwrap();
    }
    let newest = store.range("", &mut |_, _, _| {}).unwrap().0;
    store.advance(10 * SECOND);
    let store = store.store.lock();
    let ends: Vec<_> = store.deletions().map(|(at, name)| (at.0 - newest, name)).collect();
    assert_eq!(ends, [(1, "b"), (2, "c"), (3, "a"), (4, "d")]);
}

#[test]
fn the_clock_moves_when_it_is_told_to_and_a_renewal_answers_on_it() {
    let (store, clone) = (Model::new(), Model::new());
    let same = store.clone();
    let start = store.now();
    let lease = store.grant(2 * SECOND).unwrap();
    same.advance(SECOND);
    assert_eq!((store.now(), same.renew(lease).unwrap()), (start + SECOND, start + 3 * SECOND));
    store.advance(2 * SECOND - Duration::from_nanos(1));
    assert_eq!(store.renew(lease).unwrap(), start + 5 * SECOND - Duration::from_nanos(1), "it had a moment left");
    store.advance(2 * SECOND);
    assert_eq!(store.renew(lease).unwrap_err().kind(), ErrorKind::LeaseExpired);
    assert_eq!(clone.renew(lease).unwrap_err().kind(), ErrorKind::UnknownLease, "another store knows nothing of it");
}

#[test]
fn a_killed_owner_renews_no_more() {
    let store = Model::new();
    let (killed, lives) = (store.grant(SECOND).unwrap(), store.grant(SECOND).unwrap());
    for (name, lease) in [("a", killed), ("b", lives)] {
        store.commit(&[Op::put_leased(&store.key(name).unwrap(), b"", lease)]).unwrap();
    }
    store.kill_owner(killed);
    store.kill_owner(killed);
    assert_eq!(names(&store), ["b"]);
    assert_eq!(store.renew(killed).unwrap_err().kind(), ErrorKind::LeaseExpired);
    store.renew(lives).unwrap();
}

#[test]
fn a_model_built_small_refuses_what_a_small_store_would() {
    let store = Model::with_value_limit(10);
    let key = store.key("a").unwrap();
    store.commit(&[Op::put(&key, &[0; 10])]).unwrap();
    assert_eq!(store.commit(&[Op::put(&key, &[0; 11])]).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(store.read(&key, &mut Vec::new()).unwrap().0.unwrap().version.0, 1);
}

#[test]
fn history_is_exact_as_far_as_it_is_remembered_and_a_resync_beyond() {
    let store = Model::new();
    let stays = put(&store, "stays");
    let key = store.key("goes").unwrap();
    let mut created = Vec::new();
    for _ in 0..=REMEMBERED {
        created.push(put(&store, "goes"));
        store.commit(&[Op::delete(&key)]).unwrap();
    }
    // From between the last creation and its deletion: that one deletion. From before the first one, which is forgotten:
    // everything there is.
    let last = created[REMEMBERED];
    assert_eq!(next_batch(&mut store.watch("", Revision(last.0 + 1)).unwrap()), ["delete goes", "progress"]);
    assert_eq!(
        next_batch(&mut store.watch("", created[1]).unwrap()),
        [""; 0],
        "what came and went meanwhile is no difference"
    );
    assert_eq!(next_batch(&mut store.watch("", stays).unwrap()), ["resync", "put stays", "progress"]);
    store.forget_history();
    assert_eq!(next_batch(&mut store.watch("", last).unwrap()), ["resync", "put stays", "progress"]);
}
