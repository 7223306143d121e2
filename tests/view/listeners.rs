//! Who is told, when, and after what: order, removal, panics, slowness.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use slotguard::Deadline;
use slotguard::backend::{Backend, Listening, View};

use super::told;
use crate::weather::{Weather, weather};

/// What listeners have written down.
type Notes = Arc<Mutex<Vec<String>>>;

fn read(notes: &Notes) -> Vec<String> {
    std::mem::take(&mut notes.lock().unwrap())
}

/// Adds a listener that writes down its name and what it is told.
fn note<B: Backend>(view: &View<B>, priority: i32, name: &str, notes: &Notes) -> Listening<B::Key> {
    let (name, notes) = (name.to_owned(), Arc::clone(notes));
    view.listen(priority, move |batch| notes.lock().unwrap().push(format!("{name} {}", told(batch))))
}

pub fn a_higher_priority_has_returned_before_the_next_is_called<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    let notes = Notes::default();
    let listening =
        [(0, "c"), (-1, "e"), (7, "b"), (0, "d"), (i32::MAX, "a")].map(|(at, name)| note(&view, at, name, &notes));
    assert_eq!(view.listeners(), 5);
    store.put("app/1", b"x");
    follower.follow(&Deadline::never()).unwrap();
    assert_eq!(read(&notes), ["a", "b", "c", "d", "e"].map(|name| format!("{name} app/1:->x")));
    store.put("app/1", b"y");
    store.delete("app/1");
    store.put("app/2", b"z");
    follower.catch_up().unwrap();
    assert_eq!(read(&notes), ["a", "b", "c", "d", "e"].map(|name| format!("{name} app/1:x>- app/2:->z")));
    drop(listening);
    assert_eq!(view.listeners(), 0);

    // The same by the view's own thread.
    let view = View::spawn(&store, "app/").unwrap();
    let listening = [(1, "b"), (2, "a"), (0, "c")].map(|(at, name)| note(&view, at, name, &notes));
    let (send, done) = mpsc::channel();
    let _last = view.listen(-1, move |_| send.send(()).unwrap());
    for round in 0..20 {
        store.put("app/1", format!("{round}").as_bytes());
        done.recv().unwrap();
        let names: Vec<_> = read(&notes).iter().map(|note| note[..1].to_owned()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
    drop(listening);
}

/// A listener that removes the handle in `place` when it is first told something.
fn remover<B: Backend>(view: &View<B>, priority: i32, place: &Place<B>, notes: &Notes) -> Listening<B::Key> {
    let (place, notes) = (Arc::clone(place), Arc::clone(notes));
    view.listen(priority, move |_| {
        notes.lock().unwrap().push("remover".to_owned());
        drop(place.lock().unwrap().take());
    })
}

type Place<B> = Arc<Mutex<Option<Listening<<B as Backend>::Key>>>>;

fn follow_one<B: Backend>(
    store: &Weather<B>,
    follower: &mut slotguard::backend::Follower<'_, Weather<B>>,
    value: &[u8],
) {
    store.put("app/1", value);
    follower.follow(&Deadline::never()).unwrap();
}

pub fn a_listener_that_removes_itself_is_not_called_again<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    let (notes, place): (Notes, Place<Weather<B>>) = Default::default();
    *place.lock().unwrap() = Some(remover(&view, 1, &place, &notes));
    let _other = note(&view, 0, "other", &notes);
    follow_one(&store, &mut follower, b"1");
    follow_one(&store, &mut follower, b"2");
    assert_eq!(read(&notes), ["remover", "other app/1:->1", "other app/1:1>2"]);
    assert_eq!(view.listeners(), 1);
    assert_eq!(Arc::strong_count(&place), 1, "the listener is gone, with what it owned");
}

/// In the source of this case a listener that was removed during a notification was still called by it.
pub fn a_listener_that_another_one_removes_is_not_called_any_more<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    let (notes, place): (Notes, Place<Weather<B>>) = Default::default();
    *place.lock().unwrap() = Some(note(&view, 1, "victim", &notes));
    let _remover = remover(&view, 2, &place, &notes);
    let _other = note(&view, 0, "other", &notes);
    follow_one(&store, &mut follower, b"1");
    assert_eq!(read(&notes), ["remover", "other app/1:->1"], "its turn would have been the next");
    // And one that has had its turn.
    *place.lock().unwrap() = Some(note(&view, 3, "victim", &notes));
    follow_one(&store, &mut follower, b"2");
    follow_one(&store, &mut follower, b"3");
    assert_eq!(read(&notes), ["victim app/1:1>2", "remover", "other app/1:1>2", "remover", "other app/1:2>3"]);
}

pub fn a_removal_returns_when_the_listener_does_not_run<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let view = View::spawn(&store, "app/").unwrap();
    for round in 0..200u8 {
        let (entered, has_entered) = mpsc::channel();
        let (leave, may_leave) = mpsc::channel::<()>();
        let runs = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&runs);
        let listening = view.listen(0, move |_| {
            flag.store(true, SeqCst);
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
            flag.store(false, SeqCst);
        });
        store.put("app/1", &[round]);
        has_entered.recv().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                listening.remove();
                assert!(!runs.load(SeqCst), "it still runs");
            });
            // It is off the list at once, and only then do we let it end.
            while view.listeners() > 0 {
                thread::yield_now();
            }
            leave.send(()).unwrap();
        });
        store.put("app/1", b"more");
    }
}

pub fn a_listener_added_in_a_notification_is_told_from_the_next_batch_on<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    let view = Arc::new(view);
    let (notes, place): (Notes, Place<Weather<B>>) = Default::default();
    let adder = {
        let (view, notes, place) = (Arc::downgrade(&view), Arc::clone(&notes), Arc::clone(&place));
        view.upgrade().unwrap().listen(1, move |batch| {
            notes.lock().unwrap().push("adder".to_owned());
            let view = view.upgrade().unwrap();
            place.lock().unwrap().get_or_insert_with(|| {
                let added = note(&view, 0, "added", &notes);
                assert_eq!(added.since(), batch.revision, "what it is told begins after this batch");
                added
            });
        })
    };
    follow_one(&store, &mut follower, b"1");
    assert_eq!(read(&notes), ["adder"]);
    follow_one(&store, &mut follower, b"2");
    assert_eq!(read(&notes), ["adder", "added app/1:1>2"]);
    assert!(adder.since() < place.lock().unwrap().as_ref().unwrap().since());
}

pub fn a_listener_that_panics_is_removed_and_the_others_are_told<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    let notes = Notes::default();
    let _first = note(&view, 2, "first", &notes);
    let _panics = view.listen(1, |batch| panic!("no room for {}", told(batch)));
    let _last = note(&view, 0, "last", &notes);
    follow_one(&store, &mut follower, b"1");
    assert_eq!(read(&notes), ["first app/1:->1", "last app/1:->1"]);
    follow_one(&store, &mut follower, b"2");
    assert_eq!(read(&notes), ["first app/1:1>2", "last app/1:1>2"]);
    let health = view.health();
    assert_eq!((view.listeners(), health.panics), (2, 1));
    assert_eq!(health.last_panic.as_deref(), Some("no room for app/1:->1"));
}

pub fn a_slow_listener_keeps_neither_the_map_nor_a_subscriber_waiting<B: Backend + 'static>(make: impl Fn() -> B) {
    const BATCHES: u32 = 100;
    let store = weather(make());
    let view = View::spawn(&store, "app/").unwrap();
    // Its watch runs: where there is no history, one that begins later begins with a resync.
    assert!(view.wait_fresh(store.put("elsewhere", b""), &Deadline::never()).unwrap());
    let notes = Notes::default();
    let (entered, has_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    let _slow = view.listen(1, move |_| {
        entered.send(()).unwrap();
        may_leave.recv().unwrap();
    });
    // Declared after the listener, so gone before it: if this test fails, the listener can still be removed.
    let leave = leave;
    let (send, told_later) = mpsc::channel();
    let _after = view.listen(0, move |batch| send.send(told(batch)).unwrap());
    let subscription = view.subscribe();
    let idle = view.subscribe();
    store.put("app/1", b"0");
    has_entered.recv().unwrap();
    // It runs, and goes on running. Everybody else is told every batch.
    assert_eq!(told(&subscription.next(&Deadline::never()).unwrap().unwrap()), "app/1:->0");
    for batch in 1..=BATCHES {
        let put = store.put("app/1", batch.to_string().as_bytes());
        assert!(view.wait_fresh(put, &Deadline::never()).unwrap());
        let next = subscription.next(&Deadline::never()).unwrap().unwrap();
        assert_eq!(told(&next), format!("app/1:{}>{batch}", batch - 1));
        assert!(next.revision >= put);
    }
    drop(note(&view, 2, "nobody waits to register either", &notes));
    assert!(told_later.try_recv().is_err(), "its turn comes after the slow one's");
    leave.send(()).unwrap();
    assert_eq!(told_later.recv().unwrap(), format!("app/1:->{BATCHES}"), "all of it in one go");
    has_entered.recv().unwrap();
    leave.send(()).unwrap();
    assert_eq!(told(&idle.next(&Deadline::now()).unwrap().unwrap()), format!("app/1:->{BATCHES}"));
}

pub fn a_slow_subscriber_gets_one_difference<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    for name in ["app/a", "app/b", "app/c"] {
        store.put(name, b"1");
    }
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    let subscription = view.subscribe();
    assert_eq!(subscription.since(), view.fresh_at());
    assert!(subscription.next(&Deadline::now()).unwrap().is_none());
    let changes: [(&str, Option<&[u8]>); 8] = [
        ("app/a", Some(b"2")),
        ("app/b", None),
        ("app/d", Some(b"1")),
        ("app/a", Some(b"3")),
        ("app/b", Some(b"2")),
        ("app/e", Some(b"1")),
        ("app/c", None),
        ("app/d", Some(b"2")),
    ];
    for (name, value) in changes {
        match value {
            Some(value) => store.put(name, value),
            None => store.delete(name),
        };
        follower.follow(&Deadline::never()).unwrap();
    }
    store.lose_history();
    store.put("app/e", b"2");
    follower.follow(&Deadline::never()).unwrap();
    let batch = subscription.next(&Deadline::now()).unwrap().unwrap();
    assert_eq!(told(&batch), "resync app/a:1>3 app/b:1>2 app/c:1>- app/d:->2 app/e:->2");
    assert_eq!(batch.revision, view.fresh_at());
    for change in &batch.changes {
        assert_eq!(change.after, view.get(change.key.as_ref()), "what is last is what is");
    }
    assert!(subscription.next(&Deadline::now()).unwrap().is_none());
}

pub fn what_comes_and_goes_between_two_looks_is_not_told<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    let subscription = view.subscribe();
    follow_one(&store, &mut follower, b"1");
    store.delete("app/1");
    follower.follow(&Deadline::never()).unwrap();
    assert!(subscription.next(&Deadline::now()).unwrap().is_none());
    follow_one(&store, &mut follower, b"2");
    assert_eq!(told(&subscription.next(&Deadline::now()).unwrap().unwrap()), "app/1:->2");
}

pub fn a_backlog_holds_no_more_than_the_difference<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    let subscription = view.subscribe();
    let (mut value, mut weak) = (Vec::new(), Vec::new());
    for round in 0..1000u32 {
        value.clear();
        value.extend(round.to_le_bytes());
        store.put(&format!("app/{}", round % 8), &value);
        follower.follow(&Deadline::never()).unwrap();
        weak.push(Arc::downgrade(&view.get(&format!("app/{}", round % 8)).unwrap().value));
    }
    let held = weak.iter().filter(|value| value.strong_count() > 0).count();
    assert_eq!(held, 8, "one value a name: before, there was none");
    assert_eq!(subscription.next(&Deadline::now()).unwrap().unwrap().changes.len(), 8);
}

pub fn a_listener_may_drop_the_view<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let view = Arc::new(Mutex::new(Some(View::spawn(&store, "app/").unwrap())));
    let (send, dropped) = mpsc::channel();
    let mine = Arc::clone(&view);
    let listening = view.lock().unwrap().as_ref().unwrap().listen(0, move |_| {
        drop(mine.lock().unwrap().take());
        send.send(()).unwrap();
    });
    store.put("app/1", b"1");
    dropped.recv().unwrap();
    assert!(view.lock().unwrap().is_none());
    listening.remove();
}

pub fn a_kept_listener_outlives_its_handle<B: Backend + 'static>(make: impl Fn() -> B) {
    let store = weather(make());
    let (view, mut follower) = View::new(&*store, "app/").unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    view.listen(0, move |_| {
        counted.fetch_add(1, SeqCst);
    })
    .keep();
    follow_one(&store, &mut follower, b"1");
    assert_eq!(calls.load(SeqCst), 1);
    drop((view, follower));
    assert_eq!(Arc::strong_count(&calls), 1, "gone with the view");
}
