//! Watching a prefix: nothing missed, nothing repeated, no commit in halves, and the view is the store at each progress.

use std::sync::mpsc::channel;
use std::thread;

use super::asking::{Asking, fault};
use super::bank::{self, BANK};
use super::ledger::{Ledger, values};
use super::mirror::{Mirror, Told};
use super::subject::Subject;
use crate::backend::{Backend, Op, Watch};
use crate::{Cancel, Deadline, ErrorKind, Revision, Version};

/// From one past a range's revision: whatever happens after the range is told once, whatever happened before is not.
pub fn a_watch_from_one_past_a_range_misses_and_repeats_nothing(subject: &impl Subject) {
    let store = subject.client();
    store.set("p/before", b"");
    let (mut mirror, mut watch) = Mirror::open(&store, "p/");
    mirror.catch_up(&mut watch);
    assert_eq!(mirror.told, [], "nothing has changed since the range");
    let put = |name: &str| Told::Put(name.to_owned());
    let mut told = |store: &_, expected: &[Told]| {
        assert!(
            mirror.follow(&mut watch, &Deadline::now()).expect("a look"),
            "there is something to tell: {expected:?}"
        );
        assert_eq!(mirror.told, expected);
        assert_eq!(mirror.view, Asking::contents(store, "p/").0);
        assert!(!mirror.follow(&mut watch, &Deadline::now()).expect("a look"), "it is told once: {:?}", mirror.told);
    };
    store.set("p/b", b"1");
    store.set("p/a", b"1");
    told(&store, &[put("p/a"), put("p/b")]);
    store.set("p/b", b"2");
    store.set("p/b", b"3");
    told(&store, &[put("p/b")]);
    store.apply(&[Op::delete(&store.named("p/a")), Op::put(&store.named("p/c"), b"")]);
    told(&store, &[Told::Delete("p/a".to_owned()), put("p/c")]);
    store.apply(&[Op::delete(&store.named("p/before"))]);
    store.set("p/before", b"");
    told(&store, &[put("p/before")]);
}

/// The watch begins where the range ended although others change the store between the two, and at any later time.
pub fn what_happens_between_the_range_and_the_watch_is_told(subject: &impl Subject) {
    let store = subject.client();
    let key = store.named("p/a");
    for round in 0..30 {
        let (view, at) = store.contents("p/");
        let mut mirror = Mirror { view, at, ..Mirror::empty() };
        match round % 3 {
            0 => drop(store.apply(&[Op::put(&key, b"between")])),
            1 => drop(store.apply(&[Op::delete(&key)])),
            _ => drop(store.set("p/b", b"between")),
        }
        let mut watch = store.watch("p/", Revision(at.0 + 1)).expect("a watch");
        assert!(mirror.follow(&mut watch, &Deadline::now()).expect("a look"), "there is something to tell");
        assert_eq!(mirror.view, store.contents("p/").0);
    }
}

/// From revision 0 the first batch forgets everything and brings the whole view.
pub fn a_watch_from_zero_begins_with_the_whole_view(subject: &impl Subject) {
    let store = subject.client();
    for name in ["p/a", "p/b", "p/c", "q/a"] {
        store.set(name, name.as_bytes());
    }
    store.apply(&[Op::delete(&store.named("p/b"))]);
    let mut mirror = Mirror::empty();
    let mut watch = store.watch("p/", Revision(0)).expect("a watch from the beginning");
    assert!(mirror.follow(&mut watch, &Deadline::now()).expect("a look"));
    assert_eq!(mirror.told, [Told::Resync, Told::Put("p/a".to_owned()), Told::Put("p/c".to_owned())]);
    store.set("p/d", b"");
    mirror.follow_until(&mut watch, "p/d");
    assert_eq!((mirror.resyncs, mirror.view), (1, store.contents("p/").0));
}

/// From any revision of the past, with history or a resync, what was known then becomes what is.
pub fn a_watch_from_the_past_leads_to_the_present(subject: &impl Subject) {
    let store = subject.client();
    let mut pasts = Vec::new();
    for round in 0..40 {
        pasts.push(store.contents("p/"));
        let key = store.named(&format!("p/{}", round * 5 % 7));
        store.apply(&[if round % 3 == 2 { Op::delete(&key) } else { Op::put(&key, b"") }]);
    }
    for (view, at) in pasts {
        let mut mirror = Mirror { view, at, ..Mirror::empty() };
        let mut watch = store.watch("p/", Revision(at.0 + 1)).expect("a watch from the past");
        mirror.catch_up(&mut watch);
        assert_eq!(mirror.view, store.contents("p/").0, "from {at}");
    }
}

/// What happens elsewhere is not told.
pub fn a_watch_tells_of_its_prefix_only(subject: &impl Subject) {
    let store = subject.client();
    store.set("p/a", b"");
    let (mut mirror, mut watch) = Mirror::open(&store, "p/");
    for name in ["p", "q/a", "p0", "o/p/a"] {
        store.set(name, b"");
        store.apply(&[Op::delete(&store.named(name))]);
        assert!(!mirror.follow(&mut watch, &Deadline::now()).expect("a look"), "{name} is not of p/");
    }
    store.apply(&[Op::put(&store.named("p/a"), b"mine"), Op::put(&store.named("q/a"), b"not mine")]);
    mirror.follow(&mut watch, &Deadline::now()).expect("a look");
    assert_eq!(mirror.told, [Told::Put("p/a".to_owned())]);
    // The empty prefix is everybody's.
    let (mut all, mut watch) = Mirror::open(&store, "");
    store.set("z", b"");
    all.follow_until(&mut watch, "z");
}

/// An entry deleted and created anew is told as a put, with the `created` of its new incarnation.
pub fn a_new_incarnation_is_told_by_its_created(subject: &impl Subject) {
    let store = subject.client();
    let key = store.named("p/a");
    store.apply(&[Op::put(&key, b"same")]);
    let (mut mirror, mut watch) = Mirror::open(&store, "p/");
    let before = mirror.view["p/a"].meta;
    store.apply(&[Op::delete(&key)]);
    let created = store.apply(&[Op::put(&key, b"same")]);
    assert!(mirror.follow(&mut watch, &Deadline::now()).expect("a look"));
    let after = mirror.view["p/a"].meta;
    assert_eq!((after.created, after.version), (created, before.version));
    assert!(after.created > before.created);
}

/// A watcher that sleeps is woken by a put and by a delete, whoever made it.
pub fn a_sleeping_watcher_is_woken(subject: &impl Subject) {
    let (store, other) = (subject.client(), subject.client());
    let (mut mirror, mut watch) = Mirror::open(&store, "p/");
    for round in 0..60 {
        let writer = if round % 2 == 0 { &store } else { &other };
        let key = writer.named("p/a");
        thread::scope(|scope| {
            let watcher = scope.spawn(|| mirror.follow(&mut watch, &Deadline::never()).expect("a batch"));
            writer.apply(&[if round % 3 == 2 { Op::delete(&key) } else { Op::put(&key, b"") }]);
            assert!(watcher.join().expect("the watcher"));
        });
        assert_eq!(mirror.view, store.contents("p/").0);
    }
}

/// A cancelled look ends the look, not the watch: it goes on where it was.
pub fn a_cancelled_watch_goes_on_where_it_was(subject: &impl Subject) {
    let store = subject.client();
    let (mut mirror, mut watch) = Mirror::open(&store, "p/");
    let stop = Cancel::new();
    let deadline = Deadline::never().or_cancelled(&stop);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| mirror.follow(&mut watch, &deadline));
        stop.cancel();
        assert_eq!(fault(watcher.join().expect("the watcher")), ErrorKind::Cancelled);
    });
    store.set("p/a", b"");
    assert!(mirror.follow(&mut watch, &Deadline::never()).expect("a batch"));
    assert_eq!(mirror.told, [Told::Put("p/a".to_owned())]);
    // Dropped in the middle of things, it takes nothing along.
    drop(watch);
    store.set("p/b", b"");
    assert_eq!(store.contents("p/").0.len(), 2);
}

/// Runs transfers beside three watchers, each of which hands on every view it had.
fn watch_transfers(subject: &impl Subject, mut seen: impl FnMut(&Mirror)) -> Ledger {
    const END: &str = "bank/the end";
    let ledger = Ledger::default();
    let store = subject.client();
    bank::open(&store, &ledger);
    let writers = [subject.client(), subject.client()];
    let watchers = [subject.client(), subject.client(), subject.client()];
    let (hand_on, views) = channel();
    thread::scope(|scope| {
        for watcher in &watchers {
            let hand_on = hand_on.clone();
            let (mut mirror, mut watch) = Mirror::open(watcher, BANK);
            scope.spawn(move || {
                while !mirror.view.contains_key(END) {
                    hand_on.send(mirror.clone()).expect("a listener");
                    assert!(mirror.follow(&mut watch, &Deadline::never()).expect("a batch"));
                }
                mirror.catch_up(&mut watch);
                mirror.view.remove(END).expect("the end");
                hand_on.send(mirror).expect("a listener");
            });
        }
        drop(hand_on);
        scope.spawn(|| {
            let ledger = &ledger;
            let work = |(writer, seed)| scope.spawn(move || bank::transfer(writer, ledger, 1_500, seed));
            let running: Vec<_> = writers.iter().zip(7..).map(work).collect();
            let failed = running.into_iter().map(|writer| writer.join()).filter(Result::is_err).count();
            // Told also if a writer has failed: the watchers must end.
            store.set(END, b"");
            assert_eq!(failed, 0, "a writer failed");
        });
        views.into_iter().for_each(|mirror| seen(&mirror));
    });
    store.apply(&[Op::delete(&store.named(END))]);
    bank::check_total(&store.contents(BANK).0, Revision(u64::MAX));
    ledger
}

/// Money that moves in one commit is never told to have left without having arrived.
pub fn one_commit_is_never_split_over_two_batches(subject: &impl Subject) {
    watch_transfers(subject, |mirror| bank::check_total(&mirror.view, mirror.at));
}

/// Replaying all that was acknowledged up to a batch's progress gives the view after that batch.
pub fn the_view_after_each_batch_is_the_store_at_its_progress(subject: &impl Subject) {
    let mut sightings = Vec::new();
    // The last view of each watcher is without the end mark, which is not in the ledger either.
    let ledger = watch_transfers(subject, |mirror| sightings.push((mirror.at, values(&mirror.view))));
    ledger.check(sightings);
}

/// However fast entries change, each one's states come in order and its last one comes.
pub fn the_last_state_of_every_key_arrives_and_each_in_order(subject: &impl Subject) {
    const KEYS: usize = 40;
    const PUTS: u64 = 50;
    let writers: Vec<_> = (0..4).map(|_| subject.client()).collect();
    let store = subject.client();
    let (mut mirror, mut watch) = Mirror::open(&store, "w/");
    thread::scope(|scope| {
        for (number, writer) in writers.iter().enumerate() {
            scope.spawn(move || {
                let name = |key| format!("w/{:02}", key * 4 + number);
                let keys: Vec<_> = (0..KEYS / 4).map(|key| writer.named(&name(key))).collect();
                for put in 1..=PUTS {
                    for key in &keys {
                        writer.apply(&[Op::put(key, &put.to_le_bytes())]);
                    }
                }
            });
        }
        // The order is looked at by the mirror. This ends when the last of each has come, or never.
        let last = |mirror: &Mirror| mirror.view.values().filter(|state| state.meta.version == Version(PUTS)).count();
        while last(&mirror) < KEYS {
            assert!(mirror.follow(&mut watch, &Deadline::never()).expect("a batch"));
        }
    });
    assert_eq!(mirror.view, store.contents("w/").0);
    assert!(mirror.view.values().all(|state| state.value == PUTS.to_le_bytes()));
}

/// A watcher that sits in its visit delays neither writers nor other watchers, and catches up when it goes on.
pub fn a_slow_watcher_delays_nobody(subject: &impl Subject) {
    let (store, slow, quick) = (subject.client(), subject.client(), subject.client());
    store.set("p/a", b"0");
    let (arrived, arrival) = channel();
    let (release, released) = channel::<()>();
    let mut sleeper = slow.watch("p/", Revision(0)).expect("a watch");
    let (mut mirror, mut watch) = Mirror::open(&quick, "p/");
    thread::scope(|scope| {
        let slow_one = scope.spawn(move || {
            let mut first = true;
            sleeper
                .next(&Deadline::never(), &mut |_| {
                    if std::mem::take(&mut first) {
                        arrived.send(()).expect("somebody waits for this");
                        released.recv().expect("a release");
                    }
                })
                .expect("a batch")
                .expect("this wait has no end but a batch");
            sleeper
        });
        arrival.recv().expect("the slow watcher is in its visit");
        for number in 0..500 {
            store.set(&format!("p/{}", number % 10), b"");
            if number % 50 == 0 {
                assert!(mirror.follow(&mut watch, &Deadline::never()).expect("a batch"));
            }
        }
        store.set("p/end", b"");
        mirror.follow_until(&mut watch, "p/end");
        assert_eq!(mirror.view, store.contents("p/").0);

        release.send(()).expect("the slow watcher is still there");
        let mut sleeper = slow_one.join().expect("the slow watcher");
        let mut late = Mirror::empty();
        late.view.insert("p/a".to_owned(), store.state(&store.named("p/a")).expect("not changed since"));
        late.follow_until(&mut sleeper, "p/end");
        assert_eq!(late.view, mirror.view);
    });
}

/// Many watchers, of many prefixes, some of which are dropped meanwhile, each learn theirs.
pub fn watchers_come_and_go_beside_each_other(subject: &impl Subject) {
    let (store, other) = (subject.client(), subject.client());
    let mut running: Vec<_> =
        (0..12).map(|number| (number, Mirror::open(&other, &format!("p{}/", number % 4)))).collect();
    for round in 0..40_usize {
        store.set(&format!("p{}/{}", round % 4, round % 3), &round.to_le_bytes());
        if round % 5 == 4 {
            drop(running.remove(round % running.len()));
            running.push((round, Mirror::open(&other, &format!("p{}/", round % 4))));
        }
        for (number, (mirror, watch)) in &mut running {
            mirror.catch_up(watch);
            let prefix = format!("p{}/", *number % 4);
            assert_eq!(mirror.view, store.contents(&prefix).0);
        }
    }
}
