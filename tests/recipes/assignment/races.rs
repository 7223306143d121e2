//! Several at once, by chance and at the worst moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use slotguard::conformance::Subject;
use slotguard::recipe::assignment::{Assignment, DEFAULT_CLUSTER, DEFAULT_SLOTS, Error, node_hash, probe};

use super::{TTL, assignment, session};
use crate::delivery::frail::Frail;
use crate::member::member_for;
use crate::on_every_backend;

on_every_backend! {
    many_who_join_at_once_get_slots_of_their_own,
    many_who_join_under_one_name_get_one_slot,
    threads_that_share_a_handle_lose_nothing,
    s1_3_a_slot_taken_since_it_was_looked_for_is_not_given_again,
    who_is_released_while_it_joins_again_gets_a_slot_anew,
    who_is_released_by_two_is_released_once,
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
                        let again = (0..5).map(|_| slots.join(&session, node).unwrap().placement().clone());
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

/// The name of a node whose first choice is this slot.
fn whose_first_choice_is(slot: u16) -> String {
    let first = |node: &String| probe(node_hash(DEFAULT_CLUSTER, node), 0, DEFAULT_SLOTS);
    (0..).map(|n| format!("rival-{n}")).find(|node| first(node) == slot).unwrap()
}

/// Each slot that a node finds free is taken by a rival right before its commit.
fn s1_3_a_slot_taken_since_it_was_looked_for_is_not_given_again(subject: &impl Subject) {
    let frail = Frail::new(subject.client());
    let (slots, rivals) = (Assignment::open(&frail, "a").unwrap(), Arc::new(assignment(subject, "a")));
    let choices = [0, 1, 2].map(|attempt| probe(node_hash(DEFAULT_CLUSTER, "node"), attempt, DEFAULT_SLOTS));
    let takes = |slot| {
        let rivals = Arc::clone(&rivals);
        move || assert_eq!(rivals.assign(&whose_first_choice_is(slot)).unwrap().slot(), slot)
    };
    let (first, second, again) = (takes(choices[0]), takes(choices[1]), Arc::clone(&frail));
    frail.before_next_commit(move |_| first());
    frail.before_look(0, move |_| again.before_next_commit(move |_| second()));
    let place = slots.assign("node").unwrap().placement().clone();
    assert_eq!(place.slot, choices[2]);
    for slot in &choices[..2] {
        assert_eq!(rivals.node_of(*slot).unwrap().unwrap().node, whose_first_choice_is(*slot));
    }
    assert_eq!(rivals.lookup("node").unwrap(), Some(place));
    assert_eq!(rivals.integrity().unwrap(), []);
}

fn who_is_released_while_it_joins_again_gets_a_slot_anew(subject: &impl Subject) {
    let frail = Frail::new(subject.client());
    let (slots, others) = (Assignment::open(&frail, "a").unwrap(), assignment(subject, "a"));
    let session = member_for(&frail, TTL);
    let before = slots.assign("node").unwrap();
    // After it was found and before it is announced.
    let again = Arc::clone(&frail);
    frail.before_look(0, move |_| again.before_next_commit(move |_| drop(others.release("node").unwrap())));
    let now = slots.join(&session, "node").unwrap();
    assert!(now.generation() > before.generation());
    assert!(matches!(before.check(), Err(Error::Evicted { .. })));
    now.check().unwrap();
    assert_eq!(slots.active().unwrap(), [now.placement().clone()]);
}

fn who_is_released_by_two_is_released_once(subject: &impl Subject) {
    let frail = Frail::new(subject.client());
    let slots = Assignment::open(&frail, "a").unwrap();
    slots.assign("node").unwrap();
    let others = assignment(subject, "a");
    frail.before_next_commit(move |_| drop(others.release("node").unwrap()));
    assert!(matches!(slots.release("node"), Err(Error::UnknownNode { .. })));

    // And if it came back in between, it is released as what it is now.
    slots.assign("node").unwrap();
    let others = assignment(subject, "a");
    frail.before_next_commit(move |_| {
        others.release("node").unwrap();
        others.assign("node").unwrap();
    });
    let released = slots.release("node").unwrap();
    assert_eq!(slots.lookup("node").unwrap(), None);
    assert!(slots.assign("node").unwrap().generation() > released.generation);
}
