//! Slots for names: all of them placeable, none given twice, none kept by who lost it.

mod damage;
mod durable;
mod file_table;
mod liveness;
mod processes;
mod races;
mod table;
mod traced;
mod transfer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use slotguard::backend::{Backend, Op, Session};
use slotguard::conformance::Subject;
use slotguard::recipe::assignment::{Assigned, Assignment, DEFAULT_SLOTS, Error, node_hash, probe};
use slotguard::recipe::join;
use slotguard::{Outcome, Revision};

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
    b3_all_slots_are_placeable_and_only_then_it_is_full,
    d5_an_evicted_owner_is_told_and_refused,
    d5_a_slot_given_out_again_has_a_larger_generation,
    every_join_told_of_is_there_for_who_comes_later,
    what_was_released_is_free_at_once_for_all,
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
    let places = names.map(|node| slots.assign(node).unwrap().placement().clone());
    assert_eq!(places.iter().map(|place| place.slot).collect::<BTreeSet<_>>().len(), names.len());
    let other = assignment(subject, "a");
    for (node, place) in names.into_iter().zip(&places) {
        assert_eq!(other.lookup(node).unwrap().as_ref(), Some(place));
        assert_eq!(other.node_of(place.slot).unwrap().as_ref(), Some(place));
        assert_eq!(other.assign(node).unwrap().placement(), place);
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
        assert!(matches!(slots.assign("one-more"), Err(Error::Full { slots: 255 })));
        assert_eq!(everything(&*store, &format!("a-{cluster}/")), before);
        // Who has a slot has it though it is full.
        assert_eq!(slots.assign("node-17").unwrap().node(), "node-17");
        assert_eq!(slots.stats().unwrap().free, 0);

        let freed = slots.release("node-100").unwrap();
        assert_eq!(slots.assign("one-more").unwrap().slot(), freed.slot);
        assert!(matches!(slots.assign("node-100"), Err(Error::Full { slots: 255 })));
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
    assert!(matches!(few.assign("w"), Err(Error::Full { slots: 3 })));
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
    let mut before: Vec<Assigned<_>> = Vec::new();
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
    // Wiped by hand and made anew: the generations go on.
    let last = slots.assign("node").unwrap();
    for (name, ..) in everything(&store, "a/") {
        delete(&store, &name);
    }
    let anew = assignment(subject, "a").assign("node").unwrap();
    assert_eq!(anew.slot(), last.slot());
    assert!(anew.generation() > last.generation());
    assert!(matches!(last.check(), Err(Error::Evicted { .. })));
    assert_eq!(store.commit(&[last.condition(), Op::put(&work, b"late")]).unwrap(), Outcome::Conflict);
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

/// Source 1 removed a node in memory and wrote it at the next tick, over whatever others had written since: S1-10.
fn what_was_released_is_free_at_once_for_all(subject: &impl Subject) {
    let (one, two) = (assignment(subject, "a"), assignment(subject, "a"));
    let session = session(subject);
    let place = one.join(&session, "node").unwrap().placement().clone();
    two.assign("other").unwrap();
    one.release("node").unwrap();
    assert_eq!(two.lookup("node").unwrap(), None);
    assert_eq!(two.node_of(place.slot).unwrap(), None);
    assert_eq!(two.active().unwrap(), []);
    drop(one);
    assert!(two.lookup("other").unwrap().is_some(), "what others wrote stays");
}
