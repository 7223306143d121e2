//! Views: a prefix in memory that is never wrong about when it was right, and listeners that miss nothing.
#![cfg(not(loom))]

#[path = "support/forked.rs"]
mod forked;
#[path = "view/listeners.rs"]
mod listeners;
#[path = "view/storm.rs"]
mod storm;
#[path = "support/weather.rs"]
mod weather;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use slotguard::backend::{Backend, Batch, Entry, Model, Op, SharedMemory, Snapshot, View};
use slotguard::{Cancel, Deadline, ErrorKind, Revision, Segment};

use forked::fork;
use harness::isolated::isolated;
use listeners::*;
use storm::*;
use weather::{committed, weather};

/// Every entry as text.
fn shown<K: AsRef<str>>(snapshot: &Snapshot<K>) -> String {
    let entries = snapshot.iter().map(|(key, entry)| format!("{}={}", key.as_ref(), text(&entry.value)));
    entries.collect::<Vec<_>>().join(" ")
}

fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap()
}

/// A batch as text: what was and what is, a name.
fn told<K: AsRef<str>>(batch: &Batch<K>) -> String {
    let state =
        |entry: &Option<_>| entry.as_ref().map_or("-".to_owned(), |entry: &Entry| text(&entry.value).to_owned());
    let changes = batch
        .changes
        .iter()
        .map(|change| format!("{}:{}>{}", change.key.as_ref(), state(&change.before), state(&change.after)));
    let resync = batch.resync.then(|| "resync".to_owned());
    resync.into_iter().chain(changes).collect::<Vec<_>>().join(" ")
}

fn a_view_shows_its_prefix_and_nothing_else<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    store.put("app/b", b"2");
    store.put("app/a", b"1");
    store.put("apple/1", b"no");
    let first = store.put("ap", b"no");
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    assert_eq!(shown(&view.snapshot()), "app/a=1 app/b=2");
    assert_eq!((view.len(), view.is_empty(), view.prefix()), (2, false, "app/"));
    assert!(view.fresh_at() >= first);
    let before = view.snapshot();

    let put = store.put("app/c", b"3");
    assert_eq!(follower.follow(&Deadline::never()).unwrap(), Some(view.fresh_at()));
    assert!(view.fresh_at() >= put);
    let entry = view.get("app/c").unwrap();
    assert_eq!(
        (&*entry.value, entry.meta.created, entry.meta.modified, entry.meta.version.0),
        (&b"3"[..], put, put, 1)
    );
    assert_eq!(view.get("app/"), None);

    store.delete("app/a");
    store.put("apple/2", b"no");
    store.put("app/c", b"4");
    follower.catch_up().unwrap();
    assert_eq!(shown(&view.snapshot()), "app/b=2 app/c=4");
    assert_eq!(shown(&before), "app/a=1 app/b=2", "a snapshot stays as it is");
    assert!(before.get("app/a").is_some() && before.revision() < view.fresh_at());
}

/// D20: a program that puts its own write into its copy when the acknowledgement arrives may put it there after the watch
/// has reported a later delete. A view listens to the watch alone.
fn d20_what_was_deleted_stays_deleted<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let (view, mut follower) = View::new(&*store, "").unwrap();
    let put = store.put("shard/1", b"mine");
    let deleted = store.delete("shard/1");
    assert!(put < deleted);
    follower.catch_up().unwrap();
    // The acknowledgement of the put arrives now.
    assert!(view.wait_fresh(put, &Deadline::now()).unwrap());
    assert_eq!(view.get("shard/1"), None);
    assert!(view.fresh_at() >= deleted);
}

fn what_one_commit_changed_is_seen_at_once_or_not_at_all<B: Backend + 'static>(make: impl Fn() -> B) {
    /// The view is looked at until it has been seen in so many states.
    const STATES: u32 = 500;
    let store = weather(make());
    let view = View::spawn(&store, "pair/").unwrap();
    let (one, two) = (store.key("pair/1").unwrap(), store.key("pair/2").unwrap());
    thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let (mut last, mut states) = (Revision(0), 0);
            while states < STATES {
                let snapshot = view.snapshot();
                let value = |name| snapshot.get(name).map(|entry| entry.value.clone());
                assert_eq!(value("pair/1"), value("pair/2"), "at {}", snapshot.revision());
                assert!(snapshot.revision() >= last);
                states += u32::from(snapshot.revision() > last);
                last = snapshot.revision();
            }
        });
        for commit in 0u64.. {
            let value = commit.to_le_bytes();
            let last = committed(store.commit(&[Op::put(&one, &value), Op::put(&two, &value)]));
            if looker.is_finished() {
                assert!(view.wait_fresh(last, &Deadline::never()).unwrap());
                assert_eq!(&*view.get("pair/2").unwrap().value, value);
                break;
            }
        }
    });
}

fn a_step_waits_until_its_deadline_or_until_cancelled<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    assert_eq!(follower.follow(&Deadline::now()).unwrap(), None);
    let began = Instant::now();
    assert_eq!(follower.follow(&Deadline::after(Duration::from_millis(20))).unwrap(), None);
    assert!(began.elapsed() >= Duration::from_millis(20));
    let stop = Cancel::new();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| follower.follow(&Deadline::never().or_cancelled(&stop)));
        stop.cancel();
        assert_eq!(waiter.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    });
    store.put("app/a", b"1");
    follower.follow(&Deadline::never()).unwrap();
    assert_eq!(view.len(), 1);
}

fn who_waits_for_a_revision_gets_it_wherever_it_was_drawn<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let view = View::spawn(&store, "app/").unwrap();
    for round in 0..200 {
        let mine = store.put("app/a", format!("{round}").as_bytes());
        assert!(view.wait_fresh(mine, &Deadline::never()).unwrap());
        assert_eq!(text(&view.get("app/a").unwrap().value), format!("{round}"));
        // The watch has nothing to say about this one.
        let elsewhere = store.put("other", b"");
        assert!(view.wait_fresh(elsewhere, &Deadline::never()).unwrap());
        assert!(view.fresh_at() >= elsewhere);
    }
}

/// The follower has just looked and sleeps; a change under the prefix and one elsewhere follow. Who waits for the latter
/// must not be told that the map is as new as that while the former is missing.
fn a_view_does_not_say_that_it_is_fresh_before_it_is<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    for round in 0..50u8 {
        store.put("app/a", &[round]);
        let elsewhere = store.put("other", b"");
        let fresh_at = follower.catch_up().unwrap();
        assert!(fresh_at >= elsewhere);
        assert_eq!(&*view.get("app/a").unwrap().value, [round]);
    }
}

fn nobody_waits_for_what_cannot_come<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let view = View::spawn(&store, "app/").unwrap();
    let newest = store.put("app/a", b"1");
    let future = view.wait_fresh(Revision(newest.0 + 1_000_000), &Deadline::never()).unwrap_err();
    assert_eq!(future.kind(), ErrorKind::FutureRevision, "{future}");

    let (view, follower) = View::new(&*store, "app/").unwrap();
    let later = store.put("app/a", b"2");
    assert!(!view.wait_fresh(later, &Deadline::now()).unwrap(), "nobody follows at the moment");
    let stop = Cancel::new();
    let subscription = view.subscribe();
    thread::scope(|scope| {
        let cancelled = scope.spawn(|| view.wait_fresh(later, &Deadline::never().or_cancelled(&stop)));
        stop.cancel();
        assert_eq!(cancelled.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        let waiter = scope.spawn(|| view.wait_fresh(later, &Deadline::never()));
        let taker = scope.spawn(|| subscription.next(&Deadline::never()));
        drop(follower);
        assert_eq!(waiter.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(taker.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    });
    assert_eq!(shown(&view.snapshot()), "app/a=1");
}

fn a_batch_that_breaks_off_changes_nothing_and_comes_again<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    store.put("app/a", b"1");
    store.put("app/b", b"1");
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    let subscription = view.subscribe();
    let (a, b) = (store.key("app/a").unwrap(), store.key("app/b").unwrap());
    committed(store.commit(&[Op::put(&a, b"2"), Op::delete(&b)]));
    store.torn.store(true, SeqCst);
    let fresh_at = view.fresh_at();
    assert_eq!(follower.follow(&Deadline::never()).unwrap_err().kind(), ErrorKind::Outrun);
    assert_eq!(shown(&view.snapshot()), "app/a=1 app/b=1");
    assert_eq!(view.fresh_at(), fresh_at);
    assert!(subscription.next(&Deadline::now()).unwrap().is_none());
    follower.follow(&Deadline::never()).unwrap();
    assert_eq!(shown(&view.snapshot()), "app/a=2");
    assert_eq!(told(&subscription.next(&Deadline::now()).unwrap().unwrap()), "app/a:1>2 app/b:1>-");
}

fn where_the_history_is_gone_the_difference_is_told<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    for name in ["app/a", "app/b", "app/c", "app/e"] {
        store.put(name, b"1");
    }
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    let subscription = view.subscribe();
    store.put("app/b", b"2");
    store.delete("app/c");
    store.put("app/d", b"1");
    store.delete("app/e");
    store.put("app/e", b"1");
    store.lose_history();
    follower.follow(&Deadline::never()).unwrap();
    assert_eq!(shown(&view.snapshot()), "app/a=1 app/b=2 app/d=1 app/e=1");
    let batch = subscription.next(&Deadline::now()).unwrap().unwrap();
    assert_eq!(told(&batch), "resync app/b:1>2 app/c:1>- app/d:->1 app/e:1>1");
    assert_eq!(batch.revision, view.fresh_at());
    let reborn = &batch.changes[3];
    assert!(reborn.before.as_ref().unwrap().meta.created < reborn.after.as_ref().unwrap().meta.created);

    // A resync that brings nothing new is nothing to tell.
    store.lose_history();
    follower.catch_up().unwrap();
    follower.follow(&Deadline::now()).unwrap();
    assert!(subscription.next(&Deadline::now()).unwrap().is_none());
    assert_eq!(view.len(), 4);
}

fn errors_end_no_view_that_has_threads_of_its_own<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let view = View::spawn(&store, "app/").unwrap();
    assert_eq!((view.health().failures, view.health().last_error.is_none()), (0, true));
    store.lost_looks.store(3, SeqCst);
    let put = store.put("app/a", b"1");
    assert!(view.wait_fresh(put, &Deadline::never()).unwrap());
    assert_eq!(view.len(), 1);
    // The errors may hit the look after that as well.
    while store.lost_looks.load(SeqCst) > 0 {
        store.put("app/a", b"2");
        thread::yield_now();
    }
    let put = store.put("app/a", b"3");
    assert!(view.wait_fresh(put, &Deadline::never()).unwrap());
    assert_eq!(text(&view.get("app/a").unwrap().value), "3");
    assert_eq!(view.health().last_error.expect("it is kept").kind(), ErrorKind::Outrun);
}

fn a_view_that_is_dropped_ends_its_threads<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let view = View::spawn(&store, "app/").unwrap();
    let put = store.put("app/a", b"1");
    assert!(view.wait_fresh(put, &Deadline::never()).unwrap());
    let subscription = view.subscribe();
    let _listening = view.listen(0, |_| {});
    store.put("app/a", b"2");
    drop(view);
    assert_eq!(Arc::strong_count(&store), 1, "nobody else has the store any more");
    let _ = subscription.next(&Deadline::never());
    assert_eq!(subscription.next(&Deadline::never()).unwrap_err().kind(), ErrorKind::Cancelled);
}

fn a_forked_child_drops_its_copies_and_the_parents_view_goes_on<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let mut view = Some(View::spawn(&store, "app/").unwrap());
    let mut handles = view.as_ref().map(|view| (view.subscribe(), view.listen(0, |_| {})));
    let copies = (&mut view, &mut handles);
    fork(|| {
        drop(copies.1.take());
        drop(copies.0.take());
    })
    .join();
    let put = store.put("app/a", b"1");
    let view = view.unwrap();
    assert!(view.wait_fresh(put, &Deadline::never()).unwrap());
    assert_eq!((view.len(), view.listeners()), (1, 1));
}

macro_rules! on {
    ($backend:ident, $make:expr, $($name:ident)*) => {
        mod $backend {
            #[allow(unused_imports, reason = "what a backend is made with differs")]
            use super::*;
            $(#[test] fn $name() { super::$name($make) })*

            #[test]
            fn a_child_of_a_process_with_a_view() {
                isolated(|_| a_forked_child_drops_its_copies_and_the_parents_view_goes_on($make));
            }
        }
    };
}

macro_rules! every_test_on {
    ($backend:ident, $make:expr) => {
        on! { $backend, $make,
            a_view_shows_its_prefix_and_nothing_else
            d20_what_was_deleted_stays_deleted
            what_one_commit_changed_is_seen_at_once_or_not_at_all
            a_step_waits_until_its_deadline_or_until_cancelled
            who_waits_for_a_revision_gets_it_wherever_it_was_drawn
            a_view_does_not_say_that_it_is_fresh_before_it_is
            nobody_waits_for_what_cannot_come
            a_batch_that_breaks_off_changes_nothing_and_comes_again
            where_the_history_is_gone_the_difference_is_told
            errors_end_no_view_that_has_threads_of_its_own
            a_view_that_is_dropped_ends_its_threads
            a_higher_priority_has_returned_before_the_next_is_called
            a_listener_that_removes_itself_is_not_called_again
            a_listener_that_another_one_removes_is_not_called_any_more
            a_removal_returns_when_the_listener_does_not_run
            a_listener_added_in_a_notification_is_told_from_the_next_batch_on
            a_listener_that_panics_is_removed_and_the_others_are_told
            a_slow_listener_keeps_neither_the_map_nor_a_subscriber_waiting
            a_slow_subscriber_gets_one_difference
            what_comes_and_goes_between_two_looks_is_not_told
            a_backlog_holds_no_more_than_the_difference
            a_listener_may_drop_the_view
            a_kept_listener_outlives_its_handle
            b19_nothing_is_lost_doubled_or_out_of_order_in_a_storm
        }
    };
}

every_test_on!(model, Model::new);

every_test_on!(shared_memory, || { SharedMemory::new(Segment::builder().keys(1_000).anonymous().unwrap()).unwrap() });
