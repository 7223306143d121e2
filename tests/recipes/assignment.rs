//! Slots for names: all of them placeable, none given twice, none kept by who lost it.

mod device;
mod processes;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use slotguard::backend::{Backend, Op, Session};
use slotguard::conformance::Subject;
use slotguard::recipe::assignment::{Assignment, DEFAULT_SLOTS, Finding, STALE_AFTER, Table, node_hash, probe};
use slotguard::recipe::{Error, join};
use slotguard::{ErrorKind, Outcome, Revision};

use crate::on_every_backend;

const TTL: Duration = Duration::from_secs(3600);

/// Names as clouds give them to machines.
pub const REAL_NAMES: [&str; 13] = [
    "ip-10-0-1-45.ec2.internal",
    "ip-10-0-1-46.ec2.internal",
    "ip-172-31-255-1.eu-west-1.compute.internal",
    "gke-prod-default-pool-1a2b3c4d-x7qz",
    "gke-prod-default-pool-1a2b3c4d-b9kk",
    "gke-prod-highmem-9f8e7d6c-0001",
    "aks-agentpool-12345678-vmss000000",
    "aks-agentpool-12345678-vmss000001",
    "aks-userpool-87654321-vmss00000a",
    "ocp-master-0.lab.example.com",
    "ocp-worker-0.lab.example.com",
    "ocp-worker-1.lab.example.com",
    "localhost.localdomain",
];

on_every_backend! {
    a1_the_first_choices_are_those_of_the_source,
    a2_real_names_get_slots_of_their_own_and_keep_them,
    a2_any_name_is_good_but_the_empty_one,
    a2_who_is_unknown_cannot_be_released,
    d6_a_node_whose_slot_is_not_its_own_cannot_be_released,
    b3_all_slots_are_placeable_and_only_then_it_is_full,
    d5_an_evicted_owner_is_told_and_refused,
    d5_a_slot_given_out_again_has_a_larger_generation,
    d6_an_entry_that_makes_no_sense_is_never_taken_for_free,
    every_join_told_of_is_there_for_who_comes_later,
    many_who_join_at_once_get_slots_of_their_own,
    many_who_join_under_one_name_get_one_slot,
    what_was_released_is_free_at_once_for_all,
    threads_that_share_a_handle_lose_nothing,
    being_alive_changes_nothing_that_others_write,
    who_joins_again_goes_on_as_the_same,
    a_node_is_stale_when_its_session_is_gone,
    only_who_was_stale_for_long_enough_is_cleaned_up,
    who_came_back_in_between_is_not_cleaned_up,
    four_findings_are_told_apart,
    stats_and_entries_agree,
    other_settings_are_refused,
    what_makes_no_sense_is_refused,
    a_table_is_imported_once_and_exported_as_it_is,
    an_import_that_contradicts_changes_nothing,
}

fn assignment<S: Subject>(subject: &S, name: &str) -> Assignment<S::Store> {
    Assignment::open(&Arc::new(subject.client()), name).unwrap()
}

fn session<S: Subject>(subject: &S) -> Arc<Session<S::Store>> {
    join(&Arc::new(subject.client()), TTL).unwrap()
}

/// Every entry under a prefix.
fn everything<B: Backend>(store: &B, prefix: &str) -> Vec<(String, Vec<u8>, Revision)> {
    let mut all = Vec::new();
    store
        .range(prefix, &mut |key, value, meta| all.push((key.as_ref().to_owned(), value.to_vec(), meta.modified)))
        .unwrap();
    all
}

fn put<B: Backend>(store: &B, name: &str, value: &[u8]) {
    assert_ne!(store.commit(&[Op::put(&store.key(name).unwrap(), value)]).unwrap(), Outcome::Conflict);
}

fn delete<B: Backend>(store: &B, name: &str) {
    assert_ne!(store.commit(&[Op::delete(&store.key(name).unwrap()).if_exists()]).unwrap(), Outcome::Conflict);
}

/// The probes of five names, and that a join on an empty store takes the first.
fn a1_the_first_choices_are_those_of_the_source(subject: &impl Subject) {
    let golden: [(&str, u32, [u16; 10]); 5] = [
        ("node-1", 0x4cb8_69e9, [28, 103, 186, 150, 74, 117, 108, 32, 151, 188]),
        ("node-2", 0x0990_e104, [177, 134, 156, 232, 106, 7, 192, 252, 124, 43]),
        ("node-3", 0xfcfa_6e43, [153, 168, 252, 21, 144, 119, 111, 103, 16, 1]),
        ("ip-10-0-1-45.ec2.internal", 0xb970_a38a, [105, 177, 25, 241, 70, 190, 97, 82, 210, 57]),
        ("worker-1", 0x2a24_582f, [245, 192, 74, 156, 160, 79, 121, 167, 39, 223]),
    ];
    let store = Arc::new(subject.client());
    let slots = Assignment::open_with(&store, "a", "test-cluster", 255).unwrap();
    for (node, hash, probes) in golden {
        assert_eq!(node_hash("test-cluster", node), hash);
        assert_eq!(std::array::from_fn(|attempt| probe(hash, attempt as u32, 255)), probes);
        // Each takes the first of its probes that none before it has: here, the first of all.
        assert_eq!(slots.assign(node).unwrap().slot(), probes[0]);
    }
    // The source's other checksums.
    assert_eq!([&b""[..], b"hello world", &[1, 2, 3, 4]].map(crc32fast::hash), [0, 0x0d4a_1185, 0xb63c_fbcd]);
    // Where the first choice is taken, the second is next.
    slots.release("node-1").unwrap();
    let other = (0..).map(|n| format!("n{n}")).find(|n| probe(node_hash("test-cluster", n), 0, 255) == 28).unwrap();
    slots.assign(&other).unwrap();
    assert_eq!(slots.assign("node-1").unwrap().slot(), 103);
}

fn a2_real_names_get_slots_of_their_own_and_keep_them(subject: &impl Subject) {
    let slots = assignment(subject, "a");
    let first = REAL_NAMES.map(|node| slots.assign(node).unwrap().slot());
    assert_eq!(BTreeSet::from(first).len(), REAL_NAMES.len());
    // Another process, in another order.
    let other = assignment(subject, "a");
    for (node, slot) in REAL_NAMES.into_iter().zip(first).rev() {
        assert_eq!(other.assign(node).unwrap().slot(), slot);
        assert_eq!(other.lookup(node).unwrap().unwrap().slot, slot);
        assert_eq!(other.node_of(slot).unwrap().unwrap().node, node);
    }
    // A store of its own gives each name its first choice again, so long as nobody was before it.
    let elsewhere = assignment(subject, "b");
    assert_eq!(REAL_NAMES.map(|node| elsewhere.assign(node).unwrap().slot()), first);
}

/// Source 1's table had to fit into 512 bytes, so it could hold one node: S1-2.
fn a2_any_name_is_good_but_the_empty_one(subject: &impl Subject) {
    let slots = assignment(subject, "a");
    assert!(matches!(slots.assign(""), Err(Error::EmptyNode)));
    assert!(matches!(slots.lookup(""), Err(Error::EmptyNode)));
    let long = "x".repeat(1000);
    let longer = format!("{long}y");
    let names = [
        &long,
        &longer,
        "UPPER_lower.1",
        "a/b",
        "/",
        "#",
        "#hash",
        "with space",
        "tab\t",
        "nul\0nul",
        "ü€𝄞",
        "node/1",
        "settings",
        "slot/00001",
    ];
    let places = names.map(|node| slots.assign(node).unwrap().place().clone());
    assert_eq!(places.iter().map(|place| place.slot).collect::<BTreeSet<_>>().len(), names.len());
    let other = assignment(subject, "a");
    for (node, place) in names.into_iter().zip(&places) {
        assert_eq!(other.lookup(node).unwrap().as_ref(), Some(place));
        assert_eq!(other.node_of(place.slot).unwrap().as_ref(), Some(place));
        assert_eq!(other.assign(node).unwrap().place(), place);
    }
    // What stands for a long name is no other name's.
    let mut short = None;
    let store = subject.client();
    store.range("a/node/#", &mut |key, _, _| short = Some(key.as_ref()["a/node/".len()..].to_owned())).unwrap();
    let short = short.unwrap();
    assert_eq!(other.lookup(&short).unwrap(), None);
    assert!(places.iter().all(|place| place.slot != other.assign(&short).unwrap().slot()));
    assert_eq!(other.integrity().unwrap(), []);
    assert_eq!(other.release(&long).unwrap(), places[0]);
    assert_eq!(slots.lookup(&longer).unwrap().as_ref(), Some(&places[1]));
}

fn a2_who_is_unknown_cannot_be_released(subject: &impl Subject) {
    let slots = assignment(subject, "a");
    slots.assign("here").unwrap();
    let before = everything(&subject.client(), "a/");
    let error = slots.release("gone").unwrap_err();
    assert!(matches!(&error, Error::UnknownNode { node } if node == "gone"), "{error}");
    assert!(error.to_string().contains("\"gone\" has no slot"));
    assert_eq!(slots.lookup("gone").unwrap(), None);
    assert_eq!(everything(&subject.client(), "a/"), before);
}

/// Source 1 gave up after ten probes: of 300 clusters none placed all 255 names, the worst refused the 101st: S1-6. Its own
/// tests stopped at 220 names, or tolerated the refusal.
fn b3_all_slots_are_placeable_and_only_then_it_is_full(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    for cluster in ["default-cluster", "prod", "test-cluster"] {
        let slots = Assignment::open_with(&store, &format!("a-{cluster}"), cluster, DEFAULT_SLOTS).unwrap();
        let mut taken = BTreeMap::new();
        for n in 1..=255 {
            let node = format!("node-{n}");
            let slot = slots.assign(&node).unwrap_or_else(|error| panic!("{node} of {cluster}: {error}")).slot();
            assert!((1..=255).contains(&slot));
            assert_eq!(taken.insert(slot, node), None, "{slot} was given twice");
        }
        assert_eq!(taken.len(), 255);
        let before = everything(&*store, &format!("a-{cluster}/"));
        assert!(matches!(slots.assign("one-more"), Err(Error::SlotsFull { slots: 255 })));
        assert_eq!(everything(&*store, &format!("a-{cluster}/")), before);
        // Who has a slot has it though it is full.
        assert_eq!(slots.assign("node-17").unwrap().node(), "node-17");
        assert_eq!(slots.stats().unwrap().free, 0);

        let freed = slots.release("node-100").unwrap();
        assert_eq!(slots.assign("one-more").unwrap().slot(), freed.slot);
        assert!(matches!(slots.assign("node-100"), Err(Error::SlotsFull { slots: 255 })));
        assert_eq!(slots.integrity().unwrap(), []);
        for (slot, node) in taken {
            let released = slots.release(if slot == freed.slot { "one-more" } else { &node }).unwrap();
            assert_eq!(released.slot, slot);
        }
        assert_eq!(slots.stats().unwrap().free, 255);
    }
    // So also of few.
    let few = Assignment::open_with(&store, "few", "c", 3).unwrap();
    let mut all = ["x", "y", "z"].map(|node| few.assign(node).unwrap().slot());
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3]);
    assert!(matches!(few.assign("w"), Err(Error::SlotsFull { slots: 3 })));
}

/// Source 1 told a node that had been cleaned up its old slot from a cache, and only logged that the write had failed: two
/// live owners of one slot: S1-9.
fn d5_an_evicted_owner_is_told_and_refused(subject: &impl Subject) {
    let (slots, session) = (assignment(subject, "a"), session(subject));
    let store = subject.client();
    let (old, work) = (slots.join(&session, "old").unwrap(), store.key("work").unwrap());
    assert_ne!(store.commit(&[old.condition(), Op::put(&work, b"mine")]).unwrap(), Outcome::Conflict);
    old.check().unwrap();

    slots.release("old").unwrap();
    let error = old.check().unwrap_err();
    assert!(matches!(&error, Error::Evicted { now: None, .. }), "{error}");
    // The slot goes to another node.
    let slot = old.slot();
    let heir = (0..).map(|n| format!("heir-{n}"));
    let heir = heir.map(|node| slots.assign(&node).unwrap()).find(|heir| heir.slot() == slot).unwrap();
    assert!(heir.generation() > old.generation());
    let write = [old.condition(), Op::put(&work, b"not mine")];
    assert_eq!(store.commit(&write).unwrap(), Outcome::Conflict, "an evicted owner wrote");
    let error = old.check().expect_err("another has it");
    assert!(error.to_string().contains(heir.node()), "{error}");
    assert!(matches!(old.announce(&session), Err(Error::Evicted { .. })));
    assert_ne!(store.commit(&[heir.condition(), Op::put(&work, b"the heir's")]).unwrap(), Outcome::Conflict);
    heir.check().unwrap();
    assert_eq!(slots.lookup("old").unwrap(), None);

    let (node, generation) = (heir.node().to_owned(), heir.generation());
    let error = old.release().unwrap_err();
    assert!(matches!(&error, Error::Evicted { now: Some(now), .. } if *now == (node.clone(), generation)), "{error}");
    assert_eq!(slots.lookup(&node).unwrap().unwrap().slot, slot);
}

/// Source 1's table began again at version 1 after a reset, so equal versions could mean different tables: S1-8.
fn d5_a_slot_given_out_again_has_a_larger_generation(subject: &impl Subject) {
    let (slots, store) = (assignment(subject, "a"), subject.client());
    let work = store.key("work").unwrap();
    let mut before: Vec<slotguard::recipe::assignment::Assigned<_>> = Vec::new();
    for _ in 0..5 {
        // The same node, the same slot, the same bytes in every entry.
        let now = slots.assign("node").unwrap();
        for old in &before {
            assert!(old.generation() < now.generation());
            assert_eq!(old.slot(), now.slot());
            assert!(matches!(old.check(), Err(Error::Evicted { .. })));
            assert_eq!(store.commit(&[old.condition(), Op::put(&work, b"late")]).unwrap(), Outcome::Conflict);
        }
        assert_eq!(slots.release("node").unwrap().generation, now.generation());
        before.push(now);
    }
}

/// Source 1 took a table that it could not read for an empty one and wrote over it: S1-7.
fn d6_an_entry_that_makes_no_sense_is_never_taken_for_free(subject: &impl Subject) {
    let (slots, store) = (assignment(subject, "a"), subject.client());
    let place = slots.assign("node").unwrap().place().clone();
    let (node, slot) = ("a/node/node", format!("a/slot/{:05}", place.slot));
    for (entry, value) in
        [(node, &b""[..]), (node, b"0"), (node, b"256"), (node, b"x"), (node, b"\xff"), (&slot, b"\xff")]
    {
        put(&store, entry, value);
        let before = everything(&store, "a/");
        for error in
            [slots.assign("node").unwrap_err(), slots.assign("other").map(|_| ()).err().unwrap_or(Error::EmptyNode)]
        {
            // Who does not come by the damage is given a slot of its own.
            let fine = matches!(error, Error::Damaged { .. } | Error::Inconsistent { .. } | Error::EmptyNode);
            assert!(fine, "{entry}: {error}");
        }
        if slots.release("other").is_err() {
            assert_eq!(everything(&store, "a/"), before);
        }
        put(&store, node, place.slot.to_string().as_bytes());
        put(&store, &slot, b"node");
        assert_eq!(slots.assign("node").unwrap().place(), &place);
    }
    // An entry alone says nothing true: no slot is made up for it.
    delete(&store, &slot);
    let before = everything(&store, "a/");
    assert!(matches!(slots.assign("node"), Err(Error::Inconsistent { .. })));
    // Written back by hand it is not of the same commit.
    put(&store, &slot, b"node");
    assert!(matches!(slots.assign("node"), Err(Error::Damaged { .. })));
    delete(&store, &slot);
    assert_eq!(everything(&store, "a/"), before);
}

/// Source 1 computed a checksum that could not be right and so took the table for broken at every read: each join told of
/// success and wiped the one before it: S1-1.
fn every_join_told_of_is_there_for_who_comes_later(subject: &impl Subject) {
    let mut told = BTreeMap::new();
    for n in 0..20 {
        let node = format!("node-{n}");
        told.insert(node.clone(), assignment(subject, "a").assign(&node).unwrap().slot());
        let fresh = assignment(subject, "a");
        assert_eq!(usize::from(fresh.stats().unwrap().taken), told.len());
        for (node, slot) in &told {
            assert_eq!(fresh.lookup(node).unwrap().unwrap().slot, *slot);
        }
    }
}

/// Source 1's check and write were two steps, so two could write on what one had read: S1-3; and it gave up after five
/// attempts: S1-5.
fn many_who_join_at_once_get_slots_of_their_own(subject: &impl Subject) {
    let threads = 16;
    let each = 15;
    let told: BTreeMap<String, u16> = thread::scope(|scope| {
        let joins: Vec<_> = (0..threads)
            .map(|thread| {
                let slots = assignment(subject, "a");
                scope.spawn(move || {
                    let join = |n| {
                        let node = format!("node-{thread}-{n}");
                        let slot = slots.assign(&node).unwrap().slot();
                        (node, slot)
                    };
                    (0..each).map(join).collect::<Vec<_>>()
                })
            })
            .collect();
        joins.into_iter().flat_map(|join| join.join().unwrap()).collect()
    });
    let slots = assignment(subject, "a");
    assert_eq!(told.values().collect::<BTreeSet<_>>().len(), threads * each, "a slot was given twice");
    for (node, slot) in &told {
        assert_eq!(slots.lookup(node).unwrap().unwrap().slot, *slot);
        assert_eq!(slots.node_of(*slot).unwrap().unwrap().node, *node);
    }
    assert_eq!(usize::from(slots.stats().unwrap().taken), threads * each);
    assert_eq!(slots.integrity().unwrap(), []);
}

fn many_who_join_under_one_name_get_one_slot(subject: &impl Subject) {
    for round in 0..10 {
        let node = format!("node-{round}");
        let places: Vec<_> = thread::scope(|scope| {
            let joins: Vec<_> = (0..8)
                .map(|_| {
                    let (slots, session, node) = (assignment(subject, "a"), session(subject), node.as_str());
                    scope.spawn(move || {
                        let again = (0..5).map(|_| slots.join(&session, node).unwrap().place().clone());
                        again.collect::<Vec<_>>()
                    })
                })
                .collect();
            joins.into_iter().flat_map(|join| join.join().unwrap()).collect()
        });
        assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
    }
    let slots = assignment(subject, "a");
    assert_eq!(slots.stats().unwrap().taken, 10);
    assert_eq!(slots.integrity().unwrap(), []);
}

/// Source 1 removed a node in memory and wrote it at the next tick, over whatever others had written since: S1-10.
fn what_was_released_is_free_at_once_for_all(subject: &impl Subject) {
    let (one, two) = (assignment(subject, "a"), assignment(subject, "a"));
    let session = session(subject);
    let place = one.join(&session, "node").unwrap().place().clone();
    two.assign("other").unwrap();
    one.release("node").unwrap();
    assert_eq!(two.lookup("node").unwrap(), None);
    assert_eq!(two.node_of(place.slot).unwrap(), None);
    assert_eq!(two.active().unwrap(), []);
    drop(one);
    assert!(two.lookup("other").unwrap().is_some(), "what others wrote stays");
}

/// In source 1 a thread could clear the mark by which another knew that it had to write, and that one told of success: S1-11.
fn threads_that_share_a_handle_lose_nothing(subject: &impl Subject) {
    let slots = assignment(subject, "a");
    let told: BTreeMap<String, u16> = thread::scope(|scope| {
        let joins: Vec<_> = (0..8)
            .map(|thread| {
                let slots = &slots;
                scope.spawn(move || {
                    let mut told = BTreeMap::new();
                    for n in 0..12 {
                        let node = format!("node-{thread}-{n}");
                        told.insert(node.clone(), slots.assign(&node).unwrap().slot());
                        if n % 3 == 0 {
                            slots.release(&node).unwrap();
                            told.remove(&node);
                        }
                    }
                    told
                })
            })
            .collect();
        joins.into_iter().flat_map(|join| join.join().unwrap()).collect()
    });
    let there: BTreeMap<_, _> =
        assignment(subject, "a").stale().unwrap().into_iter().map(|place| (place.node, place.slot)).collect();
    assert_eq!(there, told);
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
    assert_eq!(slots.active().unwrap(), [mine.place().clone()]);
    session.close().unwrap();
    let gone: Vec<_> = before.into_iter().filter(|(name, ..)| !name.starts_with("a/alive/")).collect();
    assert_eq!(everything(&*store, "a/"), gone);
    assert_eq!(slots.stale().unwrap(), [mine.place().clone()]);
}

fn who_joins_again_goes_on_as_the_same(subject: &impl Subject) {
    let (slots, first) = (assignment(subject, "a"), session(subject));
    let before = slots.join(&first, "node").unwrap();
    drop(first);
    assert_eq!(slots.active().unwrap(), []);
    let again = session(subject);
    let after = slots.join(&again, "node").unwrap();
    assert_eq!(after.place(), before.place());
    assert_eq!(slots.active().unwrap(), [after.place().clone()]);
    // Under a session that is over nobody is alive, and nothing is taken.
    let store = Arc::new(subject.client());
    let over = Session::manual(&store, "over", b"", TTL).unwrap().mine().unwrap();
    store.revoke(over.lease()).unwrap();
    for node in ["node", "another"] {
        let error = slots.join(&over, node).unwrap_err();
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::LeaseExpired), "{error}");
    }
    assert_eq!(slots.lookup("another").unwrap(), None);
    assert_eq!(slots.active().unwrap(), [after.place().clone()]);
}

fn a_node_is_stale_when_its_session_is_gone(subject: &impl Subject) {
    let slots = assignment(subject, "a");
    let sessions = ["c", "a", "b"].map(|node| {
        let session = session(subject);
        slots.join(&session, node).unwrap();
        session
    });
    slots.assign("d").unwrap();
    let names = |places: Vec<slotguard::recipe::assignment::Place>| {
        places.into_iter().map(|place| place.node).collect::<Vec<_>>()
    };
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
    assert_eq!(released, [gone.place().clone()], "not who is alive, not who was not seen stale before");
    assert!(matches!(gone.check(), Err(Error::Evicted { .. })));
    late.check().unwrap();
    // A second cleaner has seen nothing yet; the first has.
    assert!(slots.cleaner().release_stale(long).unwrap().is_empty());
    subject.pass(long);
    assert_eq!(cleaner.release_stale(long).unwrap(), [late.place().clone()]);
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
    assert_eq!(released, [assigned[2].place().clone()]);
    subject.pass(long);
    assert_eq!(cleaner.release_stale(long).unwrap().len(), 2);
}

fn four_findings_are_told_apart(subject: &impl Subject) {
    let (slots, store) = (assignment(subject, "a"), subject.client());
    let long = "l".repeat(300);
    let [one, two, three] = ["one", "two", &long].map(|node| slots.assign(node).unwrap().slot());
    assert_eq!(slots.integrity().unwrap(), []);
    let (text, named) = (|slot: u16| slot.to_string(), |slot| format!("a/slot/{slot:05}"));

    // Two entries name one slot; and the slot of the second belongs to somebody whose entry names another.
    put(&store, "a/node/two", text(one).as_bytes());
    let duplicate = Finding::DuplicateSlot { slot: one, nodes: vec!["one".into(), "two".into()] };
    let mismatch = Finding::Mismatch { slot: two, node: "two".into(), entry: one };
    assert_eq!(slots.integrity().unwrap(), [duplicate, mismatch]);
    put(&store, "a/node/two", text(two).as_bytes());

    delete(&store, &named(one));
    assert_eq!(slots.integrity().unwrap(), [Finding::OrphanedEntry { node: "one".into(), slot: one }]);
    assert!(matches!(slots.export(), Err(Error::Inconsistent { .. })));
    put(&store, &named(one), b"one");

    delete(&store, "a/node/one");
    assert_eq!(slots.integrity().unwrap(), [Finding::OrphanedUsage { slot: one, node: "one".into() }]);
    put(&store, "a/node/one", text(one).as_bytes());
    assert_eq!(slots.integrity().unwrap(), []);
    assert_eq!(slots.lookup(&long).unwrap().unwrap().slot, three);
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

/// Source 1 took a table of another cluster for a broken one, and a broken one for an empty one: S1-7.
fn other_settings_are_refused(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    Assignment::open_with(&store, "a", "prod", 100).unwrap().assign("node").unwrap();
    let before = everything(&*store, "a/");
    for (cluster, slots) in [("test", 100), ("prod", 255), ("prod ", 100)] {
        let error = Assignment::open_with(&store, "a", cluster, slots).unwrap_err();
        assert!(matches!(&error, Error::OtherSettings { .. }), "{error}");
        assert!(error.to_string().contains("100 slots of cluster \"prod\""), "{error}");
    }
    assert_eq!(everything(&*store, "a/"), before);
    let again = Assignment::open_with(&store, "a", "prod", 100).unwrap();
    assert!(again.lookup("node").unwrap().is_some());
}

fn what_makes_no_sense_is_refused(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    assert!(matches!(Assignment::open_with(&store, "a", "c", 0), Err(Error::NoSlots { asked: 0 })));
    for name in ["", "n\0", &"x".repeat(200)] {
        let error = Assignment::open(&store, name).unwrap_err();
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::BadName), "{error}");
    }
    assert_eq!(everything(&*store, ""), []);
    let slots = Assignment::open_with(&store, "a", "c", 9).unwrap();
    for slot in [0, 10, u16::MAX] {
        assert!(matches!(slots.node_of(slot), Err(Error::NoSuchSlot { slots: 9, .. })));
    }
    let wide = "w".repeat(1 << 20);
    if let Err(error) = slots.assign(&wide) {
        assert!(matches!(&error, Error::Store(error) if error.kind() == ErrorKind::TooLarge), "{error}");
        assert_eq!(slots.stats().unwrap().taken, 0);
    }
}

fn a_table_is_imported_once_and_exported_as_it_is(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    let mut table = Table::new("c");
    for n in 0..100 {
        table.assign(&format!("node-{n}")).unwrap();
    }
    let slots = Assignment::open_with(&store, "a", "c", 255).unwrap();
    assert_eq!(slots.import(&table).unwrap(), 100);
    let before = everything(&*store, "a/");
    assert_eq!(slots.import(&table).unwrap(), 0);
    assert_eq!(everything(&*store, "a/"), before);
    for (node, entry) in &table.entries {
        let place = slots.lookup(node).unwrap().unwrap();
        assert_eq!(place.slot, entry.slot);
        assert_eq!(slots.node_of(entry.slot).unwrap(), Some(place));
    }
    let out = slots.export().unwrap();
    assert_eq!((&out.usage, out.integrity()), (&table.usage, vec![]));
    assert_eq!(Table::unmarshal(&out.marshal(), "c").unwrap(), out);
    slots.assign("later").unwrap();
    assert!(slots.export().unwrap().version > out.version);
}

fn an_import_that_contradicts_changes_nothing(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    let slots = Assignment::open_with(&store, "a", "c", 255).unwrap();
    let mut table = Table::new("c");
    let there = table.assign("node").unwrap();
    table.assign("other").unwrap();
    assert!(matches!(slots.import(&Table::new("d")), Err(Error::TableCluster { .. })));

    let mut broken = table.clone();
    broken.usage.remove(&there);
    assert!(matches!(slots.import(&broken), Err(Error::Inconsistent { .. })));
    let mut nameless = Table::new("c");
    for node in ["x", "y"] {
        nameless.assign(node).unwrap();
    }
    let small = Assignment::open_with(&store, "small", "c", 1).unwrap();
    assert!(matches!(small.import(&nameless), Err(Error::NoSuchSlot { slots: 1, .. })));

    // The slot is another's; the node has another slot.
    let taken = (0..).map(|n| format!("n{n}")).find(|n| probe(node_hash("c", n), 0, 255) == there).unwrap();
    slots.assign(&taken).unwrap();
    let before = everything(&*store, "a/");
    let error = slots.import(&table).unwrap_err();
    assert!(matches!(&error, Error::ImportConflict { node, .. } if node == "node"), "{error}");
    slots.assign("node").unwrap();
    slots.release(&taken).unwrap();
    let error = slots.import(&table).unwrap_err();
    assert!(matches!(&error, Error::ImportConflict { node, .. } if node == "node"), "{error}");
    slots.release("node").unwrap();
    assert_eq!(slots.import(&table).unwrap(), 2);
    assert!(everything(&*store, "a/").len() > before.len());
}

/// It is an error, and no search without an end for who released it.
fn d6_a_node_whose_slot_is_not_its_own_cannot_be_released(subject: &impl Subject) {
    let store = Arc::new(subject.client());
    let slots = Assignment::open(&store, "nodes").unwrap();
    store.commit(&[Op::put(&store.key("nodes/node/orphan").unwrap(), b"5")]).unwrap();
    let found = slots.release("orphan");
    let orphan = Finding::OrphanedEntry { node: "orphan".to_owned(), slot: 5 };
    assert!(matches!(&found, Err(Error::Inconsistent { findings }) if *findings == [orphan]), "{found:?}");

    // Its slot's entry has its name, but was not created with it.
    store.commit(&[Op::put(&store.key("nodes/slot/00005").unwrap(), b"orphan")]).unwrap();
    assert!(matches!(slots.release("orphan"), Err(Error::Damaged { .. })));
    assert_eq!(slots.lookup("orphan").unwrap().unwrap().slot, 5, "nothing was wiped");
}
