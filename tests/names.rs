//! Named entries in a segment: what its directory promises beyond the contract of every backend.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

#[path = "support/memory.rs"]
mod memory;

use harness::random::Random;
use slotguard::backend::{Backend, Event, Op, SharedMemory, Watch, When};
use slotguard::{Deadline, Error, Outcome, Resource, Revision, Segment};

/// How many distinct keys go through a segment, and how many absent names are looked up.
const MANY: u32 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

fn store(keys: u32) -> SharedMemory {
    SharedMemory::new(Segment::builder().keys(keys).lanes(16).payload(64).anonymous().unwrap()).unwrap()
}

fn put(store: &SharedMemory, name: &str, value: &[u8]) -> slotguard::Result<Outcome> {
    store.commit(&[Op::put(&store.key(name)?, value).if_absent()])
}

fn create(store: &SharedMemory, name: &str, value: &[u8]) {
    assert!(matches!(put(store, name, value).unwrap(), Outcome::Committed(_)), "{name}");
}

fn delete(store: &SharedMemory, name: &str) {
    let done = store.commit(&[Op::delete(&store.key(name).unwrap()).if_exists()]).unwrap();
    assert!(matches!(done, Outcome::Committed(_)), "{name}");
}

fn contents(store: &SharedMemory, prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut last = String::new();
    store
        .range(prefix, &mut |key, value, _| {
            assert!(key.as_ref() > last.as_str(), "in the order of names, each once");
            last = key.as_ref().to_owned();
            found.insert(last.clone(), value.to_vec());
        })
        .unwrap();
    found
}

fn nothing_is_missing(store: &SharedMemory) {
    let audit = store.segment().audit().unwrap();
    assert_eq!((audit.missing, audit.doubled, audit.pending), (0, 0, 0), "{audit:?}");
}

/// The least number of blocks that the directory and its entries take.
fn blocks_in_use(store: &SharedMemory) -> u64 {
    store.segment().audit().unwrap().under_heads
}

#[test]
fn a_million_keys_go_through_a_segment_of_ten_thousand() {
    let store = store(10_000);
    let name = |i: u32| format!("job/{:08x}", i.wrapping_mul(0x9e37_79b9));
    let alive = 8_000;
    for i in 0..MANY {
        assert!(matches!(put(&store, &name(i), &i.to_le_bytes()).unwrap(), Outcome::Committed(_)));
        if i >= alive {
            delete(&store, &name(i - alive));
        }
    }
    let left = contents(&store, "");
    let expected: BTreeMap<_, _> = (MANY - alive..MANY).map(|i| (name(i), i.to_le_bytes().to_vec())).collect();
    assert_eq!(left, expected);
    expected.keys().for_each(|name| delete(&store, name));
    assert_eq!(contents(&store, "").len(), 0);
    nothing_is_missing(&store);
    assert!(blocks_in_use(&store) <= 2, "a tree of no names has shrunk to its root: {}", blocks_in_use(&store));
}

#[test]
fn names_in_order_leave_nothing_behind_either() {
    let store = store(1_000);
    for i in 0..MANY / 20 {
        put(&store, &format!("log/{i:012}"), b"line").unwrap();
        if i >= 500 {
            delete(&store, &format!("log/{:012}", i - 500));
        }
    }
    assert_eq!(contents(&store, "log/").len(), 500);
    nothing_is_missing(&store);
    assert!(blocks_in_use(&store) < 500 + 40, "{} blocks for 500 entries", blocks_in_use(&store));
}

#[test]
fn a_million_lookups_of_absent_names_leave_the_segment_as_it_is() {
    let folder = harness::isolated::folder();
    let path = folder.path().join("segment");
    let segment = Segment::builder().keys(2_000).lanes(4).payload(64).create(&path).unwrap();
    let store = SharedMemory::new(segment).unwrap();
    for i in 0..1_000 {
        put(&store, &format!("k/{i}"), b"value").unwrap();
    }
    let bytes = memory::Bytes::of(&path);
    let before = bytes.but_rows();
    let mut value = Vec::new();
    for i in 0..MANY {
        let key = store.key(&format!("k/{i}/absent")).unwrap();
        assert!(store.read(&key, &mut value).unwrap().0.is_none());
    }
    assert!(bytes.but_rows() == before, "not a byte has changed");
}

#[test]
fn every_key_there_is_room_for_can_be_created_and_then_the_segment_is_full() {
    const KEYS: u32 = 500;
    let store = store(KEYS);
    let lease = store.grant(Duration::from_secs(600)).unwrap();
    for i in 0..KEYS - 1 {
        assert!(matches!(put(&store, &format!("k/{i}"), b"value").unwrap(), Outcome::Committed(_)), "{i}");
    }
    let error = put(&store, "one too many", b"value").unwrap_err();
    assert!(matches!(error, Error::Full { what: Resource::Keys, limit: 500, .. }), "{error}");
    assert!(error.to_string().contains("all 500 keys are in use"), "{error}");
    let error = store.grant(Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::Full { what: Resource::Keys, .. }), "a lease is one of them: {error}");
    assert_eq!(contents(&store, "").len(), KEYS as usize - 1, "nothing has changed");
    delete(&store, "k/77");
    put(&store, "one too many", b"value").unwrap();
    store.revoke(lease).unwrap();
    put(&store, "in place of the lease", b"value").unwrap();
    assert!(matches!(put(&store, "again", b"value").unwrap_err(), Error::Full { what: Resource::Keys, .. }));
    nothing_is_missing(&store);
}

/// A handle remembers which record its entry is in. Kept over the removal of its segment and used on the next one, it once
/// read and wrote whatever entry had got the same record there.
#[test]
fn a_key_of_another_segment_means_its_name() {
    let (one, two) = (store(10), store(10));
    for (store, names) in [(&one, ["a", "b"]), (&two, ["b", "a"])] {
        names.iter().for_each(|name| create(store, name, name.as_bytes()));
    }
    let (a, mut value) = (one.key("a").unwrap(), Vec::new());
    for store in [&one, &two, &one] {
        store.read(&a, &mut value).unwrap();
        assert_eq!(value, b"a");
    }
    two.commit(&[Op::put(&a, b"changed")]).unwrap();
    assert_eq!((&contents(&two, "b")["b"][..], &contents(&two, "a")["a"][..]), (&b"b"[..], &b"changed"[..]));
    assert_eq!(contents(&one, "a")["a"], b"a");
}

#[test]
fn hidden_names_are_in_no_prefix() {
    let store = store(10);
    let lease = store.grant(Duration::from_secs(600)).unwrap();
    create(&store, "a", b"value");
    for prefix in ["\0", "\0l", ""] {
        let names: Vec<_> = contents(&store, prefix).into_keys().collect();
        assert_eq!(names.len(), usize::from(prefix.is_empty()), "{prefix:?}");
        let mut watch = store.watch(prefix, Revision(0)).unwrap();
        let mut puts = 0;
        watch.next(&Deadline::now(), &mut |event| puts += usize::from(matches!(event, Event::Put { .. }))).unwrap();
        assert_eq!(puts, names.len(), "{prefix:?}");
    }
    store.revoke(lease).unwrap();
}

#[test]
fn a_condition_that_is_false_comes_before_a_store_that_is_full() {
    let store = store(2);
    create(&store, "a", b"value");
    create(&store, "b", b"value");
    let (a, c) = (store.key("a").unwrap(), store.key("c").unwrap());
    let full = store.commit(&[Op::put(&c, b"value")]).unwrap_err();
    assert!(matches!(full, Error::Full { .. }), "{full}");
    for ops in
        [[Op::put(&c, b"value"), Op::check(&a, When::Absent)], [Op::check(&a, When::Absent), Op::put(&c, b"value")]]
    {
        assert_eq!(store.commit(&ops).unwrap(), Outcome::Conflict);
    }
}

/// A watch that was woken before its slice ended began another whole slice, so under steady traffic it never looked for the
/// dead: their entries stayed until their leases ran out.
#[test]
fn a_watch_that_is_woken_again_and_again_still_notices_a_death() {
    let segment = Segment::builder().keys(20).lanes(16).payload(64).anonymous().unwrap();
    let store = SharedMemory::new(segment.reopen().unwrap()).unwrap();
    let dies = SharedMemory::new(segment.reopen().unwrap()).unwrap();
    let lease = dies.grant(Duration::from_secs(10 * 365 * 24 * 3600)).unwrap();
    dies.commit(&[Op::put_leased(&dies.key("k/member").unwrap(), b"leased", lease)]).unwrap();
    let mut watch = store.watch("k/", Revision(0)).unwrap();
    watch.next(&Deadline::now(), &mut |_| {}).unwrap();
    drop(dies);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let busy = SharedMemory::new(segment.clone()).unwrap();
            while !done.load(Relaxed) {
                busy.commit(&[Op::put(&busy.key("k/busy").unwrap(), b"value")]).unwrap();
                thread::sleep(Duration::from_millis(5));
            }
        });
        let _over = Over(&done);
        let mut gone = false;
        while !gone {
            watch.next(&Deadline::never(), &mut |event| gone |= matches!(event, Event::Delete { .. })).unwrap();
        }
    });
    assert_eq!(contents(&store, "k/member").len(), 0);
}

#[test]
fn what_the_dead_left_makes_room_before_anybody_is_told_that_there_is_none() {
    let segment = Segment::builder().keys(20).lanes(16).payload(64).anonymous().unwrap();
    let dies = SharedMemory::new(segment.reopen().unwrap()).unwrap();
    let lease = dies.grant(Duration::from_secs(600)).unwrap();
    for i in 0..19 {
        let key = dies.key(&format!("theirs/{i}")).unwrap();
        dies.commit(&[Op::put_leased(&key, b"leased", lease)]).unwrap();
    }
    let store = SharedMemory::new(segment).unwrap();
    assert!(matches!(put(&store, "ours", b"value").unwrap_err(), Error::Full { what: Resource::Keys, .. }));
    // The last handle goes, and with it the lock that says that the attachment lives.
    drop(dies);
    (0..20).for_each(|i| create(&store, &format!("ours/{i}"), b"value"));
    assert_eq!(contents(&store, "").len(), 20);
}

#[test]
fn when_the_directory_is_full_of_long_names_deletions_still_work() {
    let folder = harness::isolated::folder();
    let path = folder.path().join("segment");
    let segment = Segment::builder().keys(4_000).lanes(16).payload(64).create(&path).unwrap();
    let store = SharedMemory::new(segment).unwrap();
    let name = |i: u32| format!("{i:08}{}", "n".repeat(247));
    let full = (0..4_000).find_map(|i| put(&store, &name(i), b"value").err().map(|error| (i, error)));
    let (count, error) = full.expect("a directory made for names of 32 bytes");
    assert!(matches!(error, Error::Full { what: Resource::Directory, .. }), "{error}");
    assert!(error.to_string().contains("shorten their names"), "{error}");
    assert!(count > 400, "only {count} names of 255 bytes fit");
    let bytes = memory::Bytes::of(&path);
    let nodes = &bytes.geometry.nodes;
    let state = |block| memory::word::BlockState(bytes.word(bytes.block(block))).kind();
    let blocks = nodes.first..nodes.first + nodes.blocks;
    let left = blocks.filter(|block| state(*block) == memory::word::BlockStateKind::Free).count();
    assert!(left >= 64, "{left} nodes are left for deletions");
    assert_eq!(contents(&store, "").len(), count as usize);
    (0..count).for_each(|i| delete(&store, &name(i)));
    assert_eq!(contents(&store, "").len(), 0);
    nothing_is_missing(&store);
    // And it is as good as new.
    let again = (0..count).take_while(|i| put(&store, &name(*i), b"value").is_ok()).count();
    assert_eq!(again, count as usize);
}

#[test]
fn names_as_long_as_they_may_be_all_in_one_commit_split_leaves_as_often_as_it_takes() {
    let store =
        SharedMemory::new(Segment::builder().keys(400).name_bytes(255).lanes(4).payload(64).anonymous().unwrap())
            .unwrap();
    for round in 0..10u8 {
        let keys: Vec<_> = (0..32).map(|i| store.key(&format!("{i:02}{round}{}", "x".repeat(252))).unwrap()).collect();
        let value = [round];
        let ops: Vec<_> = keys.iter().map(|key| Op::put(key, &value).if_absent()).collect();
        assert!(matches!(store.commit(&ops).unwrap(), Outcome::Committed(_)), "{round}");
    }
    assert_eq!(contents(&store, "").len(), 320);
    nothing_is_missing(&store);
}

#[test]
fn values_of_nothing_and_of_sixty_four_kibibytes_share_a_segment_that_few_pay_for() {
    const KEYS: u32 = 2_000;
    let segment = Segment::builder().keys(KEYS).lanes(16).anonymous().unwrap();
    let a_key = segment.size() / u64::from(KEYS);
    assert!(a_key < 2_000, "{a_key} bytes a key, not 64 KiB");
    let store = SharedMemory::new(segment).unwrap();
    let lengths = [0, 1, 63, 64, 65, 1_024, 8_192, 65_535, 65_536];
    for (i, length) in lengths.into_iter().enumerate() {
        put(&store, &format!("v/{i}"), &vec![i as u8; length]).unwrap();
    }
    for (i, length) in lengths.into_iter().enumerate() {
        assert_eq!(contents(&store, &format!("v/{i}"))[&format!("v/{i}")], vec![i as u8; length]);
    }
    let error = put(&store, "v/too large", &vec![0; 65_537]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { length: 65_537, limit: 65_536 }), "{error}");
}

#[test]
fn a_key_costs_what_is_stated() {
    // Head, block header and payload, and its part of the directory for names of 32 bytes, as SegmentBuilder::keys says.
    let size = |keys| Segment::builder().keys(keys).lanes(16).payload(64).size().unwrap();
    let a_key = (size(200_000) - size(100_000)) as f64 / 100_000.0;
    let stated = 128.0 + 128.0 + 64.0 + 3.0 * (32.0 + 16.0) / 4096.0 * (4096.0 + 128.0 + 128.0);
    assert!((a_key - stated).abs() < 8.0, "{a_key} bytes a key, {stated} stated");
    assert!(a_key < 2.0 * 64.0 + 256.0 + 100.0, "{a_key}");
}

/// Lets the others know that it is over, also when it ends in a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_range_completes_beside_writers_that_do_nothing_but_change_two_of_its_keys() {
    const KEYS: usize = 2_000;
    let store = store(KEYS as u32 + 10);
    (0..KEYS).for_each(|i| create(&store, &format!("k/{i:05}"), &[0; 8]));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for hot in ["k/00000", "k/01999"] {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                let key = store.key(hot).unwrap();
                while !done.load(Relaxed) {
                    store.commit(&[Op::put(&key, b"changed!")]).unwrap();
                }
            });
        }
        let _over = Over(&done);
        for _ in 0..if cfg!(debug_assertions) { 10 } else { 100 } {
            assert_eq!(contents(&store, "k/").len(), KEYS);
        }
    });
}

#[test]
fn what_is_there_is_found_while_leaves_split_and_merge_around_it() {
    let store = store(3_000);
    let stays = |i: u32| format!("{:02}/stays", i);
    (0..40).for_each(|i| create(&store, &stays(i), b"here"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&done);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (store, done) = (&store, &done);
                scope.spawn(move || {
                    let (mut value, mut looked) = (Vec::new(), 0);
                    while !done.load(Relaxed) || looked == 0 {
                        for i in 0..40 {
                            let key = store.key(&stays(i)).unwrap();
                            assert!(store.read(&key, &mut value).unwrap().0.is_some(), "{}", stays(i));
                        }
                        looked += 1;
                    }
                })
            })
            .collect();
        for round in 0..if cfg!(debug_assertions) { 2 } else { 10 } {
            let names: Vec<_> =
                (0..2_000u32).map(|i| format!("{:02}/{round}/{}", i % 40, "n".repeat(i as usize % 90 + 60))).collect();
            let names: std::collections::BTreeSet<_> = names.into_iter().collect();
            names.iter().for_each(|name| create(&store, name, b"comes and goes"));
            names.iter().for_each(|name| delete(&store, name));
        }
        drop(_over);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert_eq!(contents(&store, "").len(), 40);
    nothing_is_missing(&store);
}

#[test]
fn of_two_commits_that_each_want_the_others_key_absent_one_is_refused() {
    let store = store(100);
    let (a, b) = (store.key("a").unwrap(), store.key("b").unwrap());
    // In different leaves: what is absent from one is not seen by a change of the other.
    (0..40).for_each(|i| create(&store, &format!("a/{i:02}/{}", "n".repeat(200)), b""));
    let barrier = std::sync::Barrier::new(2);
    let rounds = if cfg!(debug_assertions) { 500 } else { 5_000 };
    thread::scope(|scope| {
        let workers: Vec<_> = [(&a, &b), (&b, &a)]
            .into_iter()
            .map(|(mine, other)| {
                let (store, barrier) = (&store, &barrier);
                scope.spawn(move || {
                    let mut won = 0;
                    for _ in 0..rounds {
                        barrier.wait();
                        let ops = [Op::put(mine, b"x").if_absent(), Op::check(other, When::Absent)];
                        let here = store.commit(&ops).unwrap() != Outcome::Conflict;
                        barrier.wait();
                        if here {
                            store.commit(&[Op::delete(mine)]).unwrap();
                            won += 1;
                        }
                    }
                    won
                })
            })
            .collect();
        let won: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(won, rounds, "one of two, every time");
    });
}

#[test]
fn after_a_revocation_nothing_that_was_put_under_the_lease_is_left_however_late_it_was_put() {
    let store = store(200);
    for round in 0..if cfg!(debug_assertions) { 100 } else { 1_000 } {
        let lease = store.grant(Duration::from_secs(600)).unwrap();
        thread::scope(|scope| {
            let putter = scope.spawn(|| {
                (0..)
                    .take_while(|i| {
                        let key = store.key(&format!("{}", (i + round) % 100)).unwrap();
                        match store.commit(&[Op::put_leased(&key, b"leased", lease)]) {
                            Ok(_) => true,
                            Err(Error::LeaseExpired { .. }) => false,
                            Err(other) => panic!("{other}"),
                        }
                    })
                    .count()
            });
            if round % 2 == 0 {
                thread::yield_now();
            }
            store.revoke(lease).unwrap();
            putter.join().unwrap();
        });
        // By the directory itself: whoever looks at an entry of the dead removes it.
        assert!(blocks_in_use(&store) <= 1, "round {round}: {} blocks", blocks_in_use(&store));
    }
    nothing_is_missing(&store);
}

#[test]
fn a_range_of_ten_thousand_keys_completes_beside_two_writers_at_work() {
    const KEYS: u64 = 10_000;
    const EACH: u64 = 1_000;
    let store = store(KEYS as u32 + 10);
    let names: Vec<_> = (0..KEYS).map(|i| format!("k/{i:05}")).collect();
    for name in &names {
        put(&store, name, &EACH.to_le_bytes()).unwrap();
    }
    let (done, moved) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for worker in 0..2u64 {
            let (store, names, done, moved) = (&store, &names, &done, &moved);
            scope.spawn(move || {
                let keys: Vec<_> = names.iter().map(|name| store.key(name).unwrap()).collect();
                let (mut left, mut right) = (Vec::new(), Vec::new());
                let mut random = Random::from_seed(worker);
                while !done.load(Relaxed) {
                    let (from, to) = (random.below(KEYS), random.below(KEYS));
                    if from == to {
                        continue;
                    }
                    let (from, to) = (&keys[from as usize], &keys[to as usize]);
                    let left_meta = store.read(from, &mut left).unwrap().0.unwrap();
                    let right_meta = store.read(to, &mut right).unwrap().0.unwrap();
                    let amount = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
                    let less = amount(&left).wrapping_sub(1).to_le_bytes();
                    let more = amount(&right).wrapping_add(1).to_le_bytes();
                    let ops = [
                        Op::put(from, &less).if_modified_at(left_meta.modified),
                        Op::put(to, &more).if_modified_at(right_meta.modified),
                    ];
                    if let Outcome::Committed(_) = store.commit(&ops).unwrap() {
                        moved.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        let _over = Over(&done);
        for _ in 0..if cfg!(debug_assertions) { 10 } else { 100 } {
            let (mut sum, mut count) = (0u64, 0);
            store
                .range("k/", &mut |_, value, _| {
                    sum = sum.wrapping_add(u64::from_le_bytes(value.try_into().unwrap()));
                    count += 1;
                })
                .unwrap();
            assert_eq!((sum, count), (EACH * KEYS, KEYS), "one moment");
        }
    });
    assert!(moved.load(Relaxed) > 0);
}

#[test]
fn a_watch_beside_creations_and_deletions_shows_each_moment_whole() {
    let store = store(3_000);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (writer, done) = (&store, &done);
        // At every moment there is either pair/…/a and pair/…/b or neither, with the same value.
        scope.spawn(move || {
            for i in 0..if cfg!(debug_assertions) { 3_000u32 } else { 30_000 } {
                let (a, b) = (format!("pair/{:03}/a", i * 7 % 500), format!("pair/{:03}/b", i * 7 % 500));
                let (a, b) = (writer.key(&a).unwrap(), writer.key(&b).unwrap());
                let value = i.to_le_bytes();
                let ops = match i % 3 {
                    2 => [Op::delete(&a), Op::delete(&b)],
                    _ => [Op::put(&a, &value), Op::put(&b, &value)],
                };
                writer.commit(&ops).unwrap();
            }
            done.store(true, Relaxed);
        });
        let mut watch = store.watch("pair/", Revision(0)).unwrap();
        let mut view: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut last = None;
        loop {
            let over = done.load(Relaxed);
            let batch = watch.next(&Deadline::now(), &mut |event| match event {
                Event::Put { key, value, .. } => {
                    view.insert(key.as_ref().to_owned(), value.to_vec());
                }
                Event::Delete { key } => assert!(view.remove(key.as_ref()).is_some(), "{key:?} was not there"),
                Event::Resync => view.clear(),
                Event::Progress(revision) => {
                    assert!(Some(revision) > last, "{revision} after {last:?}");
                    last = Some(revision);
                }
            });
            if batch.unwrap().is_some() {
                for (name, value) in &view {
                    let twin = name.replace("/a", "/b");
                    assert_eq!(view.get(&twin), Some(value), "{name} without its twin at {last:?}");
                }
                assert_eq!(view.len() % 2, 0);
            } else if over {
                break;
            }
        }
        assert_eq!(view, contents(&store, "pair/"));
    });
    nothing_is_missing(&store);
}

#[test]
fn a_segment_without_keys_says_how_to_build_one_with() {
    let error = SharedMemory::new(Segment::builder().records(4).anonymous().unwrap()).unwrap_err();
    assert!(error.to_string().contains("SegmentBuilder::keys"), "{error}");
    let error = Segment::builder().keys(10).payload(31).anonymous().unwrap_err();
    assert!(error.to_string().contains("at least 32 bytes for its leases; its smallest has 31"), "{error}");
    let error = Segment::builder().keys(10).name_bytes(256).anonymous().unwrap_err();
    assert!(error.to_string().contains("1 to 255 bytes on average, not 256"), "{error}");
}

#[test]
fn numbered_records_and_names_do_not_meet() {
    let segment = Segment::builder().records(3).keys(10).payload(64).anonymous().unwrap();
    let store = SharedMemory::new(segment.clone()).unwrap();
    put(&store, "name", b"value").unwrap();
    assert_eq!(segment.records(), 3);
    assert!(matches!(segment.record(3).unwrap_err(), Error::OutOfRange { record: 3, records: 3 }));
    for record in 0..3 {
        assert_eq!(segment.record(record).unwrap().read(&mut Vec::new()).unwrap().version.0, 0);
    }
}
