//! Many writers, broken links, lost histories, quick and slow listeners: whoever adds up what it is told has the store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;

use harness::random::Random;
use slotguard::backend::{Backend, Batch, Entry, Op, View};
use slotguard::{Deadline, Revision};

use crate::weather::{committed, weather};

/// What one listener has been told, added up.
#[derive(Default)]
struct Sum {
    at: Revision,
    map: BTreeMap<String, Entry>,
    batches: u64,
}

/// The storm lasts until so many batches have been told.
const BATCHES: u32 = if cfg!(debug_assertions) { 1000 } else { 10_000 };
const PAIRS: u64 = 8;
const END: &str = "app/end";

impl Sum {
    fn add<K: AsRef<str>>(&mut self, batch: &Batch<K>) {
        assert!(batch.revision > self.at, "{} after {}", batch.revision, self.at);
        self.at = batch.revision;
        assert!(!batch.changes.is_empty());
        assert!(batch.changes.is_sorted_by(|a, b| a.key.as_ref() < b.key.as_ref()));
        for change in &batch.changes {
            let name = change.key.as_ref();
            assert!(name.starts_with("app/"));
            let before = match &change.after {
                Some(entry) => self.map.insert(name.to_owned(), entry.clone()),
                None => self.map.remove(name),
            };
            assert_eq!(before, change.before, "{name} at {}", batch.revision);
            if let (Some(before), Some(after)) = (&change.before, &change.after) {
                assert!(before.meta.modified < after.meta.modified, "{name} went back");
            }
        }
        for pair in 0..PAIRS {
            let value = |side| self.map.get(&format!("app/{pair}{side}")).map(|entry| &entry.value);
            assert_eq!(value("l"), value("r"), "a commit was split at {}", batch.revision);
        }
        self.batches += 1;
    }

    fn has_ended(&self) -> bool {
        self.map.contains_key(END)
    }
}

/// Ends the storm, also when who counts the batches has panicked.
struct Calm<'a>(&'a AtomicU32);

impl Drop for Calm<'_> {
    fn drop(&mut self) {
        self.0.store(BATCHES, SeqCst);
    }
}

pub fn b19_nothing_is_lost_doubled_or_out_of_order_in_a_storm<B: Backend + 'static>(make: impl Fn() -> B) {
    const WRITERS: u64 = 2;
    let store = weather(make());
    let view = View::spawn(&store, "app/").unwrap();
    let (send, sums) = mpsc::channel();
    let listening: Vec<_> = (0..3)
        .map(|priority| {
            let (mut sum, send) = (Sum::default(), send.clone());
            view.listen(priority, move |batch| {
                sum.add(batch);
                if sum.has_ended() {
                    send.send(std::mem::take(&mut sum)).unwrap();
                }
            })
        })
        .collect();
    // From here on only listeners have it: if one panics, nobody waits for its answer.
    drop(send);
    let (quick, slow) = (view.subscribe(), view.subscribe());
    let (store, batches) = (&store, &AtomicU32::new(0));

    let (view, quick, slow) = thread::scope(|scope| {
        // Dropped if this thread panics: nobody waits for ever then.
        let view = view;
        let quick = scope.spawn(move || {
            let _calm = Calm(batches);
            let mut sum = Sum::default();
            while !sum.has_ended() {
                sum.add(&quick.next(&Deadline::never()).unwrap().unwrap());
                match batches.fetch_add(1, SeqCst) % 16 {
                    3 => store.lose_history(),
                    7 => store.torn.store(true, SeqCst),
                    11 => store.lost_looks.store(1, SeqCst),
                    _ => {}
                }
            }
            sum
        });
        // Looks once in a hundred batches.
        let slow = scope.spawn(move || {
            let mut sum = Sum::default();
            for look in 0.. {
                while batches.load(SeqCst) < BATCHES.min(look * 100) {
                    thread::yield_now();
                }
                sum.add(&slow.next(&Deadline::never()).unwrap().unwrap());
                if sum.has_ended() {
                    break;
                }
            }
            sum
        });
        let writers: Vec<_> = (1..=WRITERS)
            .map(|seed| {
                scope.spawn(move || {
                    let mut random = Random::from_seed(seed);
                    while batches.load(SeqCst) < BATCHES {
                        let pair = random.below(PAIRS);
                        let keys = ["l", "r"].map(|side| store.key(&format!("app/{pair}{side}")).unwrap());
                        let value = random.next().to_le_bytes();
                        if random.one_in(4) {
                            committed(store.commit(&[Op::delete(&keys[0]), Op::delete(&keys[1])]));
                        } else {
                            committed(store.commit(&[Op::put(&keys[0], &value), Op::put(&keys[1], &value)]));
                        }
                        if random.one_in(64) {
                            store.put("apple", &value);
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        let end = store.put(END, b"");
        assert!(view.wait_fresh(end, &Deadline::never()).unwrap());
        (view, quick.join().unwrap(), slow.join().unwrap())
    });

    let mut all = BTreeMap::new();
    store
        .range("app/", &mut |key, value, meta| {
            all.insert(key.as_ref().to_owned(), Entry { value: value.into(), meta });
        })
        .unwrap();
    let told: Vec<Sum> = sums.iter().take(listening.len()).collect();
    assert_eq!((told.len(), view.health().panics), (listening.len(), 0));
    for sum in told.iter().chain([&quick, &slow]) {
        assert_eq!(sum.map, all);
    }
    assert!(slow.batches < quick.batches, "{} and {} batches", slow.batches, quick.batches);
    let shown: BTreeMap<_, _> =
        view.snapshot().iter().map(|(key, entry)| (key.as_ref().to_owned(), entry.clone())).collect();
    assert_eq!(shown, all);
}
